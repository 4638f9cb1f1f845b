"""Keys in the system's keyring: Keychain, Credential Locker, Secret Service or KWallet. Owns keyring.

A key is an entry of the service that `WORKBENCH_KEYRING` names, under the name of its variable.
"""

from collections.abc import Callable
from typing import TypeVar

import keyring
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringError

from workbench.errors import ConfigError
from workbench.settings import Secret

_T = TypeVar("_T")

_UNLOADABLE = (ImportError, AttributeError, ValueError, TypeError, RuntimeError)
"""What keyring raises where its configuration names a backend that is not there, or does not work here."""


def read_key(service: str, name: str) -> Secret | None:
    """The key that is kept under `name`; None: there is none.

    Raises:
        ConfigError: there is no keyring on this system, or it stays locked.
    """
    return _told(lambda backend: _secret(backend.get_password(service, name)))


def write_key(service: str, name: str, key: Secret) -> None:
    """Keep `key` under `name`, in the place of what was there.

    Raises:
        ConfigError: as `read_key`, or the keyring did not keep it.
    """
    _told(lambda backend: backend.set_password(service, name, key.get_secret_value()))
    if read_key(service, name) != key:
        raise ConfigError(f"the system's keyring did not keep {name}; keep it in the encrypted file: --file")


def remove_key(service: str, name: str) -> None:
    """Delete what is kept under `name`.

    Raises:
        ConfigError: as `read_key`, or nothing is.
    """
    _told(lambda backend: backend.delete_password(service, name))


def _told(use: Callable[[KeyringBackend], _T]) -> _T:
    """What `use` gives. Raised outside of the handler: the frames of a backend's error have keys in them."""
    backend = _backend()
    try:
        return use(backend)
    except KeyringError as exc:
        problem = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    raise ConfigError(
        f"the system's keyring ({backend.name}) refused: {problem}; unlock it, or keep keys in the encrypted "
        "file that WORKBENCH_KEY_FILE names"
    )


def _backend() -> KeyringBackend:
    try:
        backend = keyring.get_keyring()
    except _UNLOADABLE as exc:
        raise ConfigError(
            f"the keyring that PYTHON_KEYRING_BACKEND or keyringrc.cfg names cannot be loaded ({exc}); name "
            "another, or unset WORKBENCH_KEYRING"
        ) from exc
    if isinstance(backend, fail.Keyring | null.Keyring):
        raise ConfigError(
            "WORKBENCH_KEYRING is set, but this system has no keyring that can be used; keep keys in the "
            "encrypted file that WORKBENCH_KEY_FILE names, and unset WORKBENCH_KEYRING"
        )
    return backend


def _secret(password: str | None) -> Secret | None:
    return Secret(password) if password else None
