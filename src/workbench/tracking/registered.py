"""Routers by name: registered versions of kept models, their aliases, and loading one by a line.

`champion` is the version that serves, `challenger` the one that may replace it. What is loaded is our own
checkpoint and JSON, compared with the SHA-256 that was noted when it was registered; nothing is unpickled.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from workbench.environment import store_uri
from workbench.errors import CheckpointError, ConfigError, RoutingError, StorageError
from workbench.redaction import refuse_secrets
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.settings import Settings
from workbench.stats.promotion import Promotion
from workbench.storage import read_bytes, safe_name
from workbench.tracking.router_model import LoggedRouter, content_of
from workbench.tracking.store import connected

CHAMPION = "champion"
CHALLENGER = "challenger"

_ADDRESS = re.compile(r"(?:router:)?(?P<name>[^@/:]+)(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>\d+))?")
_MODEL_ID = "workbench.model_id"
_ROUTER = "workbench.router"
_SHA256 = "workbench.checkpoint_sha256"
_PROMOTION = "workbench.promotion"


@dataclass(frozen=True, slots=True)
class RouterVersion:
    """A registered version. `router` is the name of its kind, `model_id` that of the MLflow model."""

    name: str
    version: int
    aliases: tuple[str, ...]
    router: str
    model_id: str
    run_id: str
    promotion: str = ""

    @property
    def address(self) -> str:
        """What `load_router` takes.

        >>> RouterVersion("fleet", 3, (), "knn", "m-1", "r").address
        'router:fleet/3'
        """
        return f"router:{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class LoadedRouter:
    """A registered router, ready to decide: `loaded.router.route(prompt, loaded.candidates)`."""

    router: Router
    candidates: tuple[str, ...]
    version: RouterVersion


def load_router(address: str, *, uri: str | None = None) -> LoadedRouter:
    """The router at `router:NAME@ALIAS` or `router:NAME/VERSION`; of a name alone, the champion.

    `uri` is the tracking store, by default that of the settings.

    Raises:
        ConfigError: there is no such router, alias or version; says which there are.
        CheckpointError: it is damaged, changed, or not a router of ours, which could run anything.
        TrackingError: the store is not there, refuses, hangs, or fails.
    """
    with _registry(uri or store_uri(Settings())) as client:
        found = _found(client, address)
        version = _read(found)
        with tempfile.TemporaryDirectory(prefix="router-") as folder:
            return _loaded(client, found, version, Path(folder), uri or store_uri(Settings()))


def register(logged: LoggedRouter, name: str, *, uri: str) -> RouterVersion:
    """Make a kept router the next version of `name`: its champion where it has none, else its challenger.

    A model that is a version already is not registered again.

    Raises:
        ConfigError: `name` cannot be a router's, or looks like a secret.
        TrackingError: the store did not take it.
    """
    refuse_secrets({"name": safe_name(name, what="router")}, what="registered")
    with _registry(uri) as client:
        with suppress(MlflowException):  # it is there already, perhaps since this moment
            client.create_registered_model(name, {"workbench.kind": "router"}, _how_to_load(name))
        for known in _versions(client, name):
            if known.model_id == logged.model_id:
                return known
        tags = _tags(client, logged)
        made = client.create_model_version(
            name,
            _source(client, logged, uri),
            run_id=logged.run_id,
            tags=tags,
            description=tags[_ROUTER],
            model_id=logged.model_id,  # a server takes no `models:/` source without it
        )
        alias = CHALLENGER if CHAMPION in _aliases(client, name) else CHAMPION
        client.set_registered_model_alias(name, alias, str(made.version))
        return _read(client.get_model_version(name, str(made.version)))


def versions(name: str | None = None, *, uri: str) -> list[RouterVersion]:
    """Every registered router, or the versions of one, the newest first.

    Raises:
        ConfigError: there is no router of this name.
    """
    with _registry(uri) as client:
        if name is None:
            return [version for known in _names(client) for version in _versions(client, known)]
        found = _versions(client, name)
        if not found:
            raise _unknown(client, name)
        return found


def set_alias(address: str, alias: str, *, uri: str) -> RouterVersion:
    """Let `alias` name this version; it names no other from then on.

    Raises:
        ConfigError: there is no such version, or the alias cannot be one.
    """
    with _registry(uri) as client:
        found = _found(client, address)
        try:
            client.set_registered_model_alias(found.name, alias, str(found.version))
        except MlflowException as exc:
            if exc.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ConfigError(f"{alias!r} cannot be an alias: {exc.message}") from exc
        return _read(client.get_model_version(found.name, str(found.version)))


def promote(name: str, verdict: Promotion | None = None, *, uri: str) -> RouterVersion:
    """Make the challenger the champion, by the verdict of `stats.promotion`, which is kept with it.

    None: it is promoted untested, and that is kept too.

    Raises:
        RoutingError: the verdict is not to promote. ConfigError: there is no challenger.
    """
    said = "untested" if verdict is None else told(verdict)
    if verdict is not None and verdict.verdict != "promote":
        raise RoutingError(f"the challenger of {name!r} was not promoted: {said}")
    with _registry(uri) as client:
        found = _found(client, f"{name}@{CHALLENGER}")
        number = str(found.version)
        client.set_model_version_tag(name, number, _PROMOTION, said)
        client.update_model_version(name, number, f"{found.tags.get(_ROUTER, '')}; {said}")
        client.set_registered_model_alias(name, CHAMPION, number)
        client.delete_registered_model_alias(name, CHALLENGER)
        return _read(client.get_model_version(name, number))


def told(verdict: Promotion) -> str:
    """A verdict in a line: the gain with its interval, from how many prompts, and what was wanted."""
    gain = verdict.gain
    interval = f"{100 * gain.value:+.2f} points [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    return f"{verdict.verdict}: {interval} on {verdict.n:,} prompts, {100 * verdict.min_gain:+g} wanted"


@contextmanager
def _registry(uri: str) -> Iterator[MlflowClient]:
    with connected(uri, action="answer for its routers") as client:
        yield client


def _found(client: MlflowClient, address: str) -> ModelVersion:
    said = _ADDRESS.fullmatch(address)
    if said is None:
        raise ConfigError(
            f"{address!r} is no address of a router; write router:NAME@ALIAS or router:NAME/VERSION"
        )
    name, number = said["name"], said["version"]
    alias = said["alias"] or CHAMPION
    try:
        if number is not None:
            return client.get_model_version(name, number)
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as exc:
        if exc.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = _versions(client, name)
        if not known:
            raise _unknown(client, name) from exc
        listed = ", ".join(" ".join([str(v.version), *(f"@{a}" for a in v.aliases)]) for v in known)
        wanted = f"version {number}" if number is not None else f"alias {alias!r}"
        raise ConfigError(f"router {name!r} has no {wanted}; its versions are: {listed}") from exc


def _unknown(client: MlflowClient, name: str) -> ConfigError:
    known = ", ".join(_names(client)) or "none yet; workbench train registers one"
    return ConfigError(f"there is no router {name!r}; those registered are: {known}")


def _names(client: MlflowClient) -> list[str]:
    return [str(model.name) for model in client.search_registered_models(max_results=1000)]


def _versions(client: MlflowClient, name: str) -> list[RouterVersion]:
    quoted = name.replace("'", "")
    found = client.search_model_versions(f"name = '{quoted}'")
    aliases = _aliases(client, name) if found else {}
    read = [_read(version, [a for a, n in aliases.items() if n == int(version.version)]) for version in found]
    return sorted(read, key=lambda version: -version.version)


def _aliases(client: MlflowClient, name: str) -> dict[str, int]:
    return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}


def _read(found: ModelVersion, aliases: list[str] | None = None) -> RouterVersion:
    return RouterVersion(
        name=str(found.name),
        version=int(found.version),
        aliases=tuple(sorted(found.aliases if aliases is None else aliases)),
        router=found.tags.get(_ROUTER, ""),
        model_id=found.tags.get(_MODEL_ID, ""),
        run_id=str(found.run_id or ""),
        promotion=found.tags.get(_PROMOTION, ""),
    )


def _how_to_load(name: str) -> str:
    return f'Says which model a prompt should go to: `workbench.load_router("router:{name}@{CHAMPION}")`.'


def _source(client: MlflowClient, logged: LoggedRouter, uri: str) -> str:
    """A server finds a model by its id; MLflow looks for that of a database in the wrong store."""
    if uri.startswith(("http://", "https://")):
        return logged.model_uri
    return str(client.get_logged_model(logged.model_id).artifact_location)


def _tags(client: MlflowClient, logged: LoggedRouter) -> dict[str, str]:
    params = client.get_logged_model(logged.model_id).params
    return {
        _MODEL_ID: logged.model_id,
        _ROUTER: params.get("router", ""),
        _SHA256: params.get("checkpoint_sha256", ""),
    }


def _loaded(
    client: MlflowClient, found: ModelVersion, version: RouterVersion, folder: Path, uri: str
) -> LoadedRouter:
    if not version.model_id:
        raise CheckpointError(
            f"{version.address} was not registered by the workbench, and loading it could run anything; "
            "register a router with workbench train"
        )
    location = str(client.get_logged_model(version.model_id).artifact_location)
    saved = mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=uri)
    path, candidates = content_of(Path(saved))
    try:
        digest = hashlib.sha256(read_bytes(path, purpose="saved router")).hexdigest()
        if digest != found.tags.get(_SHA256):
            raise CheckpointError(f"its checkpoint has the SHA-256 {digest}, not the one that was registered")
        listed = json.loads(read_bytes(candidates, purpose="candidates of a router"))
        return LoadedRouter(checkpoint.load(path), tuple(str(name) for name in listed), version)
    except (CheckpointError, StorageError, ValueError, TypeError) as exc:
        raise CheckpointError(f"{version.address} was not loaded: {exc}") from exc
