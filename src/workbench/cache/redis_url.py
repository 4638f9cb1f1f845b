"""Where a Redis is, from a URL that may hold a password: nothing that is printed has it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from workbench.errors import ConfigError
from workbench.settings import Secret

_N_CONNECTIONS = 16


def connection_settings(url: Secret) -> dict[str, Any]:
    """What the pool is made with; the password is in none of it but the credentials, which hide it.

    Raises:
        ConfigError: nothing of `url` is in it, for any part may be a password.
    """
    settings = _parsed(url)
    if settings is None:
        raise ConfigError(
            "the URL of the Redis is not one (it is not shown, for it may hold a password); "
            "write redis://[[user]:password@]host[:port][/database], or rediss:// for TLS"
        )
    return settings


def address_of(settings: Mapping[str, Any]) -> str:
    """Host, port and database of connection settings; of a socket its path.

    >>> address_of(connection_settings(Secret("redis://me:canary@cache.example/2")))
    'cache.example:6379/2'
    """
    place = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    return f"{place}/{settings.get('db', 0)}"


def _parsed(url: Secret) -> dict[str, Any] | None:
    """None: it is no URL of a Redis. Raises nothing, since what it has at hand may be shown with an error."""
    with suppress(ValueError, TypeError):
        _refuse_misread(url)
        settings: dict[str, Any] = {**parse_url(url.get_secret_value())}
        user, password = settings.pop("username", ""), Secret(settings.pop("password", ""))
        settings |= {
            "credential_provider": _Credentials(user, password) if password else None,
            "max_connections": _N_CONNECTIONS,
            "timeout": None,  # of waiting for a connection: who asks limits the time of all together
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,  # which every server speaks, and which takes no greeting
            "driver_info": None,
            "decode_responses": False,
        }
        # An option that there is none of is refused now, and not by the first call.
        BlockingConnectionPool(**settings).make_connection()  # type: ignore[no-untyped-call] # the library's
        return settings
    return None


def _refuse_misread(url: Secret) -> None:
    """Raise `ValueError` where a password that is not percent-encoded may be taken for another part."""
    parts = urlsplit(url.get_secret_value())
    is_database = parts.scheme == "unix" or (parts.path.strip("/") or "0").isdigit()
    if not is_database or parts.fragment or "@" in parts.path + parts.query:
        raise ValueError


class _Credentials:
    """What a connection asks for when it is made: so no settings, and no repr, have the password in them."""

    def __init__(self, user: str, password: Secret) -> None:
        self._user = user
        self._password = password

    async def get_credentials_async(self) -> tuple[str, ...]:
        """As `AUTH` takes it."""
        password = self._password.get_secret_value()
        return (self._user, password) if self._user else (password,)
