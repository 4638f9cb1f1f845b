"""Who may administer, as a dependency of routes: the token is asked for before anything else is looked at."""

from fastapi import HTTPException, Request

from workbench.server.admin_tokens import AdminTokens
from workbench.server.endpoint import peer_of, token_of
from workbench.server.exchange import Refusal
from workbench.server.guard import FailedAttempts


class Administrator:
    """A dependency: lets a request pass that has an admin token."""

    def __init__(self, tokens: AdminTokens, attempts: FailedAttempts) -> None:
        self._tokens = tokens
        self._attempts = attempts

    def __call__(self, request: Request) -> None:
        """
        Raises:
            HTTPException: no admin token, the same whatever is wrong with it; or too many wrong ones.
        """
        if self.is_one(request):
            return
        peer = peer_of(request.scope)
        try:
            self._attempts.check(peer)
        except Refusal as refusal:
            raise HTTPException(429, refusal.message, headers={"retry-after": "60"}) from None
        self._attempts.add(peer)
        raise HTTPException(401, "an admin token is needed", headers={"www-authenticate": "Bearer"})

    def is_one(self, request: Request) -> bool:
        """Whether a request has an admin token."""
        return self._tokens.is_admin(token_of(request.scope))
