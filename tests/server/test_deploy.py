"""The files of `deploy/`, as far as they can be checked without a Docker engine."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from server.conftest import MODELS, Running
from workbench.catalog import default_catalog
from workbench.server.config import load_config
from workbench.server.foundation import REDIS_VARIABLE, redis_of

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
_METRIC = re.compile(r"workbench_[a-z_]+")
_VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)")
_SET = re.compile(r"^([A-Z][A-Z0-9_]*)=", re.MULTILINE)


def mounted(service: dict[str, Any]) -> list[Path]:
    """The files and folders of `deploy/` that a service is given."""
    sources = [volume.split(":")[0] for volume in service.get("volumes", ())]
    return [DEPLOY / source for source in sources if source.startswith(".")]


def installed_extras() -> list[str]:
    """The extras of the package that the image has."""
    found = re.search(r"\.\[([a-z,]+)\]", (DEPLOY / "Dockerfile").read_text())
    return found[1].split(",") if found else []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_tagged_image_or_is_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        image, _, tag = service["image"].partition(":")
        assert (bool(image), tag not in ("", "latest")) == (True, True)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_listens_on_loopback_alone_and_what_it_is_given_exists(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))
    assert all(path.exists() for path in mounted(SERVICES[name]))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well(name: str) -> None:
    is_said = "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text() if name == "workbench" else False
    assert is_said or SERVICES[name]["healthcheck"]["test"]


def test_secrets_are_files_that_git_does_not_have_and_no_value_is_written_here() -> None:
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    for name in (".gitignore", ".dockerignore"):
        ignored = (DEPLOY.parent / name).read_text()
        assert ("deploy/secrets" in ignored, ".env" in ignored) == (True, True)
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            is_secret = any(word in variable for word in ("PASSWORD", "KEY", "TOKEN", "SECRET"))
            assert not is_secret or str(value).startswith("${")


def test_every_secret_and_variable_is_described() -> None:
    described = (DEPLOY.parent / "docs/server.md").read_text()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].removeprefix("./") in described
    wanted = set(_VARIABLE.findall((DEPLOY / "compose.yaml").read_text()))
    assert {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"} == wanted
    assert wanted <= set(_SET.findall((DEPLOY / "example.env").read_text()))


def test_the_servers_file_is_one_and_names_models_that_there_are() -> None:
    config = load_config(DEPLOY / "server.yaml")
    for model_id in (*config.models, *config.fallbacks):
        default_catalog().callable_model(model_id)
    asked = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    hosts = [target.partition(":")[0] for one in asked for target in one["targets"]]
    assert set(hosts) <= config.allowed_hosts


def test_what_the_servers_file_uses_is_started_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config, environment = load_config(DEPLOY / "server.yaml"), SERVICES["workbench"]["environment"]
    assert (config.shared, config.log, config.auto) == ("redis", "json", "router:fleet@champion")
    assert config.fallbacks  # there is no champion at the first start
    addresses = [config.database, environment["WORKBENCH_TRACKING_URI"], environment[REDIS_VARIABLE]]
    assert (
        {urlsplit(str(one)).hostname for one in addresses} == {"postgres", "mlflow", "redis"} <= set(SERVICES)
    )
    monkeypatch.setenv(REDIS_VARIABLE, environment[REDIS_VARIABLE])
    assert redis_of(config) is not None


@pytest.mark.anyio
async def test_every_metric_of_the_dashboard_is_exposed_after_some_traffic(server: Running) -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/workbench.json").read_text())
    wanted = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in _METRIC.findall(target["expr"])
    }
    await server.ask()
    await server.ask(stream=True)
    await server.ask(model=MODELS[0], max_tokens=1)
    exposed = (await server.http.get("/metrics", headers=server.admin)).text
    described = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE ")}
    families = {name.removesuffix("_bucket") for name in wanted}
    assert families
    assert families <= described
