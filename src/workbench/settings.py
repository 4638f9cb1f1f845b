"""Where things are and which keys there are: the environment, a `.env` file, and secrets that stay secret.

`Settings` is made in `environment`, and loaded when it is first asked for.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from workbench.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

    from workbench.environment import Settings as Settings

_PACKAGE = Path(__file__).resolve().parent
_DOTENV = Path(".env")
_DOTENV_MAX_BYTES = 1_000_000
_KEY_VARIABLE = re.compile(r"(?i)(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_\d+)?$")


class Secret:
    """A key that can be used but not seen: no repr, traceback, pickle, JSON or `vars` shows it.

    >>> key = Secret("canary")
    >>> key, key.get_secret_value()
    (Secret('**********'), 'canary')
    """

    def __init__(self, secret_value: str) -> None:
        self._reveal: Callable[[], str] = lambda: secret_value
        _in_use[id(self)] = self

    def get_secret_value(self) -> str:
        """The key itself; keep it out of local variables, which tracebacks can show."""
        return self._reveal()

    def __len__(self) -> int:
        return len(self._reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._reveal() == other._reveal()

    def __hash__(self) -> int:
        return hash(self._reveal())

    def __str__(self) -> str:
        return "**********" if self._reveal() else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass the name of its environment variable instead")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> "CoreSchema":
        """In a pydantic model, a Secret is itself, and is masked in JSON."""
        from pydantic_core import core_schema  # here, as a key can be had without pydantic

        masked = core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        return core_schema.is_instance_schema(cls, serialization=masked)


_in_use: WeakValueDictionary[int, Secret] = WeakValueDictionary()
"""Every secret of this process, also one passed as an argument: what is written is held against them."""


def __getattr__(name: str) -> Any:
    """`Settings`: late, as pydantic-settings takes as long to import as httpx."""
    if name != "Settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from workbench.environment import Settings

    return Settings


def secret(variable: str) -> Secret | None:
    """The key that the environment, or else `.env`, has in `variable`; None: it is unset or empty.

    A `.env` without keys may be read by anyone; one that a key is taken from may not.

    Raises:
        ConfigError: the key is in a `.env` that others on this machine can read, or that is not text.
    """
    return next(filter(None, (look(variable) for look in SOURCES.values())), None)


def known_secrets() -> Iterator[Secret]:
    """Every key that this process has or could take: in use, in the environment, or in `.env`."""
    yield from list(_in_use.values())
    places: list[Mapping[str, str | None]] = [os.environ]
    with suppress(ConfigError):  # no key can be taken from a file that cannot be read
        places.append(dotenv())
    for kept in places:
        yield from (Secret(value) for name, value in kept.items() if value and _KEY_VARIABLE.search(name))


def dotenv() -> Mapping[str, str | None]:
    """What `.env` says; nothing where there is none.

    Raises:
        ConfigError: it is not text, or over 1 MB. What it holds is in no part of the error.
    """
    try:
        if not _DOTENV.is_file():
            return {}
        if _DOTENV.stat().st_size <= _DOTENV_MAX_BYTES:
            from dotenv import dotenv_values  # here, as most folders have no such file

            return dotenv_values(_DOTENV, interpolate=False)
        problem = "has over 1 MB, which is no list of variables"
    except (OSError, ValueError) as exc:
        problem = f"cannot be read as UTF-8 text ({type(exc).__name__})"
    raise ConfigError(f"{_DOTENV.absolute()} {problem}; write it anew, or export the variables instead")


def project_dir() -> Path:
    """The nearest folder, from here upward, that has `experiments/` in it; else the current folder.

    So a notebook in `notebooks/` and a command at the top share one store and one folder of runs.
    """
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "experiments").is_dir()), here)


def data_dir() -> Path:
    """Catalog, prompts and provenance that come with the package."""
    return _shipped("data")


def experiments_dir() -> Path:
    """The experiments that come with the package."""
    return _shipped("experiments")


def notebooks_dir() -> Path:
    """The notebooks that come with the package."""
    return _shipped("notebooks")


def _from_environment(variable: str) -> Secret | None:
    return Secret(os.environ[variable]) if os.environ.get(variable) else None


def _from_dotenv(variable: str) -> Secret | None:
    kept = dotenv()
    if not kept.get(variable):
        return None
    if os.name == "posix" and stat.S_IMODE(_DOTENV.stat().st_mode) & stat.S_IRWXO:
        del kept  # so that no traceback with locals shows it
        raise ConfigError(
            f"{_DOTENV.absolute()} holds {variable} and is open to everyone on this machine; "
            "make it yours with: chmod 600 .env"
        )
    return Secret(kept[variable] or "")


SOURCES: Mapping[str, Callable[[str], Secret | None]] = {
    "environment": _from_environment,
    ".env": _from_dotenv,
}
"""Where `secret` looks, in this order."""


def _shipped(name: str) -> Path:
    """A top-level folder of a checkout, or its copy inside an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parents[1] / name
