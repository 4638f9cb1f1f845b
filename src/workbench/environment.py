"""What the `WORKBENCH_*` variables and `.env` say, had as `settings.Settings`. Owns pydantic-settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from workbench.errors import ConfigError
from workbench.settings import dotenv, project_dir


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
    key_file: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        default=None, description="keys in an encrypted file, see docs/keys.md"
    )
    keyring: str | None = Field(
        default=None,
        description="service whose entries in the system's keyring are keys, such as workbench; "
        "unset: the keyring is not asked",
    )
    benchmarks_dir: Path | None = Field(
        default=None, description="a folder of recorded benchmarks, as Parquet"
    )
    cache_dir: Path = Field(
        default=Path.home() / ".cache" / "workbench",
        description="fetched benchmarks, kept answers, kept vectors",
    )

    log: Literal["json"] | None = Field(
        default=None, description="json: the events of calls, a line each, on standard error"
    )
    show_content: bool = Field(
        default=False, description="prompts and answers in events and traces too, with keys masked"
    )
    trace_share: float = Field(
        default=0.0, ge=0.0, le=1.0, description="share of prompts whose calls MLflow gets traces of"
    )

    def __init__(self, **values: Any) -> None:
        """
        Raises:
            ConfigError: a variable has a value that it cannot have, or `.env` is not text; pydantic's own
                error would carry all that is in it.
        """
        dotenv()
        try:
            super().__init__(**values)
        except ValidationError as exc:
            # Names and complaints only: `input_value` may be anything that `.env` holds.
            problems = [f"WORKBENCH_{str(error['loc'][0]).upper()}: {error['msg']}" for error in exc.errors()]
            raise ConfigError("; ".join(problems)) from None


def store_uri(settings: Settings) -> str:
    """The absolute URI of the tracking store: that of the settings, else `mlflow.db` of the project."""
    uri = settings.tracking_uri or f"sqlite:///{project_dir() / 'mlflow.db'}"
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of a SQLite store; None where `uri` is another kind of store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).absolute()
