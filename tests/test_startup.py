"""What an import loads: nothing that a first call, key or failure can load as well."""

import subprocess
import sys

import pytest

LATE = {
    "workbench": ("httpx", "numpy", "pandas", "pydantic", "torch", "mlflow"),
    "workbench.client": (
        "aiohttp", "httpx_aiohttp", "pydantic", "pydantic_settings", "stamina", "structlog", "opentelemetry",
        "numpy", "pandas", "keyring", "cryptography", "redis", "dotenv", "yaml",
    ),
    "workbench.cli": ("httpx", "numpy", "pandas", "pydantic"),
    "workbench.serve_session": (
        "pandas", "pyarrow", "sklearn", "torch", "mlflow", "matplotlib", "alembic", "fastapi",
        "sqlalchemy.dialects.postgresql", "workbench.experiment", "workbench.scoring",
        "scipy.stats", "scipy.optimize", "scipy.linalg",
    ),
}  # fmt: skip


def said_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("module", "late"), LATE.items(), ids=LATE.keys())
def test_an_import_leaves_for_later_what_takes_long(module: str, late: tuple[str, ...]) -> None:
    loaded = said_by(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert [name for name in late if name in loaded] == []


def test_importing_the_client_opens_no_socket() -> None:
    code = """
import sys
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import workbench.client
print(len(opened))
"""
    assert said_by(code) == "0\n"
