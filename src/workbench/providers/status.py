"""What an HTTP status and the body beside it mean: one typed error for each way to be refused."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain

from workbench.errors import (
    AuthError,
    BadResponseError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    RequestError,
    ServerError,
)
from workbench.providers.json_body import JsonError, JsonObject, object_of, objects_of, parse_object, text_of
from workbench.providers.reply import Reply

_MESSAGE_CHARACTERS = 200
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "insufficient_balance"}
_QUOTA_WORDS = re.compile(r"(?i)credit balance is too low|credits are depleted")
"""Anthropic's and Google's, which have no code for it."""

_AUTH_CODES = {"API_KEY_INVALID"}
_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_CONTEXT_WORDS = re.compile(
    r"(?i)context[ _-]?(length|window|size|limit)|prompt is too long|too many (input |prompt )?tokens"
    r"|input token count.* exceeds"
)
_MODEL_CODES = {"model_not_found", "model_not_exist"}
_STILL_RETRYABLE = {408, 409}
_STATUS_OF_CODE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""What the names of errors amount to where no status does: in an answer of 200 that turns out to be one.

Sources: https://platform.claude.com/docs/en/api/errors and
https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, read 2026-11-23.
"""

_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a server's error object says.

    `status` is the HTTP status it names and `retry_after_s` how long to wait, where it says that.
    """

    message: str
    codes: frozenset[str]
    status: int | None
    retry_after_s: float | None = None


def complaint_of(body: str) -> Complaint:
    """The complaint in an error's body, of any of the usual shapes; HTML is named, not quoted."""
    try:
        return complaint_in(parse_object(body))
    except JsonError:
        text = " ".join(body.split())
        if text.startswith("<"):
            text = "an HTML page"
        return Complaint(text[:_MESSAGE_CHARACTERS] or "no reason given", frozenset(), None)


def complaint_in(answer: JsonObject) -> Complaint:
    """The complaint in a JSON object: OpenAI's `{"error": {...}}`, Google's details, and plainer ones."""
    error = object_of(answer, "error") or answer
    told = (error.get("message"), answer.get("error"), error.get("detail"))
    message = next((_as_text(value) for value in told if value), "no reason given")
    details = objects_of(error, "details")
    codes = (
        error.get("code"),
        error.get("type"),
        error.get("status"),
        *(one.get("reason") for one in details),
    )
    named = frozenset(code for code in codes if isinstance(code, str))
    numbers = (code for code in codes if isinstance(code, int) and 400 <= code <= 599)
    known = (_STATUS_OF_CODE[code] for code in codes if isinstance(code, str) and code in _STATUS_OF_CODE)
    status = next(chain(numbers, known), None)
    delays = filter(None, (_DELAY.fullmatch(text_of(one, "retryDelay") or "") for one in details))
    wait_s = next((float(delay[1]) for delay in delays), None)
    return Complaint(" ".join(message.split())[:_MESSAGE_CHARACTERS], named, status, wait_s)


def refusal(status: int, complaint: Complaint) -> type[ProviderError]:
    """The class of the error that `status` and `complaint` amount to."""
    if complaint.codes & _QUOTA_CODES or status == 402 or _QUOTA_WORDS.search(complaint.message):
        return QuotaExceededError
    if complaint.codes & _AUTH_CODES:
        return AuthError
    if complaint.codes & _CONTEXT_CODES or (
        status in (400, 413, 422) and _CONTEXT_WORDS.search(complaint.message)
    ):
        return ContextTooLongError
    if complaint.codes & _MODEL_CODES:
        return ModelNotFoundError
    by_status = {401: AuthError, 403: AuthError, 404: ModelNotFoundError, 429: RateLimitError}
    if status in by_status:
        return by_status[status]
    if status >= 500:
        return ServerError
    return RequestError if status >= 400 else BadResponseError


def refused(reply: Reply, complaint: Complaint, *, status: int) -> ProviderError:
    """The error of a request that `reply` refuses, for the reason in `complaint`."""
    kind = refusal(status, complaint)
    error = reply.failure(kind, f"HTTP {status}: {complaint.message}")
    error.status = status
    error.retryable = is_retryable(status, kind, reply.headers)
    in_header = retry_after_s(reply.headers)
    error.retry_after_s = complaint.retry_after_s if in_header is None else in_header
    return error


def is_retryable(status: int, kind: type[ProviderError], headers: Mapping[str, str]) -> bool:
    """Whether the same request may be answered later; a server that says not is believed."""
    if headers.get("x-should-retry", "").strip().lower() == "false" or 300 <= status < 400:
        return False
    return kind.retryable or (status in _STILL_RETRYABLE and kind is RequestError)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); None: no sensible word."""
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            wait_s = float(value) * unit_s
        except ValueError:
            continue
        if math.isfinite(wait_s) and wait_s >= 0.0:
            return wait_s
    return _until(headers.get("retry-after", ""))


def _as_text(value: object) -> str:
    """A server's reason; some give lists of what is wrong with each field."""
    return value if isinstance(value, str) else json.dumps(value)


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, IndexError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait_s = (moment - datetime.now(UTC)).total_seconds()
    return wait_s if wait_s > 0.0 else None
