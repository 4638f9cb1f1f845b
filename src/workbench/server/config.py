"""How a server is set up: one YAML file, every key checked before the port is opened."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.errors import ConfigError
from workbench.plain_yaml import read_yaml
from workbench.redaction import refuse_secrets

_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorsConfig(_Strict):
    """Which web pages may call from a browser; by default none."""

    origins: tuple[str, ...] = ()
    credentials: bool = False

    @model_validator(mode="after")
    def _no_credentials_for_everyone(self) -> Self:
        if self.credentials and "*" in self.origins:
            raise ValueError("credentials cannot be allowed to every origin (*); list the origins")
        for origin in self.origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise ValueError(f"{origin!r} is no origin; write https://host or http://host:port")
        return self


class LimitsConfig(_Strict):
    """What a request may be and how long it may take."""

    body_bytes: Annotated[int, Field(ge=1_000)] = 10_000_000
    header_bytes: Annotated[int, Field(ge=1_000)] = 32_768
    upload_s: Annotated[float, Field(gt=0)] = 20.0
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    concurrency: Annotated[int, Field(ge=1)] = 256
    drain_s: Annotated[float, Field(ge=0)] = 30.0


class ProviderConfig(_Strict):
    """A provider at another address than its own, or one that the workbench has no row for.

    `key_var` is the variable with its key, and the beginning of those with further ones (`NAME_2`); by
    default that of its row.
    """

    base_url: str
    key_var: str | None = None


class ServerConfig(_Strict):
    """Everything that a server needs to know.

    `models` are those that callers may name, and that routers without models of their own choose from.
    `auto` is the router that `model: auto` asks; `routers` are those that callers may name beside it, as
    `router:NAME@ALIAS`; a `.ckpt` file has the name that it is given here. `prompts_are_kept`: the text of
    prompts and answers is kept with the outcomes. `shared`: what counts for all workers together is in Redis,
    which several workers need.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    hosts: tuple[str, ...] = Field(default=(), description="names that callers may use for this server")
    models: tuple[str, ...] = ()
    auto: str | None = None
    routers: dict[str, str] = Field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)
    models_file: Path | None = Field(
        default=None, description="models and prices beside those of the package"
    )
    database: str | None = Field(
        default=None, repr=False, description="SQLAlchemy URL; default: SQLite in `folder`"
    )
    folder: Path = Path("runs/server")
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    prompts_are_kept: bool = False
    retention_days: Annotated[float, Field(gt=0)] | None = None
    reload_s: Annotated[float, Field(gt=0)] = 60.0
    judge_s: Annotated[float, Field(gt=0)] = 5.0
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    shared: Literal["off", "redis"] = Field(
        default="off", description="where limits, budgets and breakers of all workers are"
    )
    cache: Literal["off", "memory", "disk", "redis"] = "off"
    log: Literal["off", "json"] = "off"
    tracing: bool = Field(default=False, description="an OpenTelemetry span of each request")
    cors: CorsConfig = CorsConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _workers_share(self) -> Self:
        if self.workers > 1 and self.shared == "off":
            raise ValueError("several workers need `shared: redis`, so that limits hold for all together")
        return self

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names that a request may be addressed to, without a port, in lower case."""
        own = () if _is_any_address(self.host) else (self.host,)
        return frozenset(name.lower() for name in (*_LOCAL, *own, *self.hosts))


def load_config(path: Path) -> ServerConfig:
    """The server in a YAML file; its paths start at the folder of the file.

    Raises:
        StorageError: there is no such file.
        ConfigError: a key is unknown or wrong, or has a secret; the message names it.
    """
    raw = read_yaml(path, purpose="server's settings")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a server's file is a mapping of keys, such as models and auto")
    refuse_secrets(raw, what=f"{path}: key")
    refuse_passwords(raw, where=str(path))
    return _checked(raw, where=str(path), folder=path.resolve().parent)


def refuse_passwords(raw: dict[Any, Any], *, where: str) -> None:
    """Stop where an address has a password, which would be there for all who can read the file.

    Raises:
        ConfigError: names the key.
    """
    addresses = {"database": raw.get("database")}
    if isinstance(raw.get("providers"), dict):
        addresses |= {f"providers.{name}": str(written) for name, written in raw["providers"].items()}
    for name, address in addresses.items():
        if _PASSWORD.search(str(address)):
            reason = "an address has a password; leave it out, and set PGPASSWORD or PGPASSFILE instead"
            raise ConfigError(f"{where}: {name}: {reason}")


def _checked(raw: dict[Any, Any], *, where: str, folder: Path) -> ServerConfig:
    try:
        config = ServerConfig.model_validate(raw)
    except ValidationError as exc:
        problems = (
            f"{where}: {'.'.join(map(str, error['loc']))}: {error['msg'].removeprefix('Value error, ')}"
            for error in exc.errors()
        )
        raise ConfigError("\n".join(problems)) from None
    models_file = None if config.models_file is None else folder / config.models_file
    return config.model_copy(update={"folder": folder / config.folder, "models_file": models_file})


def _is_any_address(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
