"""`GET /v1/models`: what a caller may name; below it one of them, whose name may have slashes."""

from workbench.server.bodies import encoded, error_body
from workbench.server.endpoint import Door, headers_of_refusal, whole
from workbench.server.exchange import Json, Refusal
from workbench.server.guard import Receive, Scope, Send
from workbench.server.targets import AUTO, Targets, not_found
from workbench.server.virtual_keys import VirtualKey

PATH = "/v1/models"
_ROUTED = (AUTO, "router:")


class ModelList:
    """The ASGI app of the list, in OpenAI's shape; a key sees what it may ask for."""

    def __init__(self, targets: Targets, door: Door) -> None:
        self._targets = targets
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise Refusal(405, "method_not_allowed", "use GET", headers={"allow": "GET, HEAD"})
            said = self._said(self._door.caller(scope).key, scope["path"].removeprefix(PATH).strip("/"))
        except Refusal as refusal:
            await whole(send, refusal.status, headers_of_refusal(refusal), encoded(error_body(refusal)))
            return
        await whole(send, 200, (), encoded(said))

    def _said(self, key: VirtualKey, name: str) -> Json:
        listed = [_shown(one) for one in self._targets.names if not key.models or one in key.models]
        if not name:
            return {"object": "list", "data": listed}
        found = next((one for one in listed if one["id"] == name), None)
        if found is None:
            raise not_found(name)
        return found


def _shown(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": _owner(name)}


def _owner(name: str) -> str:
    return "workbench" if name.startswith(_ROUTED) else name.partition("/")[0]
