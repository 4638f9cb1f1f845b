"""Where a provider wants its key, and how it gets there: on a request while that is sent, and not after."""

from collections.abc import Generator
from dataclasses import dataclass

import httpx

from workbench.settings import Secret


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """The header that carries the key, and what stands before the key in it."""

    name: str = "authorization"
    prefix: str = "Bearer "


BEARER = KeyHeader()


class KeyAuth(httpx.Auth):
    """Puts the key on a request while it is sent."""

    def __init__(self, key: Secret, header: KeyHeader) -> None:
        self._key = key
        self._header = header

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._header.name] = f"{self._header.prefix}{self._key.get_secret_value()}"
        try:
            yield request
        finally:
            del request.headers[self._header.name]
