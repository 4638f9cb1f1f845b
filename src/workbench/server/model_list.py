"""`GET /v1/models`: what a caller may name."""

from workbench.server.bodies import encoded, error_body
from workbench.server.endpoint import Door, whole
from workbench.server.exchange import Json, Refusal
from workbench.server.guard import Receive, Scope, Send
from workbench.server.targets import AUTO, Targets
from workbench.server.virtual_keys import VirtualKey

_ROUTED = (AUTO, "router:")


class ModelList:
    """The ASGI app of the list, in OpenAI's shape; a key sees what it may ask for."""

    def __init__(self, targets: Targets, door: Door) -> None:
        self._targets = targets
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "GET":
                raise Refusal(405, "method_not_allowed", "use GET", headers={"allow": "GET"})
            key = self._door.caller(scope).key
        except Refusal as refusal:
            await whole(send, refusal.status, refusal.headers.items(), encoded(error_body(refusal)))
            return
        await whole(send, 200, (), encoded({"object": "list", "data": self._listed(key)}))

    def _listed(self, key: VirtualKey) -> list[Json]:
        names = (name for name in self._targets.names if not key.models or name in key.models)
        return [{"id": name, "object": "model", "created": 0, "owned_by": _owner(name)} for name in names]


def _owner(name: str) -> str:
    return "workbench" if name.startswith(_ROUTED) else name.partition("/")[0]
