"""A simulator in trouble: down, slow, limited, and in a second protocol."""

import pytest

from workbench.errors import ProviderError, QuotaExceededError, RateLimitError, ServerError
from workbench.providers.anthropic import AnthropicWire
from workbench.providers.chat_completions import ChatCompletionsWire
from workbench.providers.fleet import SimulatedModel
from workbench.providers.simulator import Simulator
from workbench.providers.trouble import Gate, Refusal, Trouble
from workbench.providers.wire import HttpProvider, Wire
from workbench.settings import Secret
from workbench.types import Completion, Decoding, Prompt

pytestmark = pytest.mark.anyio

STEADY = SimulatedModel("sim-steady", {}, 50.0, 20, 0.05, transient_rate=0.0, persistent_rate=0.0)
WIRES = [ChatCompletionsWire(), AnthropicWire()]
PROMPT = Prompt("p1", "2 + 2?", system="Be brief.")


async def asked(
    simulator: Simulator, wire: Wire, *, key: str = "first-canary", max_output_tokens: int = 100
) -> Completion:
    provider = HttpProvider("simulator", simulator.base_url, wire=wire, key=Secret(key))
    decoding = Decoding(max_output_tokens=max_output_tokens)
    try:
        return await provider.complete("sim-steady", PROMPT, decoding, deadline_s=5.0)
    finally:
        await provider.aclose()


async def refused(simulator: Simulator, wire: Wire, **settings: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asked(simulator, wire, **settings)
    return caught.value


def simulator_in(trouble: Trouble) -> Simulator:
    return Simulator(fleet=[STEADY], latency_scale=0.0, trouble=trouble)


@pytest.mark.parametrize("max_output_tokens", [100, 10], ids=["stop", "length"])
async def test_both_protocols_say_the_same(max_output_tokens: int) -> None:
    async with simulator_in(Trouble()) as simulator:
        first, second = [await asked(simulator, wire, max_output_tokens=max_output_tokens) for wire in WIRES]
    assert (first.text, first.usage, first.finish_reason) == (
        second.text,
        second.usage,
        second.finish_reason,
    )


async def test_a_stream_of_messages_adds_up_to_the_whole() -> None:
    async with simulator_in(Trouble()) as simulator:
        whole = await asked(simulator, AnthropicWire())
        provider = HttpProvider("simulator", simulator.base_url, wire=AnthropicWire())
        stream = provider.stream("sim-steady", PROMPT, Decoding(max_output_tokens=100), deadline_s=5.0)
        deltas = [one async for one in stream]
        await provider.aclose()
    completion = deltas.pop().completion
    assert completion is not None
    assert len(deltas) > 1
    assert "".join(one.text for one in deltas) == completion.text == whole.text
    assert completion.usage == whole.usage


@pytest.mark.parametrize("wire", WIRES, ids=["chat_completions", "anthropic"])
async def test_trouble_is_typed_and_passes(wire: Wire) -> None:
    async with simulator_in(Trouble(status=503)) as simulator:
        assert type(await refused(simulator, wire)) is ServerError
        simulator.trouble = Trouble(keys_without_credit=frozenset({"first-canary"}))
        assert type(await refused(simulator, wire)) is QuotaExceededError
        assert (await asked(simulator, wire, key="second-canary")).text
        simulator.trouble = Trouble()
        assert (await asked(simulator, wire)).text
        assert (simulator.n_requests, simulator.n_answers) == (4, 2)


@pytest.mark.parametrize("wire", WIRES, ids=["chat_completions", "anthropic"])
async def test_one_request_too_many_is_told_when_to_come_back(wire: Wire) -> None:
    async with simulator_in(Trouble(requests_per_minute=1.0)) as simulator:
        await asked(simulator, wire)
        failure = await refused(simulator, wire)
        assert type(failure) is RateLimitError
        assert failure.retry_after_s is not None
        assert 50.0 < failure.retry_after_s <= 60.0
        assert (await asked(simulator, wire, key="second-canary")).text


@pytest.mark.parametrize("wire", WIRES, ids=["chat_completions", "anthropic"])
async def test_an_answer_that_was_not_counted_is_not_free(wire: Wire) -> None:
    async with simulator_in(Trouble()) as simulator:
        counted = (await asked(simulator, wire)).usage
        simulator.trouble = Trouble(is_uncounted=True)
        usage = (await asked(simulator, wire)).usage
    assert (counted.is_estimated, usage.is_estimated) == (False, True)
    assert usage.input_tokens >= counted.input_tokens
    assert usage.output_tokens >= counted.output_tokens


async def test_a_slow_server_takes_longer() -> None:
    async with simulator_in(Trouble(delay_s=0.1)) as simulator:
        assert 0.1 <= (await asked(simulator, ChatCompletionsWire())).latency_s < 2.0


def test_a_refused_request_does_not_count() -> None:
    now = [0.0]
    gate, trouble = Gate(clock=lambda: now[0]), Trouble(requests_per_minute=60.0)
    assert gate.refusal(trouble, "a") is None
    now[0] = 0.25
    assert gate.refusal(trouble, "a") == Refusal(429, 0.75)
    assert gate.refusal(trouble, "b") is None
    now[0] = 1.0
    assert gate.refusal(trouble, "a") is None


def test_a_second_s_worth_may_come_at_once() -> None:
    now = [0.0]
    gate, trouble = Gate(clock=lambda: now[0]), Trouble(requests_per_minute=240.0)
    assert [gate.refusal(trouble, "a") for _ in range(5)] == [*[None] * 4, Refusal(429, 0.25)]
    now[0] = 0.25
    assert gate.refusal(trouble, "a") is None
