"""Connections: what may be configured, what is sent, and what it costs in memory and time."""

import asyncio
import resource
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from faults import CANARY, FaultServer, answer, response
from workbench.errors import ConfigError, ConnectError, TLSError
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.http import Http
from workbench.settings import Secret
from workbench.types import Decoding, Prompt

pytestmark = pytest.mark.anyio

PROMPT = Prompt("p1", "2 + 2?")


async def ask(provider: ChatCompletions, *, deadline_s: float = 5.0) -> str:
    return (await provider.complete("small", PROMPT, Decoding(), deadline_s=deadline_s)).text


@pytest.mark.parametrize(
    "base_url",
    [
        "file:///etc/passwd",
        "ftp://example.com",
        "example.com/v1",
        "http://",
        "https://example.com:99999/v1",
        "https://example.com:0/v1",
        "https://example.com:port/v1",
        f"https://me:{CANARY}@example.com/v1",
        "https://example.com/v1\r\nX-Evil: 1",
        "https://example.com/\x00",
        "https://example.com/v1?key=1",
        "https://example.com/v1#part",
        "https://exa mple.com",
        "https://[::1/v1",
        "",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(ConfigError, match="the base URL of faulty") as caught:
        Http("faulty", base_url)
    assert CANARY not in str(caught.value)


def test_a_key_does_not_travel_in_clear() -> None:
    with pytest.raises(ConfigError, match="travel in clear"):
        Http("faulty", "http://example.com/v1", key=Secret(CANARY))


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:1", "[::1]:1", "sim.localhost"])
async def test_a_key_may_go_to_loopback(host: str) -> None:
    await Http("faulty", f"http://{host}/v1", key=Secret(CANARY)).aclose()


@pytest.mark.parametrize("key", ["", "a\r\nX-Evil: 1", "a\0", "ключ", "with space", "end\n"])
def test_a_key_that_a_header_cannot_carry_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="the key of faulty"):
        Http("faulty", "https://example.com", key=Secret(key))


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", "заголовок", ""])
def test_a_header_that_cannot_be_sent_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="header"):
        Http("faulty", "https://example.com", headers={"X-Title": value})
    with pytest.raises(ConfigError, match="header"):
        Http("faulty", "https://example.com", headers={value: "X-Title"})


@pytest.mark.parametrize("model", ["", "a\r\nb", "a\0", "модель"])
async def test_a_model_name_that_cannot_be_sent_is_refused(model: str) -> None:
    provider = ChatCompletions("faulty", "http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError, match="model's name"):
        await provider.complete(model, PROMPT, Decoding(), deadline_s=1.0)


async def test_calls_share_a_connection_and_cookies_are_not_sent_back() -> None:
    def with_cookie() -> list[bytes]:
        return [response(answer(), Set_Cookie="session=1; Path=/")]

    async with FaultServer(with_cookie) as server:
        provider = ChatCompletions("faulty", server.url)
        for _ in range(3):
            await ask(provider)
        await provider.aclose()
    assert server.n_connections == 1
    assert all(request.header("cookie") is None for request in server.requests)
    assert server.requests[0].header("accept-encoding") == "gzip"


async def test_a_stream_that_was_read_leaves_its_connection_for_the_next() -> None:
    async with FaultServer("stream-ok") as server:
        provider = ChatCompletions("faulty", server.url)
        for _ in range(3):
            async for _delta in provider.stream("small", PROMPT, Decoding(), deadline_s=5.0):
                pass
        await provider.aclose()
    assert server.n_connections == 1


async def test_a_kept_connection_that_the_server_closed_is_replaced_unseen() -> None:
    async with FaultServer("ok", "close", "ok") as server:
        provider = ChatCompletions("faulty", server.url)
        assert [await ask(provider), await ask(provider)] == ["The answer is 4."] * 2
        await provider.aclose()
    assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_a_fresh_connection_that_breaks_is_not_replaced() -> None:
    async with FaultServer("close") as server:
        provider = ChatCompletions("faulty", server.url)
        with pytest.raises(ConnectError):
            await ask(provider)
        await provider.aclose()
    assert len(server.requests) == 1


async def test_five_hundred_calls_at_once_are_answered() -> None:
    def slowly() -> list[bytes | float]:
        return [0.3, response(answer())]

    async with FaultServer(slowly) as server:
        provider = ChatCompletions("faulty", server.url)
        texts = await asyncio.gather(*(ask(provider, deadline_s=30.0) for _ in range(500)))
        await provider.aclose()
    assert len(texts) == server.n_connections == 500


async def test_an_own_transport_can_be_used() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=answer()))
    provider = ChatCompletions("faulty", "https://api.example.com/v1", transport=transport)
    assert await ask(provider) == "The answer is 4."
    await provider.aclose()


async def test_a_closed_provider_says_so() -> None:
    provider = ChatCompletions("faulty", "http://127.0.0.1:1/v1")
    await provider.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await ask(provider)


async def test_loopback_is_never_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with FaultServer("ok") as server:
        provider = ChatCompletions("faulty", server.url)
        assert await ask(provider) == "The answer is 4."
        await provider.aclose()


async def test_other_hosts_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer("ok") as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        provider = ChatCompletions("faulty", "http://api.example.com/v1")
        assert await ask(provider) == "The answer is 4."
        await provider.aclose()
    assert proxy.requests[0].head.startswith("POST http://api.example.com/v1/chat/completions ")


@pytest.mark.parametrize("fault", ["gzip-bomb", "huge-body"])
async def test_a_body_that_unpacks_without_end_takes_little_memory(fault: str) -> None:
    async with FaultServer(fault) as server:
        provider = ChatCompletions("faulty", server.url)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(Exception, match="over 16777216 bytes"):
            await ask(provider)
        await provider.aclose()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    _make_certificate(key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _make_certificate(key: Path, certificate: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-days", "1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *algorithm, *subject, *files], check=True, capture_output=True)


@pytest.mark.parametrize("is_tls", [True, False], ids=["self-signed", "plain"])
async def test_a_peer_that_cannot_prove_itself_is_a_tls_error(
    is_tls: bool, self_signed: ssl.SSLContext
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed if is_tls else None)
    port = server.sockets[0].getsockname()[1]
    provider = ChatCompletions("faulty", f"https://127.0.0.1:{port}/v1", key=Secret(CANARY))
    async with server:
        with pytest.raises(TLSError) as caught:
            await ask(provider)
        await provider.aclose()
    assert (caught.value.retryable, caught.value.was_sent) == (False, False)
