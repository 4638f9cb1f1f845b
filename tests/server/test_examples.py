"""The examples in Python, TypeScript and curl, and OpenAI's TypeScript client, against the server."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from loopback import serving
from peers.servers import installed
from server.conftest import MODELS, Running, running
from server.upstreams import Upstream
from workbench.server.config import ProviderConfig, ServerConfig

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "server"


async def vectors(request: web.Request) -> web.StreamResponse:
    texts = (await request.json())["input"]
    data = [{"index": number, "embedding": [float(len(text)), 0.5]} for number, text in enumerate(texts)]
    return web.json_response({"data": data, "model": "embed", "usage": {"prompt_tokens": 1}})


@pytest.fixture
async def with_tools(config: ServerConfig) -> AsyncIterator[Running]:
    routes = ("POST", "/v1/chat/completions", Upstream().answer), ("POST", "/v1/embeddings", vectors)
    async with serving(*routes) as url:
        lab = ProviderConfig(base_url=f"{url}/v1")
        changed = {"providers": {"lab": lab}, "models": ("lab/tools", "lab/embed")}
        async with running(config.model_copy(update=changed)) as found:
            yield found


async def said(server: Running, *command: str | Path) -> str:
    """What a program says that is told where the server is and with which key to ask it."""
    key = server.caller["authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"WORKBENCH_URL": f"{server.base_url}/v1", "WORKBENCH_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


def compiled(source: Path, folder: Path) -> Path:
    """`source` as JavaScript, after its types were checked."""
    tsc = installed(Path("typescript/node_modules/typescript/lib/tsc.js"))
    (folder / "node_modules").symlink_to(tsc.parents[2])
    shutil.copy(ROOT / "tests" / "peers" / "typescript" / "tsconfig.json", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(source, folder)
    done = subprocess.run(["node", tsc, "-p", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"{source.stem}.js"


async def test_the_example_in_python_does_what_it_says(server: Running) -> None:
    lines = dict.fromkeys((await said(server, sys.executable, EXAMPLES / "ask.py", MODELS[1])).splitlines())
    assert f"answered by {MODELS[1]}" in lines
    assert {"scored 1.0", "refused 404 model_not_found"} <= set(lines)


async def test_the_example_in_typescript_does_what_it_says(server: Running, tmp_path: Path) -> None:
    script = await asyncio.to_thread(compiled, EXAMPLES / "ask.ts", tmp_path)
    output = await said(server, "node", script, MODELS[1])
    assert f"answered by {MODELS[1]}" in output
    assert "scored 1\nrefused 404 model_not_found\n" in output


async def test_the_example_for_curl_does_what_it_says(server: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    output = await said(server, "bash", EXAMPLES / "ask.sh", MODELS[1])
    assert f"answered by x-workbench-answered-by: {MODELS[1]}" in output
    assert "data: [DONE]" in output
    assert '"model_not_found"' in output.splitlines()[-1]
    assert output.endswith(" 404\n")


async def test_the_official_typescript_client_is_served(with_tools: Running, tmp_path: Path) -> None:
    source = Path(__file__).with_name("official_client.ts")
    script = await asyncio.to_thread(compiled, source, tmp_path)
    found = json.loads(await said(with_tools, "node", script))
    call = {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert found["call"] == call
    assert found["streamed"]["function"]["arguments"] == call["arguments"]
    assert found["last"] == "you said sunny"
    assert found["responded"] == "you said hello"
    assert found["vectors"] == [[1, 0.5], [3, 0.5]]
    assert found["found"] == "lab/tools"
    assert found["errors"] == [
        "NotFoundError model_not_found",
        "BadRequestError unsupported_parameter",
        "AuthenticationError invalid_api_key",
    ]
