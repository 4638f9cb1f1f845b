"""Bodies of requests and answers: JSON read once at the border, and written as compactly as it can be."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.server.exchange import Json, Refusal
from workbench.types import Image

MAX_OUTPUT_TOKENS = 4096
"""Where a caller sets no limit: the most that one answer is let cost must be known before it is sent."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DATA_URL = re.compile(r"data:(?P<type>[^;,]{1,50});base64,")
_PICTURE = re.compile(r"image/[a-z0-9.+-]{1,40}")
_ENDS_IN_NUMBER = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$", re.IGNORECASE)
"""Such a host is an IP address, however it is written: https://url.spec.whatwg.org/#ends-in-a-number-checker."""
_INSIDE = ("localhost", ".local", ".internal", ".lan", ".home.arpa")

Read = TypeVar("Read", bound=BaseModel)


class Body(BaseModel):
    """A part of a body; fields that are not listed are left unheeded."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WorkbenchOptions(Body):
    """Ours: `decision` shows in the body how the request was routed; `conversation` keeps it in one arm."""

    decision: bool = False
    conversation: Annotated[str, Field(max_length=200)] | None = None
    fallbacks: Annotated[list[str], Field(max_length=10)] = Field(default_factory=list)


def parsed(model: type[Read], body: bytes) -> Read:
    """A body as `model` describes it.

    Raises:
        Refusal: it is not JSON, or not that; names the first field that is wrong.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_input=False, include_context=False)
    except (ValueError, RecursionError):
        problems = []
    if not problems or problems[0]["type"] == "json_invalid":
        raise Refusal(400, "invalid_json", "the body is not JSON; send a JSON object")
    raise Refusal(400, "invalid_request", first_problem(problems))


def first_problem(problems: Sequence[Any]) -> str:
    """Which field is wrong and why, of the errors that pydantic lists; what was sent is not said again."""
    where = ".".join(str(part) for part in problems[0]["loc"])[:200]
    return f"{where}: {problems[0]['msg'][:300]}" if where else "not a request"


def refuse_changed(sent: BaseModel, neutral: Mapping[str, Sequence[object]]) -> None:
    """Refuse fields that would change the answer and that no provider is sent, unless their value is neutral.

    Raises:
        Refusal: names the first of them.
    """
    for name, values in neutral.items():
        if getattr(sent, name) not in (None, *values):
            reason = f"{name}: this server cannot pass it on, and the answer would differ; leave it out"
            raise Refusal(400, "unsupported_parameter", reason)


def error_body(refusal: Refusal) -> Json:
    """An error as OpenAI's clients read it; so are those told that reached no protocol."""
    kind = "invalid_request_error" if refusal.status < 500 and refusal.status != 429 else "server_error"
    if refusal.status == 429:
        kind = "rate_limit_error"
    error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
    return {"error": error}


def encoded(body: Json) -> bytes:
    """JSON, as compact as it can be, in UTF-8; half a character becomes a question mark."""
    return _ENCODER.encode(body).encode(errors="replace")


def event(body: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + encoded(body) + b"\n\n"


def image_of(url: str) -> Image:
    """The picture at a data URL, or an address for the provider to fetch; nothing is fetched here.

    Raises:
        Refusal: it is neither a public https address nor a data URL of a picture.
    """
    if not url.startswith("data:"):
        if not _is_public(url):
            raise _bad_image()
        return Image(url=url)
    found = _DATA_URL.match(url)
    if found is None:
        raise _bad_image()
    return picture(url[found.end() :], found["type"])


def picture(content: str, media_type: str) -> Image:
    """The picture in base64.

    Raises:
        Refusal: it is not.
    """
    try:
        if _PICTURE.fullmatch(media_type):
            return Image(base64.b64decode(content, validate=True), media_type)
    except (binascii.Error, ValueError) as exc:
        raise _bad_image() from exc
    raise _bad_image()


def _is_public(url: str) -> bool:
    """Whether this is an https address by a public name: a provider of one's own would fetch from inside."""
    try:
        parts = urlsplit(url)
        host, has_user = parts.hostname or "", "@" in parts.netloc
        parts.port  # noqa: B018 - which may be none
    except ValueError:
        return False
    is_plain = parts.scheme == "https" and not has_user and url.isprintable() and " " not in url
    if ":" in host or _ENDS_IN_NUMBER.search(host):
        return is_plain and _is_global(host)
    return is_plain and "." in host and not host.rstrip(".").endswith(_INSIDE)


def _is_global(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return False


def _bad_image() -> Refusal:
    reason = "an image must be a public https address, or data:image/...;base64,..."
    return Refusal(400, "invalid_image", reason)
