"""`POST /v1/embeddings`, as OpenAI words it: vectors of texts, billed and kept like any request.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import struct
import time
from typing import Annotated, Literal

from pydantic import Field

from workbench.server.bodies import Body, encoded, error_body, parsed
from workbench.server.config import LimitsConfig
from workbench.server.endpoint import Door, headers_of_refusal, whole
from workbench.server.exchange import Asked, Json, Refusal, Routed
from workbench.server.gateway import Gateway
from workbench.server.guard import Receive, Scope, Send, body_of
from workbench.server.request_log import note, request_id
from workbench.types import Decision, Decoding, Embeddings, Prompt

PATH = "/v1/embeddings"
_MOST_TEXTS = 2048


class EmbeddingsRequest(Body):
    """A request; what is not listed is left unheeded."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    input: str | Annotated[list[str], Field(min_length=1, max_length=_MOST_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    user: Annotated[str, Field(max_length=200)] | None = None


class EmbeddingsEndpoint:
    """The ASGI app."""

    def __init__(self, gateway: Gateway, door: Door, limits: LimitsConfig) -> None:
        self._gateway = gateway
        self._door = door
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [("x-request-id", request_id())]
        try:
            said = await self._answered(scope, receive, request_id=headers[0][1])
        except Refusal as refusal:
            note(error=refusal.code)
            headers += headers_of_refusal(refusal)
            await whole(send, refusal.status, headers, encoded(error_body(refusal)))
            return
        await whole(send, 200, headers, encoded(said))

    async def _answered(self, scope: Scope, receive: Receive, *, request_id: str) -> Json:
        if scope["method"] != "POST":
            raise Refusal(405, "method_not_allowed", "use POST", headers={"allow": "POST"})
        caller = self._door.caller(scope)
        body = await body_of(
            scope, receive, most_bytes=self._limits.body_bytes, within_s=self._limits.upload_s
        )
        sent = parsed(EmbeddingsRequest, body)
        await caller.check(sent.model)
        self._gateway.targets.find(sent.model)
        texts = [sent.input] if isinstance(sent.input, str) else sent.input
        asked = Asked(
            sent.model, Prompt(request_id, "\n".join(texts)), Decoding(max_output_tokens=1), user=sent.user
        )
        decision = Decision(sent.model, "fixed")
        routed = Routed(request_id, asked, decision, arm=sent.model, created_s=int(time.time()))
        return _body(await self._gateway.embed(caller, routed, texts), sent)


def _body(found: Embeddings, sent: EmbeddingsRequest) -> Json:
    is_packed = sent.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": _packed(vector) if is_packed else list(vector)}
        for number, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.usage.input_tokens, "total_tokens": found.usage.input_tokens}
    return {"object": "list", "data": data, "model": sent.model, "usage": usage}


def _packed(vector: tuple[float, ...]) -> str:
    """As 32-bit numbers, little-endian, which OpenAI's own client asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
