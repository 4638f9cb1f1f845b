"""Which version of a registered router an alias names now, asked without MLflow: its import takes seconds.

Asks what MLflow documents of its server (`registered-models/alias`), and one table of its database.
"""

import os
import re
from base64 import b64encode
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from workbench.environment import sqlite_path
from workbench.errors import ConfigError, TrackingError
from workbench.redaction import without_password
from workbench.settings import secret

_ALIAS = re.compile(r"router:(?P<name>[^@/:]+)(?:@(?P<alias>[A-Za-z0-9_-]+))?")
_CHAMPION = "champion"
_PATIENCE_S = 6.0
_QUESTION = sa.text("SELECT version FROM registered_model_aliases WHERE name = :name AND alias = :alias")


def version_at(address: str, uri: str) -> str | None:
    """`router:NAME/VERSION`, which an address stands for now; None: only MLflow can tell.

    Raises:
        ConfigError: the store answers, and has no such alias. TrackingError: it does not answer.
    """
    said = _ALIAS.fullmatch(address)
    if said is None:
        return address
    name, alias = said["name"], said["alias"] or _CHAMPION
    is_server = uri.startswith(("http://", "https://"))
    number = _told(name, alias, uri) if is_server else _read(name, alias, uri)
    return None if number is None else f"router:{name}/{number}"


def _told(name: str, alias: str, uri: str) -> int | None:
    import httpx  # here, as a store in a file needs none

    url = f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias"
    try:
        asked = {"name": name, "alias": alias}
        response = httpx.get(url, params=asked, headers=_credentials(), timeout=_PATIENCE_S)
    except httpx.HTTPError as exc:
        raise _silent(uri, exc) from exc
    with suppress(ValueError, KeyError, TypeError):
        found = response.json()
        if response.is_success:
            return int(found["model_version"]["version"])
        if found["error_code"] in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise _gone(name, alias)
    return None


def _credentials() -> dict[str, str]:
    """Those of the variables that MLflow's own client reads."""
    token, user = secret("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = secret("MLFLOW_TRACKING_PASSWORD")
    if user and password is not None:
        pair = f"{user}:{password.get_secret_value()}".encode()
        return {"authorization": f"Basic {b64encode(pair).decode()}"}
    return {} if token is None else {"authorization": f"Bearer {token.get_secret_value()}"}


def _read(name: str, alias: str, uri: str) -> int | None:
    if (path := sqlite_path(uri)) is not None and not path.exists():  # to connect would make it
        raise TrackingError(f"there is no tracking store {path}")
    try:
        engine = sa.create_engine(uri, poolclass=sa.NullPool, hide_parameters=True)
    except (SQLAlchemyError, ModuleNotFoundError):
        return None
    try:
        with engine.connect() as connection:
            found = connection.execute(_QUESTION, {"name": name, "alias": alias}).scalars().all()
    except sa.exc.ProgrammingError:
        return None  # another version of MLflow has other tables
    except SQLAlchemyError as exc:
        raise _silent(uri, exc) from exc
    if not found:
        raise _gone(name, alias)
    return int(found[0]) if len(found) == 1 else None  # one in each workspace


def _gone(name: str, alias: str) -> ConfigError:
    return ConfigError(f"no version of router {name!r} has the alias {alias!r} now")


def _silent(uri: str, problem: Exception) -> TrackingError:
    shown = without_password(uri)
    return TrackingError(
        f"the tracking store {shown} did not answer for its routers: {type(problem).__name__}"
    )
