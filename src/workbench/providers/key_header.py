"""Where a provider wants its key, and how it gets there: on a request while that is sent, and not after."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from workbench.settings import Secret


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """The header that carries the key, and what stands before the key in it."""

    name: str = "authorization"
    prefix: str = "Bearer "

    @contextmanager
    def on(self, request: httpx.Request, key: Secret | None) -> Iterator[None]:
        """Put `key` on a request while the block sends it; None: there is none."""
        if key is None:
            yield
            return
        request.headers[self.name] = f"{self.prefix}{key.get_secret_value()}"
        try:
            yield
        finally:
            del request.headers[self.name]


BEARER = KeyHeader()
