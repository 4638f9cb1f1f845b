"""When a request that failed is sent again, and after what wait. Owns stamina."""

import random

import stamina.instrumentation

from workbench.client.limits import Limits
from workbench.errors import BadResponseError, ProviderError

# Retries are in our own log and ledger; stamina's default hook would print them, with structlog to stdout.
stamina.instrumentation.set_on_retry_hooks(())

_RETRY_AFTER_JITTER = 0.2
_MOST_ATTEMPTS_AT_BAD_RESPONSES = 2


def wait_before_retry_s(failure: ProviderError, limits: Limits, rng: random.Random) -> float | None:
    """Seconds to wait before the request that failed is sent again; None: it is not to be.

    As long as the provider asked for and up to a fifth more; or else, with full jitter, up to
    `backoff_s`, doubled at each attempt. Source of the jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    is_bad = isinstance(failure, BadResponseError)
    most = min(limits.max_attempts, _MOST_ATTEMPTS_AT_BAD_RESPONSES) if is_bad else limits.max_attempts
    if not failure.retryable or failure.attempts >= most:
        return None
    if failure.retry_after_s is not None:
        return failure.retry_after_s * (1.0 + rng.uniform(0.0, _RETRY_AFTER_JITTER))
    return rng.uniform(0.0, min(limits.max_backoff_s, limits.backoff_s * 2.0 ** (failure.attempts - 1)))
