"""Every error the workbench raises on purpose, in one tree.

    WorkbenchError
    ├── ConfigError                  a setting, spec or command line that cannot work
    │   └── MissingExtraError        an optional part that is not installed
    ├── DataError                    a table, prompt set or file with the wrong content
    │   ├── ChecksumError            bytes that are not the ones that were promised
    │   └── InsufficientDataError    too few rows to answer with
    ├── StorageError                 a folder or file that cannot be read or written
    │   ├── StorageFullError         no space left; what was there before is intact
    │   └── LockedError              another process is at work in the same place
    ├── BudgetError                  the call would spend more than is left; it was not sent
    ├── ExperimentError              a run that cannot go on
    │   ├── FingerprintError         the spec or the data changed between a run and its resumption
    │   └── NotebookError            a notebook that did not run to its end
    ├── TrackingError                the tracking server or store did not take a run
    ├── RoutingError                 a router that cannot decide
    │   └── CheckpointError          a saved router that is damaged, foreign or of another version
    └── ProviderError                a call that a provider did not answer
        ├── ConnectError             no connection was made, or it broke
        │   └── TLSError             the peer is not who it should be
        ├── ProviderTimeoutError     no answer in time
        ├── RequestError             the provider refused what was asked; asking again will not help
        │   ├── AuthError            a missing, wrong or forbidden key
        │   ├── ModelNotFoundError   the provider does not serve this model
        │   ├── ContextTooLongError  the prompt is longer than the model's window
        │   └── QuotaExceededError   the account has no credit left
        ├── RateLimitError           too many requests; `retry_after_s` says when, if known
        ├── ServerError              the provider failed
        ├── BadResponseError         an answer that cannot be trusted to be one
        │   ├── EmptyCompletionError an answer without content
        │   ├── StreamTruncatedError a stream that broke off; `partial_text` is what had come
        │   └── TooLargeError        an answer over the size cap
        └── AllProvidersFailedError  every candidate failed; `causes` lists them

A message names the thing, what was wrong with it, and what to do. No message holds a key.
"""

from collections.abc import Sequence
from typing import Any, Literal


class WorkbenchError(Exception):
    """Base of all errors here: catch this to catch what the workbench can explain.

    Every error survives copying and pickling with its message and fields, whatever its constructor takes.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


class ConfigError(WorkbenchError):
    """A setting, spec or command line that cannot work."""


class MissingExtraError(ConfigError):
    """An optional part is not installed; `extra` names it."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'workbench[{extra}]'")
        self.extra = extra


class DataError(WorkbenchError):
    """A table, prompt set or file with the wrong content."""


class ChecksumError(DataError):
    """Bytes that are not the ones that were promised."""


class InsufficientDataError(DataError):
    """Too few rows to answer with."""


class StorageError(WorkbenchError):
    """A folder or file that cannot be read or written."""


class StorageFullError(StorageError):
    """No space left; what was there before is intact."""


class LockedError(StorageError):
    """Another process is at work in the same place."""


class BudgetError(WorkbenchError):
    """The call would spend more than is left of the budget, so it was not sent."""


class ExperimentError(WorkbenchError):
    """A run that cannot go on."""


class FingerprintError(ExperimentError):
    """The spec or the data changed between a run and its resumption."""


class NotebookError(ExperimentError):
    """A notebook that did not run to its end; `cell` is the 1-based number of the cell that failed."""

    def __init__(self, message: str, *, cell: int | None = None) -> None:
        super().__init__(message)
        self.cell = cell


class TrackingError(WorkbenchError):
    """The tracking server or store did not take a run."""


class RoutingError(WorkbenchError):
    """A router that cannot decide."""


class CheckpointError(RoutingError):
    """A saved router that is damaged, foreign or of another version."""


class ProviderError(WorkbenchError):
    """A call that a provider did not answer.

    `retryable` says whether the same request may succeed when sent again; `attempts` counts the
    requests sent so far for this call; `status` is the HTTP status and `request_id` the provider's
    own name of the request, None where none was received. `cost_usd` is what those requests may have
    cost, None where no price is known. `was_sent` is False where the request cannot have reached the
    provider; `partial_text` is what a stream had brought before it failed.
    """

    retryable = False
    was_sent = True
    partial_text = ""
    cost_usd: float | None = None

    def __init__(
        self,
        provider: str,
        model: str,
        reason: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{provider}/{model}: {reason}")
        self.provider = provider
        self.model = model
        self.reason = reason
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.attempts = 1
        if retryable is not None:
            self.retryable = retryable


class ConnectError(ProviderError):
    """No connection was made, or it broke before the answer was whole."""

    retryable = True


class TLSError(ConnectError):
    """The peer could not prove who it is."""

    retryable = False


TimeoutKind = Literal["connect", "first_byte", "between_bytes", "total"]


class ProviderTimeoutError(ProviderError):
    """No answer in time; `kind` says which limit was reached."""

    retryable = True

    def __init__(self, provider: str, model: str, reason: str, *, kind: TimeoutKind = "total") -> None:
        super().__init__(provider, model, reason)
        self.kind = kind


class RequestError(ProviderError):
    """The provider refused what was asked; asking again will not help."""


class AuthError(RequestError):
    """A missing, wrong or forbidden key."""


class ModelNotFoundError(RequestError):
    """The provider does not serve this model."""


class ContextTooLongError(RequestError):
    """The prompt is longer than the model's window."""


class QuotaExceededError(RequestError):
    """The account has no credit left."""


class RateLimitError(ProviderError):
    """Too many requests; `retry_after_s` says when to come back, None where the provider did not."""

    retryable = True


class ServerError(ProviderError):
    """The provider failed."""

    retryable = True


class BadResponseError(ProviderError):
    """An answer that cannot be trusted to be one."""

    retryable = True


class EmptyCompletionError(BadResponseError):
    """An answer without content."""


class StreamTruncatedError(BadResponseError):
    """A stream that broke off before the provider said it was finished."""

    def __init__(self, provider: str, model: str, reason: str, *, partial_text: str) -> None:
        super().__init__(provider, model, reason)
        self.partial_text = partial_text


class TooLargeError(BadResponseError):
    """An answer over the size cap."""

    retryable = False


class AllProvidersFailedError(ProviderError):
    """Every candidate failed; `causes` holds each one's last error, in the order they were asked."""

    def __init__(self, causes: Sequence[ProviderError]) -> None:
        last = causes[-1]
        listed = "; ".join(str(cause) for cause in causes)
        super().__init__(last.provider, last.model, f"every candidate failed: {listed}")
        self.causes = tuple(causes)
        self.attempts = sum(cause.attempts for cause in causes)


def _rebuilt(kind: type[WorkbenchError], args: tuple[Any, ...], fields: dict[str, Any]) -> WorkbenchError:
    """An error as it was, without calling a constructor that wants more than the message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error
