"""Who may administer: the token is asked for before a body is read or anything else is looked at."""

from workbench.server.admin_tokens import AdminTokens
from workbench.server.config import LimitsConfig
from workbench.server.endpoint import peer_of, token_of, unauthorised
from workbench.server.exchange import Refusal
from workbench.server.guard import App, FailedAttempts, Message, Receive, Scope, Send, body_of

ADMINISTRATION = ("/admin", "/metrics")
"""Where an admin token is needed, also below."""
OPEN = ("/health/live", "/health/ready", "/openapi.json")
"""Where none is. All other paths of the app behind this door are not there."""


class Administrator:
    """Tells who has an admin token, and lets nobody try many wrong ones."""

    def __init__(self, tokens: AdminTokens, attempts: FailedAttempts) -> None:
        self._tokens = tokens
        self._attempts = attempts

    def check(self, scope: Scope) -> None:
        """
        Raises:
            Refusal: no admin token, the same whatever is wrong with it; or too many wrong ones.
        """
        if self.is_one(scope):
            return
        peer = peer_of(scope)
        self._attempts.check(peer)
        self._attempts.add(peer)
        raise unauthorised()

    def is_one(self, scope: Scope) -> bool:
        """Whether a request has an admin token."""
        return self._tokens.is_admin(token_of(scope))


class AdminDoor:
    """The ASGI app before the routes for administrators, and the few that are open."""

    def __init__(self, app: App, administrator: Administrator, limits: LimitsConfig) -> None:
        self._app = app
        self._administrator = administrator
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_below(scope["path"], ADMINISTRATION):
            self._administrator.check(scope)
        elif scope["path"] not in OPEN:
            raise Refusal(404, "not_found", "there is nothing here; GET /openapi.json lists what is")
        limits = self._limits
        body = await body_of(scope, receive, most_bytes=limits.body_bytes, within_s=limits.upload_s)
        await self._app(scope, _given(body, receive), send)


def is_below(path: str, places: tuple[str, ...]) -> bool:
    """Whether `path` is one of `places`, or below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _given(body: bytes, receive: Receive) -> Receive:
    """A body that was read, as if it came now."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return messages.pop() if messages else await receive()

    return given
