"""Where things are and which keys there are: the environment, a `.env` file, and secrets that stay secret."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from weakref import WeakValueDictionary

from dotenv import dotenv_values
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from workbench.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent
_DOTENV = Path(".env")
_DOTENV_MAX_BYTES = 1_000_000
_KEY_VARIABLE = re.compile(r"(?i)(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_\d+)?$")


class Secret(SecretStr):
    """A key that can be used but not seen: no repr, traceback, pickle, JSON or `vars` shows it.

    >>> key = Secret("canary")
    >>> key, key.get_secret_value()
    (Secret('**********'), 'canary')
    """

    def __init__(self, secret_value: str) -> None:
        super().__init__("")
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

    def _display(self) -> str:
        return "**********" if self._reveal() else ""

    def __repr__(self) -> str:
        return f"Secret({self._display()!r})"

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass the name of its environment variable instead")


_in_use: WeakValueDictionary[int, Secret] = WeakValueDictionary()
"""Every secret of this process, also one passed as an argument: what is written is held against them."""


class Settings(BaseSettings):
    """Read from `WORKBENCH_*` variables and a `.env` file in the current folder."""

    model_config = SettingsConfigDict(env_prefix="WORKBENCH_", env_file=".env", extra="ignore", frozen=True)

    runs_dir: Path = Field(
        default_factory=lambda: project_dir() / "runs",
        description="where experiments keep their journals and results",
    )
    tracking_uri: str | None = Field(
        default=None, description="MLflow server or store; default: SQLite in the project folder"
    )
    models_file: Path | None = Field(
        default=None, description="your own models and prices, with the columns of data/models.csv"
    )
    simulator_url: str | None = Field(
        default=None, description="base URL of a running simulator, such as http://127.0.0.1:8808/v1"
    )
    key_file: Path | None = Field(default=None, description="keys in an encrypted file, see client.key_file")
    benchmarks_dir: Path | None = Field(
        default=None, description="a folder of recorded benchmarks, as Parquet"
    )
    cache_dir: Path = Field(default=Path.home() / ".cache" / "workbench", description="fetched benchmarks")

    def __init__(self, **values: Any) -> None:
        """
        Raises:
            ConfigError: `.env` is not text; pydantic's own error would carry all that is in it.
        """
        _dotenv()
        super().__init__(**values)


def secret(variable: str) -> Secret | None:
    """The key that the environment, or else `.env`, has in `variable`; None: it is unset or empty.

    A `.env` without keys may be read by anyone; one that a key is taken from may not.

    Raises:
        ConfigError: the key is in a `.env` that others on this machine can read, or that is not text.
    """
    return _from_environment(variable) or _from_dotenv(variable)


def known_secrets() -> Iterator[Secret]:
    """Every key that this process has or could take: in use, in the environment, or in `.env`."""
    yield from list(_in_use.values())
    places: list[Mapping[str, str | None]] = [os.environ]
    with suppress(ConfigError):  # no key can be taken from a file that cannot be read
        places.append(_dotenv())
    for kept in places:
        yield from (Secret(value) for name, value in kept.items() if value and _KEY_VARIABLE.search(name))


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
    kept = _dotenv()
    if not kept.get(variable):
        return None
    if os.name == "posix" and stat.S_IMODE(_DOTENV.stat().st_mode) & stat.S_IRWXO:
        del kept  # so that no traceback with locals shows it
        raise ConfigError(
            f"{_DOTENV.absolute()} holds {variable} and is open to everyone on this machine; "
            "make it yours with: chmod 600 .env"
        )
    return Secret(kept[variable] or "")


def _dotenv() -> Mapping[str, str | None]:
    """What `.env` says; nothing where there is none.

    Raises:
        ConfigError: it is not text, or over 1 MB. What it holds is in no part of the error.
    """
    try:
        if not _DOTENV.is_file():
            return {}
        if _DOTENV.stat().st_size <= _DOTENV_MAX_BYTES:
            return dotenv_values(_DOTENV, interpolate=False)
        problem = "has over 1 MB, which is no list of variables"
    except (OSError, ValueError) as exc:
        problem = f"cannot be read as UTF-8 text ({type(exc).__name__})"
    raise ConfigError(f"{_DOTENV.absolute()} {problem}; write it anew, or export the variables instead")


def _shipped(name: str) -> Path:
    """A top-level folder of a checkout, or its copy inside an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parents[1] / name
