"""A recorded table as a provider: what was recorded comes back, and what was not is said to be missing."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from workbench import errors, outcomes
from workbench.errors import DataError, ModelNotFoundError, ProviderError, RequestError
from workbench.providers.base import Provider
from workbench.providers.replay import NOT_KEPT, ReplayProvider
from workbench.types import Completion, Decoding, Prompt

pytestmark = pytest.mark.anyio

SUM = Prompt("p1", "What is 1 + 1?")
NAME = Prompt("p2", "Name a colour.")


def recorded() -> pd.DataFrame:
    """Two models, two prompts; `big` saw p1 twice and failed on p2."""
    columns = ["prompt_id", "prompt", "arm", "model", "repeat", "response", "quality", "cost_usd", "error"]
    rows = [
        ("p1", SUM.text, "big", "big-2026", 0, "2", 1.0, 0.004, None),
        ("p1", SUM.text, "big", "big-2026", 1, "3", 0.0, 0.005, None),
        ("p2", NAME.text, "big", "big-2026", 0, None, 0.0, None, "RateLimitError"),
        ("p1", SUM.text, "small", "small", 0, None, 0.25, None, None),
        ("p2", NAME.text, "small", "small", 0, "red", None, 0.001, None),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table["latency_s"] = [0.5, 0.6, 0.7, None, 0.1]
    table["input_tokens"], table["output_tokens"] = [7, 7, 7, 7, None], [1, 2, 0, 3, None]
    return outcomes.validate(table)


async def ask(provider: ReplayProvider, model: str, prompt: Prompt, seed: int | None = None) -> Completion:
    return await provider.complete(model, prompt, Decoding(seed=seed), deadline_s=1.0)


def test_it_is_a_provider_with_the_arms_as_models() -> None:
    provider = ReplayProvider(recorded(), name="bench")
    assert isinstance(provider, Provider)
    assert (provider.models, provider.candidates()) == (("big", "small"), ("bench/big", "bench/small"))
    assert [(spec.model_id, spec.price) for spec in provider.catalog()] == [
        ("bench/big", None),
        ("bench/small", None),
    ]


async def test_what_was_recorded_comes_back() -> None:
    completion = await ask(ReplayProvider(recorded()), "big", SUM)
    assert (completion.text, completion.cost_usd, completion.latency_s) == ("2", 0.004, 0.5)
    assert (completion.model_id, completion.served_model) == ("replay/big", "big-2026")
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (7, 1)
    assert not completion.usage.is_estimated


@pytest.mark.parametrize(("seed", "text"), [(None, "2"), (0, "2"), (1, "3"), (2, "2"), (7, "3")])
async def test_the_seed_chooses_the_repeat(seed: int | None, text: str) -> None:
    provider = ReplayProvider(recorded().sample(frac=1.0, random_state=3))
    assert (await ask(provider, "big", SUM, seed)).text == text
    assert provider.recorded_quality("big", SUM, seed=seed) == (1.0 if text == "2" else 0.0)


async def test_an_answer_that_was_not_kept_is_marked_and_keeps_its_quality() -> None:
    provider = ReplayProvider(recorded())
    completion = await ask(provider, "small", SUM)
    assert (completion.text, completion.cost_usd, completion.latency_s) == (NOT_KEPT, None, 0.0)
    assert provider.recorded_quality("small", SUM) == 0.25


async def test_tokens_that_were_not_counted_are_bounded_and_marked() -> None:
    usage = (await ask(ReplayProvider(recorded()), "small", NAME)).usage
    assert usage.is_estimated
    assert (usage.input_tokens >= len(NAME.text), usage.output_tokens) == (True, 3)


def test_an_answer_that_was_not_scored_has_no_quality() -> None:
    assert ReplayProvider(recorded()).recorded_quality("small", NAME) is None


async def test_a_recorded_error_is_raised_again_and_not_worth_a_retry() -> None:
    with pytest.raises(errors.RateLimitError, match="replay/big: recorded as RateLimitError") as caught:
        await ask(ReplayProvider(recorded()), "big", NAME)
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("StreamTruncatedError", errors.StreamTruncatedError),
        ("ProviderTimeoutError", errors.ProviderTimeoutError),
        ("AllProvidersFailedError", ProviderError),
        ("ConfigError", ProviderError),
        ("Sequence", ProviderError),
        ("openai.APIError", ProviderError),
    ],
)
async def test_any_recorded_error_comes_back_as_one_of_ours(name: str, kind: type[ProviderError]) -> None:
    table = recorded().assign(error=name)
    with pytest.raises(kind, match=f"recorded as {name}") as caught:
        await ask(ReplayProvider(table), "small", SUM)
    assert type(caught.value) is kind


async def test_a_stream_is_the_answer_and_then_the_completion() -> None:
    provider = ReplayProvider(recorded())
    deltas = [delta async for delta in provider.stream("big", SUM, Decoding(), deadline_s=1.0)]
    assert [delta.text for delta in deltas] == ["2", ""]
    assert deltas[-1].completion == await ask(provider, "big", SUM)


async def test_a_prompt_is_found_by_its_text_under_another_id() -> None:
    assert (await ask(ReplayProvider(recorded()), "big", Prompt("q-77", "what is  1 + 1? "))).text == "2"


async def test_another_prompt_under_the_same_id_is_not_answered() -> None:
    with pytest.raises(RequestError, match="no outcome of prompt 'p1' was recorded"):
        await ask(ReplayProvider(recorded()), "big", Prompt("p1", "What is the capital of Peru?"))


async def test_without_texts_the_id_is_enough() -> None:
    assert (await ask(ReplayProvider(recorded().drop(columns="prompt")), "big", SUM)).text == "2"


async def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(ModelNotFoundError, match=r"replay/huge: .* it has big, small"):
        await ask(ReplayProvider(recorded()), "huge", SUM)


async def test_an_unknown_prompt_is_named_with_the_model() -> None:
    with pytest.raises(RequestError, match="replay/big: no outcome of prompt 'p9'") as caught:
        await ask(ReplayProvider(recorded()), "big", Prompt("p9", "Never asked."))
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame(), recorded().head(0), pd.DataFrame({"arm": ["a"]}), pd.DataFrame({"prompt_id": ["p"]})],
    ids=["nothing", "no-rows", "no-prompt", "no-arm"],
)
def test_a_table_that_cannot_be_replayed_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="a table to replay needs rows with prompt_id and arm"):
        ReplayProvider(table)


def test_a_table_of_models_needs_no_arm() -> None:
    assert ReplayProvider(recorded().drop(columns="arm")).models == ("big-2026", "small")


@pytest.mark.parametrize("name", ["routellm_pair", "routerbench365"])
async def test_a_recorded_benchmark_keeps_its_mean_qualities(shared_data: Path, name: str) -> None:
    table = outcomes.read(shared_data / f"{name}.parquet")
    provider = ReplayProvider(table)
    pairs = zip(table["prompt_id"].tolist(), table["prompt"].tolist(), strict=True)
    prompts = {prompt_id: Prompt(prompt_id, text) for prompt_id, text in pairs}
    means = outcomes.pivot(table).mean()
    for model in provider.models:
        asked = table.loc[table["arm"] == model, "prompt_id"]
        qualities = [provider.recorded_quality(model, prompts[prompt_id]) for prompt_id in asked]
        scored = [quality for quality in qualities if quality is not None]
        assert sum(scored) / len(scored) == pytest.approx(means[model], abs=1e-12)


def test_thirty_thousand_rows_are_ready_at_once_and_looked_up_in_no_time() -> None:
    ids = [f"p{number}" for number in range(15_000)]
    texts = [f"Question {name}: {'word ' * 100}" for name in ids]
    table = pd.DataFrame({"prompt_id": ids * 2, "prompt": texts * 2, "arm": ["a"] * 15_000 + ["b"] * 15_000})
    table = outcomes.validate(table.assign(quality=1.0))
    before = time.process_time()
    provider = ReplayProvider(table)
    built = time.process_time()
    for _ in range(2_000):
        provider.recorded_quality("b", Prompt(ids[-1], texts[-1]))
    assert built - before < 5.0
    assert (time.process_time() - built) / 2_000 < 1e-3  # a search through all rows takes longer


def test_the_module_does_not_load_pandas() -> None:
    code = "import sys, workbench.providers.replay; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
