"""Who may administer: tokens of their own, the first made when the server is first started."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from workbench.errors import ConfigError
from workbench.server.database import admin_tokens
from workbench.server.tokens import NewToken, id_of, is_token, new_token
from workbench.settings import Secret


@dataclass(frozen=True, slots=True)
class AdminToken:
    """An admin token as it is listed, by the part of it that is no secret; `created_at` in Unix seconds."""

    token_id: str
    created_at: float


class AdminTokens:
    """The admin tokens that are in the database, as hashes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._digests: dict[str, str] = {}
        self.reload()

    def reload(self) -> None:
        """Take from the database what other processes changed."""
        wanted = sa.select(admin_tokens).where(admin_tokens.c.revoked_at.is_(None))
        with self._engine.connect() as connection:
            self._digests = {row.token_id: row.digest for row in connection.execute(wanted)}

    def is_admin(self, token: str) -> bool:
        """Whether this is an admin token."""
        return is_token(token, self._digests.get(id_of(token) or ""))

    def first(self) -> Secret | None:
        """A first token where there is none, to be shown once; None: there is one already."""
        return None if self._digests else self.create().token

    def listed(self) -> list[AdminToken]:
        """Every token that works, the newest first."""
        wanted = sa.select(admin_tokens.c.token_id, admin_tokens.c.created_at)
        wanted = wanted.where(admin_tokens.c.revoked_at.is_(None)).order_by(admin_tokens.c.created_at.desc())
        with self._engine.connect() as connection:
            return [AdminToken(row.token_id, row.created_at) for row in connection.execute(wanted)]

    def revoke(self, token_id: str) -> bool:
        """Let a token work no more; False: there is none of this id.

        Raises:
            ConfigError: it is the last one, without which nobody could administer.
        """
        self.reload()
        if token_id not in self._digests:
            return False
        if len(self._digests) == 1:
            raise ConfigError("this is the last admin token; make another one first")
        change = sa.update(admin_tokens).where(admin_tokens.c.token_id == token_id)
        with self._engine.begin() as connection:
            connection.execute(change.values(revoked_at=time.time()))
        self.reload()
        return True

    def create(self) -> NewToken:
        """One more token."""
        made = new_token()
        row = {"token_id": made.token_id, "digest": made.digest, "created_at": time.time()}
        with self._engine.begin() as connection:
            connection.execute(sa.insert(admin_tokens).values(row))
        self.reload()
        return made
