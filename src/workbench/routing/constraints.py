"""What every choice must satisfy whatever its score: allowed, able, wide enough, affordable, available."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from workbench.catalog import CAPABILITIES, Catalog, ModelSpec, token_bound
from workbench.errors import ConfigError, RoutingError
from workbench.types import Decoding, Prompt


@dataclass(frozen=True, slots=True)
class Now:
    """The state of the moment. None: nothing is known that limits a choice.

    `budget_left_usd` is what one more call may cost at most; `available` are the models whose rate limits
    and breakers let a call pass.
    """

    budget_left_usd: float | None = None
    available: frozenset[str] | None = None


ANY_TIME = Now()


@dataclass(frozen=True, slots=True)
class Constraints:
    """What holds of all prompts: the models that may be asked, and what they must be able to do.

    `allowed` None: every candidate. `needs` are capabilities (`catalog.CAPABILITIES`) beyond those that a
    prompt with images, or `decoding` with tools or a schema, needs anyway. What `catalog` does not say that
    a model can do, it is not asked for; a window that the catalog does not know keeps no prompt out.

    Raises:
        ConfigError: there is no such capability.
    """

    catalog: Catalog = field(default_factory=lambda: Catalog(()), repr=False)
    allowed: frozenset[str] | None = None
    needs: frozenset[str] = frozenset()
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        unknown = sorted(self.needs - set(CAPABILITIES))
        if unknown:
            raise ConfigError(f"there is no capability {unknown[0]!r}; there are {', '.join(CAPABILITIES)}")

    def possible(self, prompt: Prompt, candidates: Sequence[str], now: Now = ANY_TIME) -> list[str]:
        """The candidates that may be asked this now, in their order.

        Raises:
            RoutingError: none may; says of each why not.
        """
        against = {model_id: self.objection(model_id, prompt, now) for model_id in candidates}
        possible = [model_id for model_id, reason in against.items() if reason is None]
        if candidates and not possible:
            reasons = "; ".join(f"{model_id} {reason}" for model_id, reason in against.items())
            raise RoutingError(f"no candidate may be asked prompt {prompt.prompt_id!r}: {reasons}")
        return possible

    def objection(self, model_id: str, prompt: Prompt, now: Now = ANY_TIME) -> str | None:
        """Why this model may not be asked; None: it may."""
        return next(self._objections(model_id, prompt, now), None)

    def admits(self, model_id: str) -> bool:
        """Whether the model may be asked at all, by what does not hang on the prompt or the moment."""
        return self._is_allowed(model_id) and not self._missing(self._spec(model_id), self.needs)

    def _objections(self, model_id: str, prompt: Prompt, now: Now) -> Iterator[str]:
        if not self._is_allowed(model_id):
            yield "is not among the allowed models"
        if now.available is not None and model_id not in now.available:
            yield "is not available now"
        spec = self._spec(model_id)
        missing = self._missing(spec, self.needs | _needed(prompt, self.decoding))
        if missing:
            yield f"is not known to have {', '.join(missing)}"
        n_asked = self.decoding.max_output_tokens
        if spec.max_output_tokens is not None and n_asked > spec.max_output_tokens:
            yield f"answers in at most {spec.max_output_tokens:,} tokens, and {n_asked:,} are asked for"
        n_tokens = token_bound(prompt, self.decoding) + n_asked
        if spec.context_tokens is not None and n_tokens > spec.context_tokens:
            yield f"has a window of {spec.context_tokens:,} tokens, and up to {n_tokens:,} may be needed"
        yield from self._unaffordable(spec, prompt, now)

    def _unaffordable(self, spec: ModelSpec, prompt: Prompt, now: Now) -> Iterator[str]:
        if now.budget_left_usd is None:
            return
        if spec.price_on() is None:
            yield "has no price, and a budget is to be kept"
            return
        bound_usd = spec.cost_bound_usd(prompt, self.decoding)
        if bound_usd > now.budget_left_usd:
            yield f"may cost {bound_usd:.6g} USD, and {now.budget_left_usd:.6g} USD are left"

    def _spec(self, model_id: str) -> ModelSpec:
        provider, _, model = model_id.partition("/")
        return self.catalog.get(model_id) or ModelSpec(provider, model)

    def _is_allowed(self, model_id: str) -> bool:
        return self.allowed is None or model_id in self.allowed

    def _missing(self, spec: ModelSpec, needed: frozenset[str]) -> list[str]:
        return [name for name in CAPABILITIES if name in needed - spec.capabilities]


def _needed(prompt: Prompt, decoding: Decoding) -> frozenset[str]:
    """The capabilities without which this request is refused."""
    asked = {
        "images": any(message.images for message in prompt.messages),
        "tools": bool(decoding.tools),
        "json_schema": decoding.json_schema is not None,
        "logprobs": decoding.top_logprobs is not None,
        "reasoning": decoding.reasoning_effort not in (None, "none"),
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)
