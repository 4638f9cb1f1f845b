"""Recording and replaying: what a live session had comes back offline, through the same client."""

import asyncio
from datetime import date
from pathlib import Path

import pytest

from calling import serving
from faults import TEXT
from workbench import datasets, errors, outcomes
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Client, Limits, connect
from workbench.providers.base import Provider
from workbench.providers.chat_completions import ChatCompletions
from workbench.providers.recorder import Recorder
from workbench.providers.registry import provider as registered
from workbench.providers.replay import ReplayProvider
from workbench.providers.simulator import Simulator
from workbench.types import Completion, Decoding, Prompt

pytestmark = pytest.mark.anyio

CATALOG = Catalog([ModelSpec("one", "small", Price(1.0, 2.0, "made up for tests", date(2026, 11, 1)))])
SUM = Prompt("p1", "2 + 2?", task="sums", cluster="c1")
MODELS = ("sim-small", "sim-large")

Result = tuple[str | None, object, float | None, str | None]


async def ask(
    provider: Provider,
    prompt: Prompt = SUM,
    decoding: Decoding = Decoding(),  # noqa: B008 - frozen
) -> Completion:
    return await provider.complete("small", prompt, decoding, deadline_s=5.0)


async def results(client: Client, prompts: list[Prompt], provider: str) -> dict[tuple[str, str, int], Result]:
    """What a client gets: text, usage, cost and error of every prompt, model and seed."""

    async def one(prompt: Prompt, model: str, seed: int) -> Result:
        try:
            completion = await client.complete(f"{provider}/{model}", prompt, decoding=Decoding(seed=seed))
        except errors.ProviderError as exc:
            return None, None, None, type(exc).__name__
        return completion.text, completion.usage, completion.cost_usd, None

    calls = {
        (prompt.prompt_id, model, seed): asyncio.create_task(one(prompt, model, seed))
        for prompt in prompts
        for model in MODELS
        for seed in (0, 1)
    }
    return {key: await call for key, call in calls.items()}


async def test_a_recorded_session_is_replayed_offline_with_the_same_results(tmp_path: Path) -> None:
    prompts = list(datasets.load_prompts("tasks", split="test", n=40))
    limits = Limits(max_attempts=1)  # so that there are errors to record
    async with Simulator(latency_scale=0.0) as simulator:
        recorder = Recorder(registered("simulator", base_url=simulator.base_url))
        async with Client([recorder], limits=limits) as client:
            live = await results(client, prompts, "simulator")
    assert {error for *_, error in live.values()} > {None}
    recorder.save(tmp_path / "session.parquet")

    replay = ReplayProvider(outcomes.read(tmp_path / "session.parquet"))
    async with connect([], providers=[replay], catalog=replay.catalog()) as client:
        offline = await results(client, prompts, "replay")
    assert offline.keys() == live.keys()
    for key, (text, usage, cost_usd, error) in live.items():
        assert offline[key] == (text, usage, pytest.approx(cost_usd) if text else None, error)


async def test_under_its_own_name_a_replay_costs_what_the_catalog_says() -> None:
    async with serving("ok") as [server]:
        recorder = Recorder(ChatCompletions("one", server.url), catalog=CATALOG)
        async with Client([recorder], catalog=CATALOG) as client:
            live = await client.complete("one/small", SUM)
    async with Client([ReplayProvider(recorder.table(), name="one")], catalog=CATALOG) as client:
        offline = await client.complete("one/small", SUM)
    assert (offline.text, offline.usage, offline.cost_usd) == (TEXT, live.usage, live.cost_usd)


async def test_an_outcome_has_what_is_known_of_the_call() -> None:
    async with serving("ok") as [server]:
        recorder = Recorder(ChatCompletions("one", server.url), catalog=CATALOG)
        completion = await ask(recorder, decoding=Decoding(seed=3))
        await recorder.aclose()
    [outcome] = recorder.outcomes
    assert (outcome.prompt_id, outcome.prompt, outcome.task, outcome.cluster) == (
        "p1",
        "2 + 2?",
        "sums",
        "c1",
    )
    assert (outcome.arm, outcome.provider, outcome.response, outcome.repeat) == ("small", "one", TEXT, 3)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.cost_usd) == (10, 5, pytest.approx(20e-6))
    assert (outcome.latency_s, outcome.price_date) == (completion.latency_s, "2026-11-01")


async def test_prompts_are_left_out_where_that_is_asked_for() -> None:
    async with serving("ok") as [server]:
        recorder = Recorder(ChatCompletions("one", server.url), keeps_prompts=False)
        await ask(recorder)
        await recorder.aclose()
    assert recorder.table()["prompt"].isna().all()
    assert (await ask(ReplayProvider(recorder.table()))).text == TEXT


async def test_an_error_is_recorded_with_its_class_and_replayed_as_one() -> None:
    async with serving("404") as [server]:
        recorder = Recorder(ChatCompletions("one", server.url), catalog=CATALOG)
        with pytest.raises(errors.ModelNotFoundError):
            await ask(recorder)
        await recorder.aclose()
    [outcome] = recorder.outcomes
    assert (outcome.error, outcome.response, outcome.cost_usd) == ("ModelNotFoundError", None, 0.0)
    with pytest.raises(errors.ModelNotFoundError, match="recorded as"):
        await ask(ReplayProvider(recorder.table()))


async def test_a_retry_that_was_answered_is_one_outcome_at_the_cost_of_both() -> None:
    async with serving(["malformed", "ok"]) as [server]:
        recorder = Recorder(ChatCompletions("one", server.url), catalog=CATALOG)
        with pytest.raises(errors.BadResponseError):
            await ask(recorder)
        [failed] = recorder.outcomes
        await ask(recorder)
        await recorder.aclose()
    [outcome] = recorder.outcomes
    assert failed.cost_usd
    assert (outcome.response, outcome.error) == (TEXT, None)
    assert outcome.cost_usd == pytest.approx(failed.cost_usd + 20e-6)


async def test_an_error_does_not_replace_an_answer() -> None:
    async with serving(["ok", "500"]) as [server]:
        recorder = Recorder(ChatCompletions("one", server.url))
        await ask(recorder)
        with pytest.raises(errors.ServerError):
            await ask(recorder)
        await recorder.aclose()
    assert [outcome.response for outcome in recorder.outcomes] == [TEXT]


async def test_two_texts_under_one_id_are_two_outcomes_that_replay_tells_apart() -> None:
    async with serving(["ok", "stream-ok", "ok"]) as [server]:
        recorder = Recorder(ChatCompletions("one", server.url))
        await ask(recorder, Prompt("chat", "first"))
        [
            delta
            async for delta in recorder.stream("small", Prompt("chat", "second"), Decoding(), deadline_s=5.0)
        ]
        await ask(recorder, Prompt("chat", "first"))
        await recorder.aclose()
    assert [outcome.prompt_id for outcome in recorder.outcomes] == ["chat", "chat~2"]
    replay = ReplayProvider(recorder.table())
    assert [(await ask(replay, Prompt("chat", text))).text for text in ("first", "second")] == [TEXT, TEXT]


async def test_a_stream_is_recorded_when_it_is_whole_and_its_failure_when_it_is_not() -> None:
    async with serving(["stream-ok", "stream-eof"]) as [server]:
        recorder = Recorder(ChatCompletions("one", server.url))
        deltas = [delta async for delta in recorder.stream("small", SUM, Decoding(), deadline_s=5.0)]
        assert "".join(delta.text for delta in deltas) == TEXT
        with pytest.raises(errors.StreamTruncatedError):
            [delta async for delta in recorder.stream("small", SUM, Decoding(seed=1), deadline_s=5.0)]
        await recorder.aclose()
    assert [(one.response, one.error) for one in recorder.outcomes] == [
        (TEXT, None),
        (None, "StreamTruncatedError"),
    ]


async def test_a_call_that_was_cancelled_or_left_is_no_outcome() -> None:
    async with serving(["stream-ok", "hang"]) as [server]:
        recorder = Recorder(ChatCompletions("one", server.url))
        deltas = recorder.stream("small", SUM, Decoding(), deadline_s=5.0)
        await anext(deltas)
        await deltas.aclose()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(recorder)
        await recorder.aclose()
    assert recorder.outcomes == ()


@pytest.mark.parametrize("seed", [-1, 2**53 + 1, 2**80])
async def test_a_seed_that_is_no_repeat_is_recorded_all_the_same(seed: int) -> None:
    async with serving("ok") as [server]:
        recorder = Recorder(ChatCompletions("one", server.url))
        await ask(recorder, decoding=Decoding(seed=seed))
        await recorder.aclose()
    assert (await ask(ReplayProvider(recorder.table()), decoding=Decoding(seed=seed))).text == TEXT
