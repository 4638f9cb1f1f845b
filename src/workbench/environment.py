"""What the `WORKBENCH_*` variables and `.env` say, had as `settings.Settings`. Owns pydantic-settings."""

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

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
        dotenv()
        super().__init__(**values)
