"""Tokens of callers and administrators: made once, kept as hashes, compared in constant time.

A token is `wb-ID-SECRET`. The id finds the hash; the secret has 256 bits of chance, so that a plain SHA-256
of it cannot be guessed backwards.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from workbench.settings import Secret

_TOKEN = re.compile(r"wb-(?P<id>[a-z0-9]{12})-(?P<secret>[A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()
LONGEST = 200
"""Characters that are looked at; a longer token is wrong."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token at the only moment at which it is known: `token` is shown once, the rest is kept."""

    token_id: str
    digest: str
    token: Secret


def new_token() -> NewToken:
    """A token that nobody else has."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return NewToken(token_id, _digest(secret), Secret(f"wb-{token_id}-{secret}"))


def id_of(token: str) -> str | None:
    """The part of a token that is no secret; None: it has not the form of one."""
    found = _TOKEN.fullmatch(token) if len(token) <= LONGEST else None
    return None if found is None else found["id"]


def is_token(token: str, digest: str | None) -> bool:
    """Whether `digest` is that of `token`; takes the same time where there is none (None)."""
    found = _TOKEN.fullmatch(token) if len(token) <= LONGEST else None
    given = _digest("" if found is None else found["secret"])
    is_same = hmac.compare_digest(given, digest or _NOBODY)
    return is_same and digest is not None and found is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
