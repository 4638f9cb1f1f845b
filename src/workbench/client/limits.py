"""How many calls run at once, how long one may take, and how often it is tried."""

from dataclasses import dataclass

from workbench.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls run at once, how long one may take in seconds, and how often it is tried."""

    concurrency: int = 16
    deadline_s: float = 60.0
    max_attempts: int = 3
    backoff_s: float = 0.25
    max_backoff_s: float = 8.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"limits: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("deadline_s", "backoff_s", "max_backoff_s"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"limits: {name} is {getattr(self, name)}; it must be a positive number")


LIMITS = Limits()
"""What holds where the caller says nothing."""
