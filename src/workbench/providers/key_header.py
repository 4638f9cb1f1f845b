"""Where a provider wants its key."""

from dataclasses import dataclass

from workbench.settings import Secret


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """The header that carries the key, and what stands before the key in it."""

    name: str = "authorization"
    prefix: str = "Bearer "

    def of(self, key: Secret | None) -> dict[str, str]:
        """The header with `key` in clear, for the moment of sending; empty where there is none."""
        return {} if key is None else {self.name: f"{self.prefix}{key.get_secret_value()}"}


BEARER = KeyHeader()
