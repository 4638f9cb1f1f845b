"""The admin API is loaded when an administrator comes, and by nobody else."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from server.conftest import Running

SERVED = """
import asyncio, sys
from pathlib import Path
import httpx
from workbench.server.config import ServerConfig
from workbench.server.in_process import serving

async def main():
    config = ServerConfig(models=("simulator/sim-small",), port=0, folder=Path(sys.argv[1]))
    async with serving(config) as served, httpx.AsyncClient(base_url=served.base_url) as http:
        said = []
        for path in ("/health/live", "/health/none", "/none", "/admin/keys", "/admin/none", "/metrics"):
            said.append((await http.get(path)).status_code)
        said.append((await http.get("/metrics", headers=served.as_admin)).status_code)
        said.append("fastapi" in sys.modules)
        said.append((await http.get("/admin/keys", headers=served.as_admin)).status_code)
        said.append("fastapi" in sys.modules)
        print(*said)

asyncio.run(main())
"""


def test_health_metrics_strangers_and_wrong_paths_do_not_load_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVED, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["200", "404", "404", "401", "401", "401", "200", "False", "200", "True"]


@pytest.mark.anyio
async def test_those_who_come_first_together_are_all_answered(server: Running) -> None:
    paths = ["/admin/keys", "/admin/targets", "/openapi.json"] * 5
    asked = [server.http.get(path, headers=server.admin) for path in paths]
    assert [one.status_code for one in await asyncio.gather(*asked)] == [200] * len(paths)
