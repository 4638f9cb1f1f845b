"""How many calls run at once, how long one may take, how often it is tried, and what it may cost."""

import math
import sys
from dataclasses import dataclass

from workbench.errors import ConfigError

if sys.platform != "win32":
    import resource

_KEPT_DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client keeps to. A limit that is None does not hold.

    `concurrency` counts calls of all models together; when it is used up, or the descriptors that the
    process may open are, models take turns. Requests and tokens per minute are those of each account that
    has no limits of its own. `max_call_cost_usd` is the most that one call may cost with all its attempts
    and fallbacks. `hedge_after_s`: a call that was not answered by then is sent once more, and the first
    answer counts; streams are not. `breaker_failures` calls in a row that failed keep a model of an
    account from being asked for `breaker_open_s`, while there is another candidate. `ledger_size` is how
    many attempts the ledger keeps beside its totals.
    """

    concurrency: int = 16
    deadline_s: float = 60.0
    max_attempts: int = 3
    backoff_s: float = 0.25
    max_backoff_s: float = 8.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_call_cost_usd: float | None = None
    hedge_after_s: float | None = None
    breaker_failures: int = 3
    breaker_open_s: float = 30.0
    ledger_size: int = 1_000

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_attempts", "breaker_failures", "ledger_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"limits: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("deadline_s", "backoff_s", "max_backoff_s", "breaker_open_s"):
            check_positive(name, getattr(self, name))
        for name in ("requests_per_minute", "tokens_per_minute", "max_call_cost_usd", "hedge_after_s"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))


def check_positive(name: str, value: float) -> None:
    """
    Raises:
        ConfigError: `value` is zero, negative, infinite or not a number.
    """
    if not 0.0 < value < math.inf:
        raise ConfigError(f"limits: {name} is {value}; it must be a positive number")


def most_at_once(limits: Limits) -> int:
    """How many calls can run at once: each takes a descriptor."""
    return int(min(limits.concurrency, most_descriptors()))


def most_descriptors() -> float:
    """How many descriptors connections may take, as some are kept for files; infinity: any number."""
    if sys.platform == "win32":
        return math.inf
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return math.inf
    return max(1, most - max(_KEPT_DESCRIPTORS, most // 4))


LIMITS = Limits()
"""What holds where the caller says nothing."""
