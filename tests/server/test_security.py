"""What a stranger, a page in a browser, or a caller who means harm gets of the server."""

import ast
import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import workbench.server
from server.conftest import MODELS, Running, running
from workbench.errors import ConfigError
from workbench.routing.base import Router
from workbench.server.config import CorsConfig, LimitsConfig, ServerConfig, load_config
from workbench.server.targets import Target
from workbench.server.tokens import is_token, new_token
from workbench.types import Decision, Prompt

pytestmark = pytest.mark.anyio

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
EVIL = "https://evil.example"


async def raw(server: Running, sent: bytes, *, within_s: float = 10.0) -> bytes:
    """What comes back for these very bytes, until the server hangs up or has been silent for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    said = b""
    try:
        async with asyncio.timeout(within_s):
            while piece := await asyncio.wait_for(reader.read(65_536), 1.0):
                said += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return said


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def head(*lines: str, target: str = "/health/live", method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", *lines, "", "")).encode()


async def test_tokens_of_every_wrong_kind_get_one_answer(server: Running) -> None:
    right = server.caller["authorization"]
    wrong = [None, "Bearer", right[:-1], right[:20], right + "A", right.swapcase(), "Basic x",
             "Bearer " + "A" * 20_000, "Bearer wb-000000000000-" + "A" * 43]  # fmt: skip
    answers = set()
    for one in wrong:
        response = await server.http.get("/v1/models", headers={} if one is None else {"authorization": one})
        skipped = {"date", "x-request-id"}
        shown = tuple(item for item in sorted(response.headers.items()) if item[0] not in skipped)
        answers.add((response.status_code, response.content, shown))
    assert len(answers) == 1
    assert answers.pop()[0] == 401


async def test_a_token_of_a_million_characters_is_refused_before_it_is_kept(server: Running) -> None:
    said = await raw(server, head("host: localhost", "authorization: Bearer " + "A" * 1_000_000))
    assert status_of(said) == 431


def test_the_time_of_a_refusal_says_nothing_of_the_token() -> None:
    made = new_token()
    right = made.token.get_secret_value()
    tokens = {"near": right[:-1] + ("A" if right[-1] != "A" else "B"), "far": right[:16] + "_" * 43}
    tokens["unknown"] = "wb-000000000000-" + "_" * 43
    digests = {"near": made.digest, "far": made.digest, "unknown": None}
    best = dict.fromkeys(tokens, float("inf"))
    for _ in range(60):
        for name, token in tokens.items():
            started_s = time.process_time()
            for _ in range(300):
                is_token(token, digests[name])
            best[name] = min(best[name], time.process_time() - started_s)
    assert max(best.values()) / min(best.values()) < 1.1


def test_secrets_are_compared_by_compare_digest_alone() -> None:
    folder = Path(workbench.server.__file__).parent
    compared = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In):
                continue
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            names |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            if names & {"token", "digest", "secret", "given", "get_secret_value"}:
                compared.append((path.name, ast.unparse(node)))
    assert compared == []
    tokens = ast.parse((folder / "tokens.py").read_text())
    used = {part.attr for part in ast.walk(tokens) if isinstance(part, ast.Attribute)}
    assert "compare_digest" in used


async def test_after_many_wrong_tokens_a_peer_waits_and_a_right_one_goes_on(server: Running) -> None:
    wrong = {"authorization": "Bearer wb-000000000000-" + "A" * 43}
    seen = [(await server.http.get("/v1/models", headers=wrong)) for _ in range(300)]
    assert [one.status_code for one in seen[:20]] == [401] * 20
    assert {one.status_code for one in seen[20:]} == {429}
    assert 1 <= int(seen[-1].headers["retry-after"]) <= 60
    forwarded = wrong | {"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
    for path in ("/v1/models", "/admin/keys", "/metrics"):
        refused = await server.http.get(path, headers=forwarded)
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    assert (await server.http.get("/v1/models", headers=server.caller)).status_code == 200
    assert (await server.http.get("/admin/keys", headers=server.admin)).status_code == 200


async def test_nobody_without_a_token_gets_a_body_read(server: Running) -> None:
    for path in ("/admin/keys", "/admin/experiments", CHAT):
        lines = ("host: localhost", "transfer-encoding: chunked", "content-type: application/json")
        said = await raw(server, head(*lines, target=path, method="POST") + b"5\r\n{}}}}\r\n")
        assert status_of(said) == 401, path


@pytest.mark.parametrize("origin", [EVIL, "null", "https://evil-good.example", "https://good.example.evil"])
async def test_pages_of_other_origins_may_not_call(config: ServerConfig, origin: str) -> None:
    cors = CorsConfig(origins=("https://good.example",), credentials=True)
    async with running(config.model_copy(update={"cors": cors})) as server:
        asked = {"origin": origin, "access-control-request-method": "POST"}
        preflight = await server.http.options(CHAT, headers=asked)
        simple = await server.http.get("/v1/models", headers=server.caller | {"origin": origin})
        good = await server.http.options(CHAT, headers=asked | {"origin": "https://good.example"})
    assert preflight.status_code == 403
    for response in (preflight, simple):
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    assert good.headers["vary"] == "origin"


async def test_by_default_no_page_may_call(server: Running) -> None:
    for origin in (EVIL, "null", "http://localhost:3000"):
        response = await server.http.get("/v1/models", headers=server.caller | {"origin": origin})
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_credentials_for_every_origin_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(
        "models: [simulator/sim-small]\ncors: {origins: ['*'], credentials: true}"
    )
    with pytest.raises(ConfigError, match="list the origins"):
        load_config(tmp_path / "server.yaml")


@pytest.mark.parametrize(
    "sent",
    [
        head("host: evil.example"),
        head("host: localhost.evil.example"),
        head("host: localhost", "host: evil.example"),
        head("host: evil.example", "host: localhost"),
        head(),
        head("host: "),
        head("host: localhost", target="http://evil.example/health/live"),
        head("host: localhost", target="http://localhost/health/live"),
        head("host: localhost", "content-length: 2", "transfer-encoding: chunked"),
        head("host: localhost", "x: a\0b"),
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n x: folded\r\n\r\n",
        b"BANANA\r\n\r\n",
    ],
    ids=["evil", "suffix", "duplicate", "duplicate-first", "none", "empty", "absolute", "absolute-own",
         "two-lengths", "nul", "folded", "no-http"],
)  # fmt: skip
async def test_a_head_that_is_not_for_us_is_refused(server: Running, sent: bytes) -> None:
    said = await raw(server, sent)
    assert status_of(said) == 400
    assert b"x-content-type-options: nosniff" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_our_own_names_are_heard_with_and_without_a_port(server: Running) -> None:
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", f"127.0.0.1:{server.port}", "[::1]:9"):
        assert status_of(await raw(server, head(f"host: {host}", "connection: close"))) == 200


async def test_a_body_of_100_mb_is_refused_by_its_length_and_by_its_pieces(server: Running) -> None:
    token = f"authorization: {server.caller['authorization']}"
    admin = f"authorization: {server.admin['authorization']}"
    for path, one in (
        (CHAT, token),
        ("/v1/feedback", token),
        ("/v1/embeddings", token),
        ("/admin/keys", admin),
    ):
        lengthy = await raw(
            server, head("host: localhost", one, "content-length: 100000000", target=path, method="POST")
        )
        chunked = head("host: localhost", one, "transfer-encoding: chunked", target=path, method="POST")
        pieces = await raw(server, chunked + (b"100000\r\n" + b" " * 2**20 + b"\r\n") * 12)
        assert (status_of(lengthy), status_of(pieces)) == (413, 413), path


async def test_a_compressed_body_is_not_unpacked(server: Running) -> None:
    packed = gzip.compress(b" " * 2**20)
    headers = server.caller | {"content-encoding": "gzip"}
    assert (await server.http.post(CHAT, content=packed, headers=headers)).status_code == 415


@pytest.mark.parametrize(
    "deep", [b"[" * 200_000, b'{"a":' * 50_000, b'{"model":"m","messages":' + b"[" * 90_000]
)
async def test_deep_json_is_a_bad_request_everywhere(server: Running, deep: bytes) -> None:
    for path, headers in (
        (CHAT, server.caller),
        (MESSAGES, server.caller),
        ("/v1/responses", server.caller),
        ("/v1/feedback", server.caller),
        ("/admin/keys", server.admin),
        ("/admin/experiments", server.admin),
    ):
        sent = headers | {"content-type": "application/json"}
        assert (await server.http.post(path, content=deep, headers=sent)).status_code == 400, path


async def test_many_and_large_headers_are_refused(server: Running) -> None:
    many = [f"x-{n}: a" for n in range(5_000)]
    assert status_of(await raw(server, head("host: localhost", *many))) == 431
    assert status_of(await raw(server, b"GET /" + b"a" * 300_000)) == 431
    assert status_of(await raw(server, b"GET / HTTP/1.1\r\nx: " + b"a" * 300_000)) == 431


@asynccontextmanager
async def impatient(config: ServerConfig) -> AsyncIterator[Running]:
    async with running(config.model_copy(update={"limits": LimitsConfig(upload_s=0.5)})) as server:
        yield server


async def test_who_sends_slowly_is_hung_up_on(config: ServerConfig) -> None:
    async with impatient(config) as server:
        token = f"authorization: {server.caller['authorization']}"
        post = head("host: localhost", token, "content-length: 900", target=CHAT, method="POST")
        said = [await dripped(server, begun) for begun in (b"GET / HTTP/1.1\r\nhost: loc", post)]
        said.append(await dripped(server, b"", piece=b""))
    assert said[0] == said[2] == b""
    assert status_of(said[1]) == 408


async def dripped(server: Running, begun: bytes, *, piece: bytes = b"a") -> bytes:
    """What comes back where a byte is sent every tenth of a second; fails unless the server hangs up soon."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(begun)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.1)
            writer.write(piece)

    dripping = asyncio.create_task(drip())
    try:
        return await asyncio.wait_for(reader.read(), 5.0)
    except ConnectionError:
        return b""
    finally:
        dripping.cancel()
        writer.close()


class Broken(Router):
    """A router with a bug in it, whose message has what no caller may see."""

    name = "broken"

    def route(self, prompt: Prompt, candidates: tuple[str, ...]) -> Decision:
        raise RuntimeError(f"canary at /etc/workbench with {prompt.text}")


@pytest.mark.parametrize(
    ("path", "kind"), [(CHAT, "server_error"), (MESSAGES, "api_error"), ("/v1/responses", "server_error")]
)
async def test_a_bug_is_told_in_the_protocols_shape_and_its_stack_only_to_the_log(
    config: ServerConfig, path: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    changed = {"routers": {"broken": "router:broken@main"}}
    target = Target(Broken(), MODELS)
    async with running(config.model_copy(update=changed), load=lambda _, former: target) as server:
        body = {"model": "router:broken", "max_tokens": 9, "input": "a secret prompt",
                "messages": [{"role": "user", "content": "a secret prompt"}]}  # fmt: skip
        with caplog.at_level(logging.ERROR):
            response = await server.http.post(path, json=body, headers=server.caller)
            async with asyncio.timeout(30):  # the error flies on after it was answered
                while "Traceback" not in caplog.text:
                    await asyncio.sleep(0.01)
    assert response.status_code == 500, response.text
    assert response.json()["error"]["type"] == kind
    assert not [word for word in ("canary", "/etc", "secret", "Traceback", ".py") if word in response.text]
    assert "canary" in caplog.text


async def test_an_error_of_the_admin_api_does_not_say_back_what_was_sent(server: Running) -> None:
    sent = {"name": "canary" * 50, "budget_usd": -1, "canary": "canary"}
    response = await server.http.post("/admin/keys", json=sent, headers=server.admin)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert "canarycanary" not in response.text


async def test_what_is_not_there_is_not_found_in_one_shape(server: Running) -> None:
    for path in ("/", "/v1", "/v1/files", "/docs", "/redoc", "/adminx", "/v1/chat/completions/", "/debug"):
        response = await server.http.get(path, headers=server.caller)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found"), path
    response = await server.http.delete("/admin/usage", headers=server.admin)
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_names_with_line_breaks_reach_no_header_and_no_log(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    nasty = "x\r\nset-cookie: a=1\0"
    with caplog.at_level(logging.DEBUG):
        asked = await server.ask(user=nasty, workbench={"conversation": nasty})
        unknown = await server.ask(model=nasty)
        fallback = await server.ask(workbench={"fallbacks": [nasty]})
        named = await server.http.get("/v1/models/x%0d%0aset-cookie:%20a=1", headers=server.caller)
    assert [one.status_code for one in (asked, unknown, fallback, named)] == [200, 404, 404, 404]
    for response in (asked, unknown, fallback, named):
        assert "set-cookie" not in response.headers
        assert "\r" not in response.json().get("error", {}).get("message", "")
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert "set-cookie" not in "".join(logged)


async def test_callers_name_no_address_of_a_provider(server: Running) -> None:
    for fields in ({"base_url": EVIL}, {"api_base": EVIL}, {"workbench": {"base_url": EVIL}}):
        response = await server.ask(**fields)
        assert response.headers["x-workbench-answered-by"] == MODELS[1]
    for model in (EVIL, "openai@" + EVIL, "vllm/" + EVIL, "router:../../x", "/etc/passwd.ckpt"):
        assert (await server.ask(model=model)).status_code == 404


@pytest.mark.parametrize("name", ["a\r\nset-cookie: b", "a\0", "\x1b[31m", "", "a" * 101], ids=repr)
async def test_names_that_administrators_give_have_no_control_characters(server: Running, name: str) -> None:
    key = await server.http.post("/admin/keys", json={"name": name}, headers=server.admin)
    arms = [
        {"name": name, "target": MODELS[0], "share": 0.5},
        {"name": "b", "target": MODELS[1], "share": 0.5},
    ]
    spec = {"name": "e", "target": MODELS[0], "arms": arms}
    begun = await server.http.post("/admin/experiments", json=spec, headers=server.admin)
    assert (key.status_code, begun.status_code) == (400, 400)
