"""Arms that are handed in as offline batches: cheaper, killed and resumed, and nothing is bought twice."""

import asyncio
import json
import signal
import textwrap
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path

import pytest

from batch_server import BatchServer, Line, chat, chat_line, message, message_line
from forked import Forks
from workbench.errors import AuthError, ConfigError, ConnectError, ExperimentError
from workbench.experiment.batch_delivery import BatchDelivery, Pace
from workbench.experiment.journal import Journal, SentBatch, custom_id, read_journal
from workbench.experiment.plan import make_plan
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec
from workbench.providers.batches import batches
from workbench.settings import Settings

pytestmark = pytest.mark.anyio

SPEC = """
name: batched
question: Is large better than small?
prompts: {source: tasks, split: test, n: 6}
arms:
  - {name: small, model: custom/small}
  - {name: large, model: custom/large}
delivery: batch
"""
LARGE = "  - {name: large, model: custom/large}\n"
MODELS = """provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date,batch_discount
custom,small,1,2,,made up for tests,2026-01-01,0.5
custom,large,10,20,,made up for tests,2026-01-01,0.5
custom-anthropic,small,1,2,,made up for tests,2026-01-01,0.5
custom-anthropic,large,10,20,,made up for tests,2026-01-01,0.5
"""
ANTHROPIC = SPEC.replace("custom/", "custom-anthropic/")
N_CALLS = 12
COST_OF_SMALL_USD = (100 * 1 + 10 * 2) / 2 / 1e6
COST_OF_LARGE_USD = 10 * COST_OF_SMALL_USD


async def _at_once(_wait_s: float) -> None:
    await asyncio.sleep(0)


PACE = Pace(sleep=_at_once)


def fine(name: str, _body: dict[str, object]) -> Line:
    return chat_line(name, chat())


def fine_message(name: str, _body: dict[str, object]) -> Line:
    return message_line(name, {"type": "succeeded", "message": message()})


ANSWERS = {SPEC: fine, ANTHROPIC: fine_message}


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchServer]:
    """A provider called `custom`, which takes batches."""
    one = BatchServer(answer=fine, polls_to_end=2)
    async with one.serving() as url:
        monkeypatch.setenv("WORKBENCH_BASE_URL", url)
        monkeypatch.setenv("WORKBENCH_ANTHROPIC_URL", url)
        monkeypatch.setenv("WORKBENCH_ANTHROPIC_API_KEY", "canary-7f3a9c51e0")
        monkeypatch.setenv("WORKBENCH_API_KEY", "canary-7f3a9c51e0")
        yield one


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models.csv").write_text(MODELS)
    return Settings(runs_dir=tmp_path / "runs", models_file=tmp_path / "models.csv")


@pytest.fixture
def go(tmp_path: Path, settings: Settings) -> Callable[..., object]:
    """Runs a spec, or goes on with it."""

    async def go(text: str = SPEC, *, pace: Pace = PACE) -> Run:
        (tmp_path / "spec.yaml").write_text(textwrap.dedent(text))
        return await run(load_spec(tmp_path / "spec.yaml"), settings=settings, pace=pace)

    return go


async def stopped(go, server: BatchServer, text: str = SPEC) -> None:
    """A run that is stopped once both batches are handed in and asked after."""
    server.polls_to_end = 10**9
    task = asyncio.ensure_future(go(text, pace=Pace(first_s=0.01, growth=1.0)))
    while server.n_polls < 4:
        await asyncio.sleep(0.005)
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.polls_to_end = 1


async def test_every_call_is_handed_in_once_and_billed_at_the_batch_price(go, server) -> None:
    finished = await go()
    assert finished.state == "completed"
    assert (server.n_bought, len(server.batches)) == (N_CALLS, 2)
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))
    costs = finished.table.groupby("arm", observed=True)["cost_usd"].mean()
    assert costs["small"] == pytest.approx(COST_OF_SMALL_USD)
    assert set(finished.table["price_date"]) == {"2026-01-01"}
    assert "latency_s" not in finished.table or finished.table["latency_s"].isna().all()
    assert finished.table["error"].isna().all()


async def test_a_key_of_the_keyring_is_handed_in_with(go, server, monkeypatch) -> None:
    pytest.importorskip("keyring", reason="the extra 'keys' is not installed")
    from keyrings import Memory, plugged

    ring = Memory()
    ring.set_password("workbench", "WORKBENCH_API_KEY", "of-the-keyring")
    monkeypatch.delenv("WORKBENCH_API_KEY")
    monkeypatch.setenv("WORKBENCH_KEYRING", "workbench")
    with plugged(ring):
        await go()
    assert server.keys == {"Bearer of-the-keyring"}


async def test_a_run_that_is_stopped_while_it_waits_is_collected_and_not_bought_again(go, server) -> None:
    await stopped(go, server)
    assert server.n_bought == N_CALLS
    finished = await go()
    assert (finished.state, len(finished.table)) == ("completed", N_CALLS)
    assert server.n_bought == N_CALLS
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))


@pytest.mark.parametrize("text", [SPEC, ANTHROPIC], ids=["openai", "anthropic"])
async def test_a_run_that_is_killed_while_it_waits_is_collected_and_not_bought_again(
    go, server, tmp_path, settings, forks: Forks, text
) -> None:
    server.answer = ANSWERS[text]
    server.polls_to_end = 10**9
    (tmp_path / "spec.yaml").write_text(textwrap.dedent(text))
    code = (
        "import asyncio\n"
        "from pathlib import Path\n"
        "from workbench.experiment.batch_delivery import Pace\n"
        "from workbench.experiment.run import run\n"
        "from workbench.experiment.spec import load_spec\n"
        "from workbench.settings import Settings\n"
        f"settings = Settings(runs_dir=Path({str(settings.runs_dir)!r}), "
        f"models_file=Path({str(settings.models_file)!r}))\n"
        "asyncio.run(run(load_spec('spec.yaml'), settings=settings, pace=Pace(first_s=0.05)))\n"
    )
    process = forks.start(code, tmp_path)
    while server.n_polls < 4:
        await asyncio.sleep(0.02)
        assert process.poll() is None
    assert process.kill() == -signal.SIGKILL
    server.polls_to_end = 1
    finished = await go(text)
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))
    assert finished.table["error"].isna().all()


async def test_a_batch_whose_acceptance_was_not_heard_is_found_at_once(go, server) -> None:
    server.drops_next_creation = True
    finished = await go()
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))


async def test_a_batch_that_is_not_listed_yet_ends_no_other_and_is_found_again(go, server) -> None:
    server.drops_next_creation, server.is_listed = True, False
    with pytest.raises(ConnectError):
        await go()
    assert server.n_bought == N_CALLS
    server.is_listed = True
    finished = await go()
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))


async def test_a_batch_that_cannot_be_found_counts_as_spent_and_is_handed_in_again(go, server) -> None:
    server.drops_next_creation, server.is_listed = True, False
    with pytest.raises(ConnectError):
        await go()
    server.batches.clear()
    finished = await go()
    assert finished.state == "completed"
    assert finished.spent_usd > 6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD)
    assert any("in flight at a kill" in note for note in finished.notes)


async def test_a_server_that_is_down_for_a_while_is_asked_again(go, server) -> None:
    waits: list[float] = []

    async def noted(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 1:
            server.failures = [503, 429, 500]

    server.polls_to_end = 3
    finished = await go(SPEC.replace(LARGE, ""), pace=Pace(sleep=noted))
    assert finished.state == "completed"
    assert waits == pytest.approx([5.0, 7.5, 11.25, 16.875, 25.3125])


async def test_a_refusal_that_may_pass_is_waited_for_before_a_batch_is_handed_in(go, server) -> None:
    server.failures = [429, 503]
    finished = await go()
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)


async def test_patience_ends_and_the_batch_is_collected_later(go, server) -> None:
    server.polls_to_end = 10**9
    with pytest.raises(ExperimentError, match="has not ended"):
        await go(pace=Pace(patience_s=0.0, sleep=_at_once))
    server.polls_to_end = 1
    assert (await go()).state == "completed"
    assert server.n_bought == N_CALLS


async def test_a_refused_key_ends_no_other_batch_and_its_calls_are_handed_in_later(
    go, server, settings
) -> None:
    server.failures = [401]
    with pytest.raises(AuthError):
        await go()
    content = read_journal(settings.runs_dir / "batched" / "journal.jsonl")
    assert content.spent_usd == pytest.approx(6 * COST_OF_SMALL_USD)
    assert {outcome.arm for outcome in content.outcomes.values()} == {"small"}
    finished = await go()
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)


@pytest.mark.parametrize("text", [SPEC, ANTHROPIC], ids=["openai", "anthropic"])
async def test_one_bad_call_is_found_and_the_others_of_its_batch_are_answered(
    go, server, settings, tmp_path, text
) -> None:
    server.answer = ANSWERS[text]
    (tmp_path / "spec.yaml").write_text(text)
    asked = make_plan(load_spec(tmp_path / "spec.yaml"), settings).prompts[3].text
    server.bad = lambda body: body["model"] == "small" and asked in str(body["messages"][-1]["content"])
    finished = await go(text)
    assert finished.state == "completed"
    failed = finished.table[finished.table["error"].notna()]
    assert failed[["arm", "error", "cost_usd"]].to_numpy().tolist() == [["small", "RequestError", 0.0]]
    assert finished.spent_usd == pytest.approx(5 * COST_OF_SMALL_USD + 6 * COST_OF_LARGE_USD)
    assert server.n_bought == N_CALLS - 1


async def test_calls_that_are_all_bad_are_errors_after_a_bounded_number_of_batches(go, server) -> None:
    server.answer = ANSWERS[ANTHROPIC]
    server.bad = lambda body: body["model"] == "small"
    finished = await go(ANTHROPIC)
    assert finished.table["error"].value_counts().to_dict() == {"RequestError": 6}
    assert finished.spent_usd == pytest.approx(6 * COST_OF_LARGE_USD)


async def test_a_run_under_a_budget_gives_back_what_a_refused_batch_held(go, server) -> None:
    server.answer = ANSWERS[ANTHROPIC]
    server.bad = lambda body: body["model"] == "small"
    finished = await go(ANTHROPIC + "budget_usd: 1\n")
    assert finished.spent_usd == pytest.approx(6 * COST_OF_LARGE_USD)


async def test_an_experiment_in_anthropics_batches_is_answered_and_billed(go, server) -> None:
    server.answer = ANSWERS[ANTHROPIC]
    finished = await go(ANTHROPIC)
    assert (finished.state, server.n_bought, len(server.batches)) == ("completed", N_CALLS, 2)
    assert finished.spent_usd == pytest.approx(6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))
    assert finished.table["error"].isna().all()
    assert set(finished.table["provider"]) == {"custom-anthropic"}


async def test_a_batch_that_anthropic_may_have_counts_as_spent_and_is_handed_in_again(go, server) -> None:
    server.answer = ANSWERS[ANTHROPIC]
    server.drops_next_creation = True
    with pytest.raises(ConnectError):
        await go(ANTHROPIC)
    assert server.n_bought == N_CALLS
    finished = await go(ANTHROPIC)
    assert (finished.state, server.n_bought) == ("completed", N_CALLS + 6)
    assert finished.spent_usd > 6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD)


async def test_what_anthropic_says_of_each_call_becomes_its_outcome(go, server) -> None:
    errored = {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": "no"}}}
    special = {"0": errored, "1": {"type": "expired"}, "2": {"type": "canceled"}}
    server.answer = lambda name, body: (
        message_line(name, special[name[-1]]) if name[-1] in special else ANSWERS[ANTHROPIC](name, body)
    )
    finished = await go(ANTHROPIC)
    errors = finished.table["error"].value_counts().to_dict()
    assert errors == {"ServerError": 4, "ProviderTimeoutError": 2}
    assert finished.spent_usd == pytest.approx(3 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD))


async def test_a_batch_that_is_gone_is_told_and_handed_in_anew(go, server) -> None:
    text = SPEC.replace(LARGE, "")
    await stopped(go, server, text)
    server.batches.clear()
    with pytest.raises(ExperimentError, match="run again to hand them in anew"):
        await go(text)
    assert (await go(text)).state == "completed"


async def test_calls_that_expired_are_errors_that_cost_nothing(go, server) -> None:
    server.status = "expired"
    server.answer = lambda name, _: fine(name, {}) if name.endswith("-0") else None
    finished = await go()
    assert finished.table["error"].value_counts().to_dict() == {"ProviderTimeoutError": 10}
    assert finished.spent_usd == pytest.approx(COST_OF_SMALL_USD + COST_OF_LARGE_USD)


async def test_an_answer_that_cannot_be_read_may_have_been_billed(go, server) -> None:
    server.answer = lambda name, _: b"{torn" if name.endswith("-0") else fine(name, {})
    finished = await go()
    assert finished.table["error"].value_counts().to_dict() == {"BadResponseError": 2}
    assert finished.spent_usd > 6 * (COST_OF_SMALL_USD + COST_OF_LARGE_USD)


async def test_only_calls_that_the_budget_allows_are_handed_in(go, server) -> None:
    finished = await go(SPEC + "budget_usd: 0.03\n")
    assert finished.state == "out of budget"
    assert 0 < server.n_bought < N_CALLS
    assert finished.spent_usd <= 0.03


async def test_what_a_waiting_batch_can_cost_stays_reserved_over_a_stop(go, server) -> None:
    text = SPEC + "budget_usd: 0.03\n"
    await stopped(go, server, text=SPEC.replace(LARGE, "") + "budget_usd: 1\n")
    n_bought = server.n_bought
    finished = await go(text.replace("  - {name: large, model: custom/large}\n", ""))
    assert server.n_bought == n_bought == 6
    assert finished.spent_usd == pytest.approx(6 * COST_OF_SMALL_USD)


async def test_batched_and_live_arms_run_together(go, server) -> None:
    text = SPEC.replace("custom/large}", "simulator/sim-small, delivery: live}")
    finished = await go(text)
    assert (finished.state, server.n_bought, len(finished.table)) == ("completed", 6, N_CALLS)


async def test_a_batch_is_collected_also_where_its_arm_has_become_a_live_one(go, server) -> None:
    await stopped(go, server)
    finished = await go(SPEC.replace("delivery: batch", "delivery: live"))
    assert (finished.state, server.n_bought) == ("completed", N_CALLS)


@pytest.mark.parametrize(
    ("most_items", "most_bytes", "n_batches"), [(4, 10**6, 3), (100, 1, 12), (100, 10**6, 1)]
)
async def test_batches_keep_to_the_providers_limits(
    server, settings, tmp_path, most_items: int, most_bytes: int, n_batches: int
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("custom/large", "custom/small"))
    plan = make_plan(load_spec(tmp_path / "spec.yaml"), settings)
    taken = []

    def limited(name: str):
        api = batches(name)
        api.most_items, api.most_bytes = most_items, most_bytes
        return api

    with Journal.open(
        tmp_path / "j.jsonl", fingerprint={}, content=read_journal(tmp_path / "j.jsonl")
    ) as journal:
        delivery = BatchDelivery(
            plan, journal, lambda call, *_: taken.append(call.key), budget=None, pace=PACE, connect=limited
        )
        async with delivery, asyncio.TaskGroup() as group:
            await delivery.deliver(plan.calls, [], group)
    assert len(server.batches) == n_batches
    assert sorted(taken) == sorted(call.key for call in plan.calls)


@pytest.mark.parametrize(
    ("arm", "what"),
    [
        ("{name: a, router: {kind: fixed}, delivery: batch}", "a batch is of one `model`"),
        ("{name: a, model: custom/small, fallbacks: [custom/large], delivery: batch}", "without `fallbacks`"),
        ("{name: a, model: custom/small, delivery: post}", "delivery"),
        ("{name: a, model: simulator/sim-small, delivery: batch}", "simulator takes no offline batches"),
        ("{name: a, model: deepseek/deepseek-v4-flash, delivery: batch}", "none in batches"),
    ],
    ids=["router", "fallbacks", "unknown", "simulator", "no batch price"],
)
async def test_an_arm_that_cannot_be_a_batch_is_refused_before_anything_is_sent(
    go, server, arm: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        await go(f"name: n\nquestion: Which one?\nprompts: {{source: tasks, n: 4}}\narms:\n  - {arm}\n")
    assert server.n_bought == 0


def sent_batch(token: str) -> SentBatch:
    calls = {custom_id(token, n): ((f"p{n}", "arm", 0), 0.25) for n in range(2)}
    return SentBatch(token, "p/m", date(2026, 11, 23), calls)


def test_the_journal_keeps_a_batch_and_its_id(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, fingerprint={}, content=read_journal(path)) as journal:
        for token in ("kept", "refused", "lost"):
            journal.batch_sent(sent_batch(token))
        journal.batch_accepted("kept", "job")
        journal.batch_not_sent("refused")
        journal.batch_lost("lost")
    content = read_journal(path)
    kept = sent_batch("kept")
    kept.job_id = "job"
    assert content.batches == {"kept": kept}
    assert content.spent_usd == 0.5


async def test_a_failing_submission_is_tried_a_few_times_and_no_more(go, server) -> None:
    server.failures = [503] * 8
    finished = await go()
    failed = finished.table[finished.table["error"].notna()]
    assert failed[["arm", "error"]].to_numpy().tolist() == [["large", "ServerError"]] * 6
    assert (server.n_bought, len(server.uploads)) == (6, 9)
    assert finished.spent_usd == pytest.approx(6 * COST_OF_SMALL_USD)
    assert json.loads(server.uploads[0].splitlines()[0])["method"] == "POST"
