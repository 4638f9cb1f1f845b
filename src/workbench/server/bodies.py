"""Bodies of requests and answers: JSON read once at the border, and written as compactly as it can be."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.server.exchange import Json, Refusal
from workbench.types import Image

MAX_OUTPUT_TOKENS = 4096
"""Where a caller sets no limit: the most that one answer is let cost must be known before it is sent."""

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


def error_body(refusal: Refusal) -> Json:
    """An error as OpenAI's clients read it; so are those told that reached no protocol."""
    kind = "invalid_request_error" if refusal.status < 500 and refusal.status != 429 else "server_error"
    if refusal.status == 429:
        kind = "rate_limit_error"
    error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
    return {"error": error}


def encoded(body: Json) -> bytes:
    """JSON, as compact as it can be, in UTF-8; half a character becomes a question mark."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def event(body: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + encoded(body) + b"\n\n"


def image_of(url: str) -> Image:
    """The picture at a data URL, or an address for the provider to fetch.

    Raises:
        Refusal: it is neither an https address nor a data URL of a picture.
    """
    if url.startswith("data:"):
        head, _, content = url[5:].partition(",")
        media_type, _, coding = head.partition(";")
        try:
            return (
                Image(base64.b64decode(content, validate=True), media_type)
                if coding == "base64"
                else _no_image()
            )
        except (binascii.Error, ValueError) as exc:
            raise _bad_image() from exc
    if not url.startswith("https://"):
        raise _bad_image()
    return Image(url=url)


def _no_image() -> Image:
    raise _bad_image()


def _bad_image() -> Refusal:
    return Refusal(
        400, "invalid_image", "image_url.url must be an https address or data:image/...;base64,..."
    )
