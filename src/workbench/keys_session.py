"""What a person at a terminal does with keys: set, listed, checked and removed. No key is ever shown."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from getpass import getpass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Literal

from workbench import terminal
from workbench.catalog import today
from workbench.client.key_sources import KeySource, first_key, key_file, key_ring, key_sources, numbered
from workbench.errors import ConfigError, ProviderError
from workbench.experiment.wording import printable
from workbench.providers import registry
from workbench.providers.addresses import check_sendable_key
from workbench.providers.listing import listed_models
from workbench.settings import Secret, Settings, secret

Store = Literal["keyring", "file"]

_MAX_KEY_BYTES = 10_000
_SHORTEST_PASSWORD = 8
_SET_UP = {
    "keyring": "set WORKBENCH_KEYRING=workbench to keep keys in the system's keyring",
    "file": "name an encrypted file outside of any repository in WORKBENCH_KEY_FILE, such as "
    "~/.config/workbench/keys",
}


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key in one place; `shadow` is what has it first, or has the same one; None: the client uses it."""

    alias: str
    source: str
    shadow: str | None


def named_store(*, keyring: bool, file: bool) -> Store | None:
    """The store that an option names; None: neither.

    Raises:
        ConfigError: both are named.
    """
    if keyring and file:
        raise ConfigError("a key is kept in one place; give --keyring or --file, not both")
    if keyring:
        return "keyring"
    return "file" if file else None


def set_key(
    provider: str, *, alias: str | None = None, store: Store | None = None, given: tuple[str, ...] = ()
) -> None:
    """Keep a key that is typed without being shown, or comes from standard input.

    Args:
        alias: the account's name, which is that of its variable; None: the provider's first.
        given: what else stood on the command line, which is refused: it may be the key.
    Raises:
        ConfigError: it cannot be kept there, under this name, or it is no key.
    """
    if given:
        raise ConfigError(
            "a key on the command line stays in the shell's history, and all users of this machine see it; "
            f"replace it at {provider}, and give the new one when asked, or through standard input"
        )
    settings, variable = Settings(), _variable(provider)
    name = _alias(variable, alias)
    store, password = _store(settings, store), _password(settings)
    sources = _sources(settings, password)
    before = takewhile(lambda other: other != name, numbered(variable))
    missing = next((other for other in before if first_key(sources, other) is None), None)
    if missing is not None:
        raise ConfigError(
            f"accounts are counted up to the first that is missing; set this first: --alias {missing}"
        )
    if store == "file":
        _put_in_file(_file(settings), name, password)
    else:
        key_ring().write_key(settings.keyring, name, _typed_key(name))
    terminal.console().print(f"{name} is kept in the {_PLACES[store]}", soft_wrap=True)
    ahead = next((source for source, look in sources.items() if look(name) is not None), None)
    if ahead in ("environment", ".env"):
        terminal.console().print(
            f"{name} is in the {ahead} too, which goes first; remove it there to use this"
        )


def list_keys() -> None:
    """Print a line for each key: whose, its alias, where it is kept, and whether the client uses it."""
    settings = Settings()
    sources = _sources(settings, _password(settings))
    rows = [
        (providers, kept.alias, kept.source, "yes" if kept.shadow is None else f"no, {kept.shadow}")
        for variable, providers in _providers().items()
        for kept in _kept(variable, sources)
    ]
    console = terminal.console()
    if not rows:
        console.print("no key of any provider is set; keep one with: workbench keys set PROVIDER")
        return
    console.print(terminal.cells(("provider", "alias", "kept in", "used"), rows))


def remove_key(provider: str, *, alias: str | None = None, store: Store | None = None) -> None:
    """Delete a key from the keyring or the encrypted file.

    Raises:
        ConfigError: it is not kept there, or one with a higher number would no longer be found.
    """
    settings, variable = Settings(), _variable(provider)
    name, store, password = _alias(variable, alias), _store(settings, store), _password(settings)
    sources = _sources(settings, password)
    if _PLACES[store] not in sources or sources[_PLACES[store]](name) is None:
        raise ConfigError(f"the {_PLACES[store]} has no {name}; see what is kept where: workbench keys list")
    others = {place: look for place, look in sources.items() if place != _PLACES[store]}
    after = next(other for before, other in pairwise(numbered(variable)) if before == name)
    if first_key(others, name) is None and first_key(sources, after) is not None:
        raise ConfigError(
            f"accounts are counted up to the first that is missing, and {after} would not be found; remove "
            f"the highest number first, or put another key in its place: workbench keys set {provider} "
            f"--alias {name}"
        )
    if store == "file":
        path = _file(settings)
        key_file(path).drop_key(path, name, password)
    else:
        key_ring().remove_key(settings.keyring, name)
    terminal.console().print(f"{name} was removed from the {_PLACES[store]}", soft_wrap=True)


async def check_keys(provider: str) -> bool:
    """Ask `provider` for its models with each of its keys, print what came of it; whether all were taken.

    A provider that lists its models to everyone takes a wrong key as well.
    """
    settings, variable, console = Settings(), _variable(provider), terminal.console()
    sources = _sources(settings, _password(settings))
    names = list(takewhile(lambda name: first_key(sources, name) is not None, numbered(variable)))
    if not names:
        raise ConfigError(f"{provider} has no key; keep one with: workbench keys set {provider}")
    are_fine = True
    for name in names:
        try:
            models = await listed_models(provider, on=today(), key=first_key(sources, name))
        except ProviderError as exc:
            are_fine = False
            console.print(printable(f"{name}: {exc}"), style="red", soft_wrap=True)
        else:
            console.print(f"{name}: accepted; {len(models)} models are listed", soft_wrap=True)
    return are_fine


_PLACES: Mapping[Store, str] = {"keyring": "keyring", "file": "key file"}
"""The stores as `key_sources` calls them."""


def _kept(variable: str, sources: Mapping[str, KeySource]) -> Iterator[KeptKey]:
    """Every key of `variable`, with those of one name in the order in which they are asked for."""
    seen: dict[Secret, str] = {}
    for name in numbered(variable):
        found = {source: key for source, look in sources.items() if (key := look(name)) is not None}
        if not found:
            return
        first, *shadowed = found
        same = seen.setdefault(found[first], name)
        yield KeptKey(name, first, None if same == name else f"the same key as {same}")
        for source in shadowed:
            yield KeptKey(name, source, f"{first} goes first")


def _providers() -> dict[str, str]:
    """Variable -> the providers that are asked with its keys."""
    providers: dict[str, list[str]] = {}
    for row in registry.ENDPOINTS:
        if row.key_var is not None:
            providers.setdefault(row.key_var, []).append(row.name)
    return {variable: ", ".join(names) for variable, names in providers.items()}


def _variable(provider: str) -> str:
    variable = registry.endpoint(provider).key_var
    if variable is None:
        raise ConfigError(f"{provider} is asked without a key, so there is none to keep; use it as it is")
    return variable


def _alias(variable: str, alias: str | None) -> str:
    """`alias` is not in the error: it may be a key."""
    if alias is None:
        return variable
    if not re.fullmatch(rf"{variable}(_[2-9]|_[1-9][0-9]{{1,3}})?", alias):
        raise ConfigError(
            f"accounts are called by their variables; give --alias {variable}, {variable}_2, {variable}_3 ..."
        )
    return alias


def _store(settings: Settings, asked: Store | None) -> Store:
    """Where to keep a key: as asked, or else the one place that is set up."""
    places: dict[Store, object] = {"keyring": settings.keyring, "file": settings.key_file}
    there = [store for store, place in places.items() if place]
    if asked is not None and asked not in there:
        raise ConfigError(f"there is no such place yet; {_SET_UP[asked]}")
    if asked is None and not there:
        raise ConfigError(
            f"there is no place to keep keys in yet; {_SET_UP['file']}, or {_SET_UP['keyring']}"
        )
    if asked is None and len(there) > 1:
        raise ConfigError("both a keyring and a key file are set up; say which: --keyring or --file")
    return asked or there[0]


def _sources(settings: Settings, password: Secret | None) -> dict[str, KeySource]:
    """As the client has them; a key file that is not there yet has no keys."""
    is_there = settings.key_file is not None and settings.key_file.exists()
    return key_sources(settings if is_there else settings.model_copy(update={"key_file": None}), password)


def _file(settings: Settings) -> Path:
    if settings.key_file is None:
        raise ConfigError(f"there is no such place yet; {_SET_UP['file']}")
    return settings.key_file


def _password(settings: Settings) -> Secret | None:
    """The password of a key file that is there, typed; None: there is none, or nothing to ask for."""
    path = settings.key_file
    if path is None or not path.exists() or not _is_asked_for(path):
        return None
    return Secret(getpass(f"password of {path} (not shown): "))


def _is_asked_for(path: Path) -> bool:
    return sys.stdin.isatty() and secret(key_file(path).PASSWORD_VARIABLE) is None


def _put_in_file(path: Path, name: str, password: Secret | None) -> None:
    file = key_file(path)
    file.check_place(path)  # before anything is typed
    if not path.exists() and _is_asked_for(path):
        password = _new_password(path)
    file.put_key(path, name, _typed_key(name), password)


def _new_password(path: Path) -> Secret:
    password = Secret(getpass(f"new password of {path} (not shown): "))
    if len(password) < _SHORTEST_PASSWORD:
        raise ConfigError(f"a password of a key file has at least {_SHORTEST_PASSWORD} characters; try again")
    if Secret(getpass("the same again: ")) != password:
        raise ConfigError("the two passwords differ, and nothing was written; try again")
    return password


def _typed_key(name: str) -> Secret:
    if sys.stdin.isatty():
        key = Secret(getpass(f"{name} (not shown): ").strip())
    else:
        key = Secret(sys.stdin.buffer.read(_MAX_KEY_BYTES).decode("ascii", "replace").strip())
    check_sendable_key(key, what=f"what was given as {name}")
    return key
