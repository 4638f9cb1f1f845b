"""A sample of a run's calls as MLflow traces: noted in the run's folder, and sent with the run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from calling import CATALOG, PROMPT, QUICK, failure, serving
from faults import TEXT, FaultServer
from workbench.client import Client
from workbench.errors import TrackingError
from workbench.experiment.run import Run, run
from workbench.experiment.spec import load_spec
from workbench.experiment.traces import TRACES, TraceFile, is_sampled, read_traces
from workbench.providers.chat_completions import ChatCompletions
from workbench.publication import publish
from workbench.settings import Secret, Settings
from workbench.types import Prompt

tracking = pytest.importorskip("workbench.tracking", reason="the extra 'tracking' is not installed")
from workbench.tracking.store import connected  # noqa: E402

pytestmark = pytest.mark.anyio

SPEC = """
name: traced
question: Is large better than small?
prompts: {source: tasks, split: test, n: 6}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
"""


def noting(folder: Path, *servers: FaultServer, with_content: bool = False) -> Client:
    providers = [ChatCompletions(name, s.url) for name, s in zip(("one", "two"), servers, strict=False)]
    note = TraceFile(folder / TRACES, 1.0, with_content=with_content)
    return Client(providers, catalog=CATALOG, limits=QUICK, observers=[note])


@pytest.fixture
def settings(fresh_store: Path, tmp_path: Path) -> Settings:
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    return Settings(
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", runs_dir=tmp_path / "runs", trace_share=1.0
    )


async def finished(settings: Settings, tmp_path: Path) -> Run:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return await run(load_spec(tmp_path / "spec.yaml"), settings=settings)


def traces(uri: str, experiment_id: str) -> list[Any]:
    with connected(uri) as client:
        return list(client.search_traces(locations=[experiment_id], max_results=500))


def test_the_sample_is_of_prompts_and_the_same_everywhere() -> None:
    prompts = [f"p{n}" for n in range(2000)]
    tenth = {name for name in prompts if is_sampled(name, 0.1)}
    assert 150 < len(tenth) < 250  # 200 expected, 13 a standard deviation
    assert tenth < {name for name in prompts if is_sampled(name, 0.2)}


async def test_a_call_is_noted_with_its_attempts_and_without_its_words(tmp_path: Path) -> None:
    async with serving(["500", "ok"], "ok") as servers, noting(tmp_path, *servers) as client:
        completion = await client.complete("one/small", PROMPT)
    [record] = read_traces(tmp_path)
    assert (record.prompt_id, record.model_id, record.cost_usd) == ("p1", "one/small", completion.cost_usd)
    failed, answered = record.attempts
    assert (failed.error, failed.status) == ("ServerError", 500)
    assert record.started_ns <= failed.started_ns < failed.ended_ns <= answered.ended_ns <= record.ended_ns
    assert (record.messages, record.answer) == (None, None)
    written = (tmp_path / TRACES).read_text()
    assert PROMPT.text not in written
    assert TEXT not in written


async def test_words_are_noted_when_asked_for_with_keys_masked(tmp_path: Path) -> None:
    key = Secret('canary/"quoted"-5e6f')
    prompt = Prompt("p1", f"my key is {key.get_secret_value()}")
    async with serving("ok") as [server], noting(tmp_path, server, with_content=True) as client:
        await client.complete("one/small", prompt)
    [record] = read_traces(tmp_path)
    assert record.messages == (("user", "my key is **********"),)
    assert record.answer == TEXT


async def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    async with serving(["400", "ok"]) as [server], noting(tmp_path, server) as client:
        await failure(client)
        await client.complete("one/small", PROMPT)
    content = (tmp_path / TRACES).read_text()
    (tmp_path / TRACES).write_text(content[:-20])
    assert [record.error for record in read_traces(tmp_path)] == ["RequestError"]


async def test_a_folder_that_cannot_be_written_fails_no_call(tmp_path: Path) -> None:
    async with serving("ok") as [server], noting(tmp_path / "missing", server) as client:
        assert (await client.complete("one/small", PROMPT)).text == TEXT


async def test_the_traces_of_a_run_are_in_its_experiment(settings: Settings, tmp_path: Path) -> None:
    done = await finished(settings, tmp_path)
    published = publish(done, settings=settings)
    assert published.warnings == ()
    assert published.tracked is not None
    found = traces(settings.tracking_uri or "", published.tracked.experiment_id)
    assert len(found) == 12
    by_model = {trace.info.tags["model"] for trace in found}
    assert by_model == {"simulator/sim-small", "simulator/sim-large"}
    assert {t.info.request_metadata["mlflow.sourceRun"] for t in found} == {published.tracked.run_id}
    record = next(r for r in read_traces(done.folder) if f"tr-{r.call_id}" == found[0].info.trace_id)
    root, attempt = found[0].data.spans
    assert attempt.parent_id == root.span_id
    assert (root.start_time_ns, root.end_time_ns) == (record.started_ns, record.ended_ns)
    assert root.attributes["mlflow.chat.tokenUsage"]["input_tokens"] == record.input_tokens
    assert found[0].info.token_usage["output_tokens"] == record.output_tokens
    assert found[0].info.cost["total_cost"] == pytest.approx(record.cost_usd)


async def test_traces_that_are_sent_again_are_the_same_traces(settings: Settings, tmp_path: Path) -> None:
    done = await finished(settings, tmp_path)
    tracked = publish(done, settings=settings).tracked
    assert tracked is not None
    tracking.sync(done.folder, uri=settings.tracking_uri)
    found = traces(settings.tracking_uri or "", tracked.experiment_id)
    assert len(found) == 12
    assert {len(trace.data.spans) for trace in found} == {2}


async def test_a_dead_store_keeps_them_for_later(settings: Settings, tmp_path: Path) -> None:
    dead = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    done = await finished(dead, tmp_path)
    assert publish(done, settings=dead).tracked is None
    tracked = tracking.sync(done.folder, uri=settings.tracking_uri)
    assert len(traces(settings.tracking_uri or "", tracked.experiment_id)) == 12


async def test_a_store_that_refuses_traces_is_an_error_of_ours(settings: Settings, tmp_path: Path) -> None:
    done = await finished(settings, tmp_path)
    line = json.loads((done.folder / TRACES).read_text().splitlines()[0])
    (done.folder / TRACES).write_text(json.dumps(line | {"call_id": "no hexadecimal number"}) + "\n")
    with pytest.raises(TrackingError):
        tracking.log_experiment(
            done.folder,
            name="traced",
            question="Is it?",
            params={},
            analysis=done.analysis,
            table=done.table,
            uri=settings.tracking_uri,
        )


async def test_no_file_is_left_where_the_share_is_zero(settings: Settings, tmp_path: Path) -> None:
    done = await finished(settings.model_copy(update={"trace_share": 0.0}), tmp_path)
    assert not (done.folder / TRACES).exists()
