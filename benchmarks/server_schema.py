"""Hold the server to its own OpenAPI document: requests made from it, right and wrong, by schemathesis.

    python -P benchmarks/server_schema.py [CASES] [--seed SEED]

Starts a server on simulated models; asks below /v1 with a caller's key, elsewhere with an admin token. Fails
where an answer is a 5xx, has a status or type that is not in the document, or is not as it is described.
"""

import argparse
import asyncio
import json
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from workbench.server.config import LimitsConfig, ServerConfig
from workbench.server.server import Server, uvicorn_server
from workbench.settings import Secret

MODELS = ("simulator/sim-nano", "simulator/sim-small")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_N_OPERATIONS = 23
_QUICK = 1_000
"""Below so many requests, those that cover each limit of each field, about 1,900, are left out."""


async def main(n_cases: int, *, seed: int) -> int:
    """Serve, check both halves of the document, and say how many requests that were; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(
            models=MODELS, port=0, folder=Path(folder), limits=LimitsConfig(body_bytes=100_000)
        )
        app = Server(config)
        tokens: list[Secret | None] = []
        app.on_ready = tokens.append
        server = uvicorn_server(app, config)
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            admin = tokens[0].get_secret_value() if tokens[0] else ""
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            return await checked(url, Path(folder), admin, n_cases=n_cases, seed=seed)
        finally:
            server.should_exit = True
            await serving


async def checked(url: str, folder: Path, admin: str, *, n_cases: int, seed: int) -> int:
    """The worst exit status of both halves."""
    async with httpx.AsyncClient(base_url=url) as http:
        described = (await http.get("/openapi.json")).json()
        headers = {"authorization": f"Bearer {admin}"}
        key = (await http.post("/admin/keys", json={"name": "schema"}, headers=headers)).json()["token"]
    (folder / "openapi.json").write_text(json.dumps(narrowed(described)))
    statuses, n_sent = [], 0
    for token, places in ((key, "^/v1/"), (admin, "^/(admin|metrics|health)")):
        status, said = await asked(url, folder, token, places, n_cases=n_cases, seed=seed)
        statuses.append(status)
        n_sent += sum(int(found) for found in re.findall(r"(\d+) generated", said))
        if status:
            sys.stdout.write(said)
    sys.stdout.write(f"{n_sent} requests, {'a failure' if any(statuses) else 'no failure'}\n")
    return max(statuses)


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the models that there are, so that requests come as far as an answer."""
    for schema in document["components"]["schemas"].values():
        fields = schema.get("properties", {})
        if "model" in fields and {"messages", "input"} & set(fields):
            # Simulated models have no vectors, which their provider says with a failure.
            served = () if "encoding_format" in fields else MODELS
            fields["model"] |= {"enum": [*served, "none/none"]}
    return document


async def asked(
    url: str, folder: Path, token: str, places: str, *, n_cases: int, seed: int
) -> tuple[int, str]:
    """What schemathesis says of the paths that begin so, and its exit status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", url),
        *("-H", f"Authorization: Bearer {token}", "--include-path-regex", places, "--checks", CHECKS),
        *("--max-examples", str(math.ceil(n_cases / _N_OPERATIONS)), "--seed", str(seed)),
        *("--phases", "fuzzing" if n_cases < _QUICK else "coverage,fuzzing"),
        *("--generation-database", "none", "--no-color"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="?", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.cases, seed=arguments.seed)))
