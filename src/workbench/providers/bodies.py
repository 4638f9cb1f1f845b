"""Bodies: the JSON that a request sends, and the JSON or the refusal that comes back."""

import json
from collections.abc import Mapping

from workbench.errors import BadResponseError, DataError
from workbench.providers.json_body import JsonError, JsonObject, decode_utf8, is_encodable, parse_object
from workbench.providers.reply import Reply
from workbench.providers.status import Complaint, complaint_of, refused

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def encoded(fields: Mapping[str, object], *, what: str) -> bytes:
    """The body of a request.

    Raises:
        DataError: `what` is to be sent has half of a character in it.
    """
    text = _ENCODER.encode(fields)
    if not is_encodable(text):
        raise DataError(f"{what} has half of a surrogate pair, which is no text")
    return text.encode()


async def raise_for_status(reply: Reply) -> None:
    """
    Raises:
        ProviderError: the status is not 200; its class says what the server complains of.
    """
    if reply.status == 200:
        return
    if reply.status < 400:
        complaint = Complaint("not an answer to what was asked", frozenset(), None)
    else:
        body = await reply.read_refusal()
        complaint = complaint_of(reply.http.redacted(body.decode("utf-8", "replace")))
    raise refused(reply, complaint, status=reply.status)


async def json_of(reply: Reply) -> JsonObject:
    """The JSON object that is the body.

    Raises:
        BadResponseError: it is something else.
    """
    body = await reply.read()
    try:
        return parse_object(decode_utf8(body))
    except JsonError as exc:
        failure = reply.failure(BadResponseError, f"the answer is {exc}")
    raise failure
