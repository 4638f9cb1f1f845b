"""Where keys are looked for: the environment, `.env`, the system's keyring, and the encrypted file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain, count, takewhile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workbench.errors import ConfigError, MissingExtraError, StorageError
from workbench.providers.registry import ENDPOINTS
from workbench.settings import SOURCES, Secret

if TYPE_CHECKING:
    from workbench.settings import Settings

KeySource = Callable[[str], Secret | None]
"""Gives the key that it has under the name of a variable."""


def key_sources(settings: "Settings | None" = None, password: Secret | None = None) -> dict[str, KeySource]:
    """The places where a key may be, by name, in the order in which they are asked.

    Args:
        settings: None: those of the environment.
        password: of the encrypted file; None: the value of `WORKBENCH_KEY_FILE_PASSWORD`.
    Raises:
        ConfigError: the encrypted file does not open.
        MissingExtraError: a place is named that needs the extra 'keys'.
        StorageError: there is no such file.
    """
    from workbench.settings import Settings  # here, as it takes as long to import as httpx

    settings = settings or Settings()
    sources: dict[str, KeySource] = dict(SOURCES)
    if settings.keyring:
        sources["keyring"] = partial(key_ring().read_key, settings.keyring)
    if settings.key_file is not None:
        sources["key file"] = _read(settings.key_file, password).get
    return sources


def first_key(sources: Mapping[str, KeySource], name: str) -> Secret | None:
    """The key `name` from the first of `sources` that has it; the others are not asked."""
    return next(filter(None, (look(name) for look in sources.values())), None)


def keys_at_hand() -> list[Secret]:
    """Every key of the keyring and the encrypted file; while it is held, what is written is masked of it.

    Nothing where a place does not open: then no key can be taken from it either.
    """
    from workbench.settings import Settings

    keys: list[Secret] = []
    with suppress(ConfigError, StorageError, MissingExtraError):
        settings = Settings()
        if settings.keyring:
            look = partial(key_ring().read_key, settings.keyring)
            for variable in filter(None, (row.key_var for row in ENDPOINTS)):
                keys += takewhile(lambda key: key is not None, map(look, numbered(variable)))
        if settings.key_file is not None:
            keys += _read(settings.key_file, None).values()
    return keys


def numbered(variable: str) -> Iterator[str]:
    """The names that the keys of `variable` have, without an end: itself, then with 2, 3, ... after it.

    >>> names = numbered("GROQ_API_KEY")
    >>> next(names), next(names)
    ('GROQ_API_KEY', 'GROQ_API_KEY_2')
    """
    return chain((variable,), (f"{variable}_{number}" for number in count(2)))


def key_ring() -> ModuleType:
    """`client.key_ring`, which needs an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from workbench.client import key_ring  # here, as keyring need not be installed, nor is it fast
    except ImportError as exc:
        raise MissingExtraError("keys", "the system's keyring") from exc
    return key_ring


def key_file(path: Path) -> ModuleType:
    """`client.key_file`, which needs an extra, to open `path` with.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from workbench.client import key_file  # here, as cryptography need not be installed
    except ImportError as exc:
        raise MissingExtraError("keys", f"the key file {path}") from exc
    return key_file


def _read(path: Path, password: Secret | None) -> Mapping[str, Secret]:
    keys: Mapping[str, Secret] = key_file(path).read_keys(path, password)
    return keys
