"""`POST /v1/feedback`: how good an answer was, told after it was served."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from workbench.server.bodies import encoded, error_body, parsed
from workbench.server.config import LimitsConfig
from workbench.server.endpoint import Door, headers_of_refusal, whole
from workbench.server.exchange import Json, Refusal
from workbench.server.guard import Receive, Scope, Send, body_of
from workbench.server.outcome_log import OutcomeLog

PATH = "/v1/feedback"


class FeedbackRequest(BaseModel):
    """How good the answer to a request was: `request_id` as in the header `x-request-id` of the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: Annotated[str, Field(min_length=1, max_length=64)]
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class FeedbackEndpoint:
    """The ASGI app: a caller scores what its tenant was served, and nothing else."""

    def __init__(self, log: OutcomeLog, door: Door, limits: LimitsConfig) -> None:
        self._log = log
        self._door = door
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            said = await self._taken(scope, receive)
        except Refusal as refusal:
            await whole(send, refusal.status, headers_of_refusal(refusal), encoded(error_body(refusal)))
            return
        await whole(send, 200, (), encoded(said))

    async def _taken(self, scope: Scope, receive: Receive) -> Json:
        if scope["method"] != "POST":
            raise Refusal(405, "method_not_allowed", "use POST", headers={"allow": "POST"})
        key = self._door.caller(scope).key
        body = await body_of(
            scope, receive, most_bytes=self._limits.body_bytes, within_s=self._limits.upload_s
        )
        told = parsed(FeedbackRequest, body)
        if not await self._log.score(key, told.request_id, told.quality):
            raise Refusal(404, "request_not_found", "there is no such request of this key's tenant")
        return {"request_id": told.request_id, "quality": told.quality}
