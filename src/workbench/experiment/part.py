"""What came of one request of a call in which several models answer together, as the journal keeps it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.errors import ProviderError
from workbench.types import Completion, Usage

_KEPT = (
    "text",
    "model",
    "served_model",
    "provider",
    "latency_s",
    "finish_reason",
    "raw_finish_reason",
    "cost_usd",
    "is_cached",
)


@dataclass(frozen=True, slots=True)
class Part:
    """An answer, or the failure of a model, which is not asked a second time for the same call."""

    answer: Completion | ProviderError

    @property
    def cost_usd(self) -> float | None:
        """What it cost; None: not known."""
        return self.answer.cost_usd

    def record(self) -> dict[str, Any]:
        """The part as JSON, without what a single request is not asked for."""
        if isinstance(self.answer, ProviderError):
            failure = self.answer
            return {
                "error": type(failure).__name__,
                "provider": failure.provider,
                "model": failure.model,
                "cost_usd": failure.cost_usd,
            }
        return {name: getattr(self.answer, name) for name in _KEPT} | {"usage": asdict(self.answer.usage)}

    def completion(self) -> Completion:
        """The answer.

        Raises:
            ProviderError: there was none.
        """
        if isinstance(self.answer, ProviderError):
            raise self.answer
        return self.answer


def part_of(record: Mapping[str, Any]) -> Part:
    """What `Part.record` wrote, among other keys.

    Raises:
        KeyError, TypeError: it is damaged.
    """
    if "error" in record:
        failure = ProviderError(record["provider"], record["model"], f"failed before ({record['error']})")
        failure.cost_usd = record["cost_usd"]
        return Part(failure)
    return Part(Completion(**{name: record[name] for name in _KEPT}, usage=Usage(**record["usage"])))
