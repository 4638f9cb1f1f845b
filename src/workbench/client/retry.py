"""When a request that failed is sent again, and after what wait. Owns stamina."""

import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from workbench.client.limits import Limits
from workbench.errors import (
    BadResponseError,
    ConnectError,
    EmptyCompletionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
    TooLargeError,
)

if TYPE_CHECKING:
    from stamina import Attempt

_RETRY_AFTER_JITTER = 0.2
_MOST_ATTEMPTS_AT_BAD_RESPONSES = 2
MOST_REQUESTS = 16
"""How often one candidate is asked for one call, however often it is pushed back."""


class RetryBudget:
    """How many retries a server that keeps failing is worth: none once `tokens` is down to half.

    A failed request takes one token, an answer gives 0.2 back. gRPC's example gives 0.1, which one failing
    request in ten exhausts after 500; with 0.2 up to one in six is retried for ever, and a dead server
    costs at most five retries in all.

    Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
    """

    __slots__ = ("tokens",)
    most = 10.0
    per_answer = 0.2

    def __init__(self) -> None:
        self.tokens = self.most

    @property
    def allows(self) -> bool:
        """Whether one more retry may be sent."""
        return self.tokens > self.most / 2

    def fail(self) -> None:
        """A request failed."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def answer(self) -> None:
        """A request was answered."""
        self.tokens = min(self.most, self.tokens + self.per_answer)


def attempts(wait_s: Callable[[Exception], float | bool], *, most: int) -> "AsyncIterator[Attempt]":
    """At most `most` attempts, each `wait_s(failure)` seconds after the one before; none after a False."""
    import stamina.instrumentation  # here, as most calls are answered at once, and need none of it

    # Retries are in our own log and ledger; stamina's hook would print them, with structlog to stdout.
    stamina.instrumentation.set_on_retry_hooks(())
    return aiter(stamina.retry_context(on=wait_s, attempts=most, timeout=None))


def is_outage(failure: ProviderError) -> bool:
    """Whether `failure` says that the other side is not well, rather than that it refused this request."""
    if isinstance(failure, EmptyCompletionError | TooLargeError):
        return False
    return isinstance(failure, ServerError | ConnectError | ProviderTimeoutError | BadResponseError)


def is_not_now(failure: ProviderError) -> bool:
    """Whether `failure` is one that the same request may escape a moment later: a 429 or a 503."""
    return isinstance(failure, RateLimitError) or (isinstance(failure, ServerError) and failure.status == 503)


def is_push_back(failure: ProviderError) -> bool:
    """Whether `failure` says that there was one request too many: a 429, or a 503 that tells when to come."""
    return is_not_now(failure) and (isinstance(failure, RateLimitError) or failure.retry_after_s is not None)


def wait_before_retry_s(
    failure: ProviderError, limits: Limits, rng: random.Random, *, n_pushed_back: int = 0
) -> float | None:
    """Seconds to wait before the request that failed is sent again; None: it is not to be.

    As long as the provider asked for and up to a fifth more; or else, with full jitter, up to
    `backoff_s`, doubled at each attempt. Source of the jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        n_pushed_back: requests that were refused while the server answered others; they do not count as
            attempts, but a call has `MOST_REQUESTS` with them.
    """
    is_bad = isinstance(failure, BadResponseError)
    most = min(limits.max_attempts, _MOST_ATTEMPTS_AT_BAD_RESPONSES) if is_bad else limits.max_attempts
    n_failed = failure.attempts - n_pushed_back
    if not failure.retryable or n_failed >= most or failure.attempts >= MOST_REQUESTS:
        return None
    if failure.retry_after_s is not None:
        return failure.retry_after_s * (1.0 + rng.uniform(0.0, _RETRY_AFTER_JITTER))
    return rng.uniform(0.0, min(limits.max_backoff_s, limits.backoff_s * 2.0 ** max(0, n_failed - 1)))
