"""Four protocols against the proxy of litellm, by others, which asks our simulator in a fifth's stead.

So what we send must be understood by one who did not write it, and the answer of the simulator must come
back the same after it was translated twice.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from dialects import DIALECTS, Dialect
from peers.servers import DECODING, HERE, KEY, PROMPTS, asked, free_port, installed, running
from workbench.errors import ModelNotFoundError, ProviderError, RateLimitError, ServerError
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.fleet import SimulatedModel
from workbench.providers.gemini import GeminiWire
from workbench.providers.simulator import Simulator
from workbench.providers.trouble import Trouble
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

ROOTS = {"chat_completions": "/v1", "responses": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
SPOKEN = [one for one in DIALECTS if one.name in ROOTS]
STEADY = SimulatedModel("sim-steady", {}, 50.0, 20, 0.0, transient_rate=0.0, persistent_rate=0.0)
UPSTREAMS = {"STEADY": Trouble(), "LIMITED": Trouble(status=429), "BROKEN": Trouble(status=503)}


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, str]]:
    """Simulators in a thread of their own, so that they outlive the loop of any one test."""
    with start_blocking_portal() as portal, ExitStack() as stack:
        urls = {}
        for name, trouble in UPSTREAMS.items():
            simulator = Simulator(fleet=[STEADY], latency_scale=0.0, trouble=trouble)
            stack.enter_context(portal.wrap_async_context_manager(simulator))
            urls[name] = simulator.base_url
        yield urls


@pytest.fixture(scope="module")
def litellm(upstreams: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    proxy = installed(Path("litellm/bin/litellm"))
    port, log = free_port(), tmp_path_factory.mktemp("litellm") / "log.txt"
    environment = {f"PEER_{name}": url for name, url in upstreams.items()} | {
        "PEER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the list that it came with, not one from the network
        "LITELLM_TELEMETRY": "False",
    }
    command = [proxy, "--config", HERE / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    health = "/health/liveliness"
    with running(command, port=port, health=health, environment=environment, log=log) as origin:
        yield origin


@pytest.fixture(params=SPOKEN, ids=[one.name for one in SPOKEN])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    one: Dialect = request.param
    return one


@pytest.fixture
async def provider(litellm: str, dialect: Dialect) -> AsyncIterator[HttpProvider]:
    url = litellm + ROOTS[dialect.name]
    provider = HttpProvider("peer", url, wire=dialect.wire, key=Secret(KEY))
    yield provider
    await provider.aclose()


@pytest.fixture
async def direct(upstreams: dict[str, str]) -> dict[str, str]:
    """What the simulator says when it is asked without a proxy, by prompt."""
    provider = ChatCompletions("simulator", upstreams["STEADY"])
    try:
        return {
            one.prompt_id: (await provider.complete("sim-steady", one, DECODING, deadline_s=5.0)).text
            for one in PROMPTS
        }
    finally:
        await provider.aclose()


async def test_every_answer_is_that_of_the_model_behind_the_proxy(
    provider: HttpProvider, direct: dict[str, str], is_streamed: bool
) -> None:
    for prompt in PROMPTS:
        completion = await asked(provider, "steady", prompt, is_streamed=is_streamed)
        assert completion.text == direct[prompt.prompt_id]
        assert completion.finish_reason == "stop"
        assert completion.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("model", "kind"),
    [("limited", RateLimitError), ("broken", ServerError), ("unknown", ModelNotFoundError)],
)
async def test_a_refusal_is_typed_after_two_translations(
    provider: HttpProvider, model: str, kind: type[ProviderError], is_streamed: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        await asked(provider, model, PROMPTS[0], is_streamed=is_streamed)
    # litellm answers 500 to Gemini's protocol where the model behind it is unknown.
    is_lost = model == "unknown" and isinstance(provider.wire, GeminiWire)
    assert type(caught.value) is (ServerError if is_lost else kind)
    assert KEY not in str(caught.value)
