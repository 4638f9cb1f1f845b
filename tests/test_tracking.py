"""MLflow: what is logged, once; what is refused; and stores that are new, locked, dead or hanging."""

import json
import multiprocessing
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import outcomes
from workbench.errors import ConfigError, StorageError, TrackingError
from workbench.experiment.analysis import Analysis, ArmSummary, Comparison
from workbench.routing import checkpoint
from workbench.routing.baselines import Fixed
from workbench.routing.registry import fit
from workbench.routing.training_table import from_table
from workbench.settings import Settings
from workbench.stats.estimate import Estimate
from workbench.types import Prompt

tracking = pytest.importorskip("workbench.tracking", reason="the extra 'tracking' is not installed")
from workbench.tracking.record import note  # noqa: E402
from workbench.tracking.store import connected, prepare  # noqa: E402

ANALYSIS = Analysis(
    question="Is large better than small?",
    metric="quality",
    alpha=0.05,
    control="small",
    arms=(
        ArmSummary("small", 2, 2, 1, Estimate(0.5, 0.4, 0.6), 0.12, 0.1, 0.3, 0.8),
        ArmSummary("large", 2, 2, 0, Estimate(0.625, 0.5, 0.75), 1.2, 1.0, 0.5, 0.9),
    ),
    comparisons=(
        Comparison(
            arm="large", control="small", n_prompts=2, difference=Estimate(0.125, 0.03125, 0.1875),
            p_value=0.01, p_adjusted=0.02, mcnemar_p=None, cost_ratio=Estimate(10.0, 9.0, 11.0),
            finding="better", verdict="large is better than small",
        ),
    ),
)  # fmt: skip


def table() -> pd.DataFrame:
    rows = [
        {"prompt_id": prompt, "arm": arm, "quality": 0.5, "cost_usd": 0.001, "response": "yes"}
        for prompt in ("p1", "p2")
        for arm in ("small", "large")
    ]
    return outcomes.validate(pd.DataFrame(rows))


@pytest.fixture
def uri(fresh_store: Path, tmp_path: Path) -> str:
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a finished run leaves in its folder."""
    path = tmp_path / "runs" / "sizes"
    (path / "plots").mkdir(parents=True)
    outcomes.write(table(), path / "outcomes.parquet")
    for name in ("spec.yaml", "report.html", "analysis.json", "plots/quality.png"):
        (path / name).write_text("{}")
    return path


def log(folder: Path, uri: str, **changes: Any) -> Any:
    arguments = {
        "name": "sizes",
        "question": ANALYSIS.question,
        "params": {"seed": 1, "n_prompts": 2},
        "analysis": ANALYSIS,
        "table": table(),
    }
    return tracking.log_experiment(folder, uri=uri, **(arguments | changes))


def runs(uri: str, experiment_id: str) -> dict[str, Any]:
    """Every run of an experiment, by arm; the parent's is empty."""
    with connected(uri) as client:
        return {run.data.tags.get("arm", ""): run for run in client.search_runs([experiment_id])}


def test_a_run_is_a_parent_with_one_child_for_each_arm(folder: Path, uri: str) -> None:
    run = log(folder, uri)
    logged = runs(uri, run.experiment_id)
    assert set(logged) == {"", "small", "large"}
    assert logged[""].info.run_id == run.run_id
    assert {logged[arm].data.tags["mlflow.parentRunId"] for arm in ("small", "large")} == {run.run_id}
    assert {r.info.status for r in logged.values()} == {"FINISHED"}


def test_numbers_arrive_with_their_intervals(folder: Path, uri: str) -> None:
    large = runs(uri, log(folder, uri).experiment_id)["large"].data
    expected = {
        "quality": 0.625, "quality_low": 0.5, "quality_high": 0.75, "usd_per_1k_prompts": 1.2,
        "latency_p50_s": 0.5, "latency_p95_s": 0.9, "n_errors": 0.0, "p_adjusted": 0.02,
        "difference_points": 12.5, "difference_points_low": 3.125, "difference_points_high": 18.75,
        "cost_ratio": 10.0,
    }  # fmt: skip
    assert {name: large.metrics[name] for name in expected} == expected
    assert "mcnemar_p" not in large.metrics


def test_children_repeat_what_the_parent_is_filtered_by(folder: Path, uri: str) -> None:
    logged = runs(uri, log(folder, uri).experiment_id)
    for run in logged.values():
        assert run.data.params == {"seed": "1", "n_prompts": "2"}
        assert run.data.tags["question"] == "Is large better than small?"
        assert run.data.tags["workbench.data_digest"] == outcomes.digest(table())[:16]
    assert logged["large"].data.tags["finding"] == "better"
    assert "large is better than small" in logged[""].data.tags["mlflow.note.content"]


def test_the_table_is_a_dataset_and_an_artifact(folder: Path, uri: str) -> None:
    run = log(folder, uri)
    with connected(uri) as client:
        inputs = client.get_run(run.run_id).inputs.dataset_inputs
        names = {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert [item.dataset.digest for item in inputs] == [outcomes.digest(table())[:16]]
    assert names == {"outcomes.parquet", "spec.yaml", "report.html", "analysis.json", "plots"}


def test_the_same_folder_again_updates_its_run(folder: Path, uri: str) -> None:
    first = log(folder, uri)
    better = replace(ANALYSIS.arms[1], n_errors=7)
    second = log(folder, uri, analysis=replace(ANALYSIS, arms=(ANALYSIS.arms[0], better)))
    assert second == first
    logged = runs(uri, first.experiment_id)
    assert len(logged) == 3
    assert logged["large"].data.metrics["n_errors"] == 7.0


def test_a_run_that_was_sent_but_not_noted_is_found_again(folder: Path, uri: str) -> None:
    first = log(folder, uri)
    spool = json.loads((folder / "tracking.json").read_text())
    (folder / "tracking.json").write_text(json.dumps(spool | {"state": "pending", "run": None}))
    assert tracking.sync(folder, uri=uri) == first


def test_an_active_run_in_the_environment_is_left_alone(
    folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = log(folder, uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", other.run_id)
    another = folder.parent / "again"
    shutil.copytree(folder, another, ignore=shutil.ignore_patterns("tracking.json", ".*"))
    run = log(another, uri)
    assert run.run_id != other.run_id
    with connected(uri) as client:
        assert len(client.search_runs([run.experiment_id])) == 6
        assert "mlflow.parentRunId" not in client.get_run(other.run_id).data.tags


def test_what_is_not_a_number_is_named_and_not_stored(folder: Path, uri: str) -> None:
    odd = replace(ANALYSIS.arms[0], latency_p95_s=float("nan"), usd_per_1k_prompts=float("inf"))
    run = log(folder, uri, analysis=replace(ANALYSIS, arms=(odd, ANALYSIS.arms[1])))
    small = runs(uri, run.experiment_id)["small"].data
    assert not {"latency_p95_s", "usd_per_1k_prompts"} & set(small.metrics)
    assert small.tags["workbench.not_finite"] == "usd_per_1k_prompts (inf), latency_p95_s (nan)"


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"openai_api_key": "canary-value"}},
        {"params": {"model": "sk-canary1234567890abcdef"}},
        {"question": "why AIzaSyCanary-1234567890abcdefghijklmno?"},
        {"name": "ghp_canary1234567890abcdefgh"},
    ],
    ids=["name-of-a-key", "form-of-a-key", "question", "experiment"],
)
def test_a_secret_is_refused_before_anything_is_written(
    folder: Path, uri: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="looks like a secret") as caught:
        log(folder, uri, **changes)
    assert "anary" not in str(caught.value)
    assert not (folder / "tracking.json").exists()


def test_an_artifact_with_a_key_stays_here(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "a plain looking canary")
    (folder / "report.html").write_text("<p>a plain looking canary</p>")
    run = log(folder, uri)
    with connected(uri) as client:
        assert "report.html" not in {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert runs(uri, run.experiment_id)[""].data.tags["workbench.refused_artifacts"] == "report.html"
    with pytest.raises(ConfigError, match="key"):
        tracking.add_artifact(run, folder / "report.html")


def test_a_link_out_of_the_folder_is_not_an_artifact(folder: Path, uri: str, tmp_path: Path) -> None:
    (tmp_path / "private.html").write_text("mine")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(tmp_path / "private.html")
    run = log(folder, uri)
    with connected(uri) as client:
        assert "report.html" not in {artifact.path for artifact in client.list_artifacts(run.run_id)}


def test_an_artifact_can_be_added_later(folder: Path, uri: str) -> None:
    run = log(folder, uri)
    (folder / "notebook.ipynb").write_text("{}")
    tracking.add_artifact(run, folder / "notebook.ipynb")
    with connected(uri) as client:
        assert "notebook.ipynb" in {artifact.path for artifact in client.list_artifacts(run.run_id)}


def test_a_changed_parameter_is_refused(folder: Path, uri: str) -> None:
    log(folder, uri)
    with pytest.raises(ConfigError, match="'seed' was logged as '1' and is now '2'"):
        log(folder, uri, params={"seed": 2})


def test_a_deleted_experiment_is_named(folder: Path, uri: str) -> None:
    run = log(folder, uri)
    with connected(uri) as client:
        client.delete_experiment(run.experiment_id)
    with pytest.raises(TrackingError, match="'sizes' was deleted; restore it"):
        log(folder, uri)


def test_names_of_arms_cannot_break_the_note() -> None:
    hostile = replace(ANALYSIS.arms[0], arm="a|b\n<script>x</script> [x](javascript:y)")
    text = note(replace(ANALYSIS, arms=(hostile,)))
    assert "<script>" not in text
    row = text.splitlines()[-1]
    assert row.startswith(r"| a\|b &lt;script&gt;x&lt;/script&gt; \[x\](javascript:y)&emsp; |")


def test_nothing_is_printed_and_the_making_is_told(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    log(folder, f"sqlite:///{tmp_path / 'new.db'}", tell=told.append)
    assert [line.split(" (")[0] for line in told] == [f"making the tracking store {tmp_path / 'new.db'}"]
    assert capfd.readouterr() == ("", "")


def test_the_store_is_absolute_and_artifacts_are_beside_it(tmp_path: Path) -> None:
    assert tracking.store_uri(Settings()) == f"sqlite:///{tmp_path / 'mlflow.db'}"
    relative = Settings(tracking_uri="sqlite:///sub/x.db")
    assert tracking.store_uri(relative) == f"sqlite:///{tmp_path / 'sub' / 'x.db'}"
    assert tracking.store_uri(Settings(tracking_uri="http://127.0.0.1:5000")) == "http://127.0.0.1:5000"


def test_a_notebook_and_a_command_at_the_top_share_one_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "notebooks").mkdir()
    at_the_top = tracking.store_uri(Settings())
    monkeypatch.chdir(tmp_path / "notebooks")
    assert tracking.store_uri(Settings()) == at_the_top == f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.slow
def test_six_processes_can_start_on_a_store_that_is_not_there(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workbench.tracking.store"])
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    processes = [context.Process(target=prepare, args=(uri,)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_locked_store_leaves_the_run_pending_and_sync_sends_it(
    folder: Path, uri: str, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="locked"):
            log(folder, uri)
        assert tracking.is_pending(folder)
    run = tracking.sync(folder, uri=uri)
    assert len(runs(uri, run.experiment_id)) == 3
    assert not tracking.is_pending(folder)


class _Answers500(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def failing_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers500)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """Accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing_server() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://me:canary@127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refusing_server", "failing_server", "hanging_server"])
def test_a_dead_server_costs_ten_seconds_and_no_result(
    kind: str, folder: Path, uri: str, request: pytest.FixtureRequest
) -> None:
    dead = request.getfixturevalue(kind)
    started = time.monotonic()
    with pytest.raises(TrackingError, match="did not take the run") as caught:
        log(folder, dead)
    assert time.monotonic() - started < 10
    assert "canary" not in str(caught.value) + (folder / "tracking.json").read_text()
    assert tracking.is_pending(folder)
    assert len(runs(uri, tracking.sync(folder, uri=uri).experiment_id)) == 3


def test_a_database_that_is_down_is_asked_once(folder: Path, refusing_server: str) -> None:
    dead = refusing_server.replace("http://", "postgresql://") + "/mlflow"
    with pytest.raises(TrackingError, match="refused"):
        log(folder, dead)


def test_what_was_never_run_cannot_be_synced(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StorageError, match=r"no tracking\.json"):
        tracking.sync(tmp_path, uri=uri)


def test_pages_of_a_server_are_not_served_again() -> None:
    with pytest.raises(ConfigError, match=r"https://mlflow\.example is a tracking server already"):
        tracking.ui_command("https://me:canary@mlflow.example", 5000)


def test_a_taken_port_is_one_clear_error(uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"port {port} cannot be used"),
            tracking.open_ui(uri, port=port),
        ):
            pass


def card(**changes: Any) -> Any:
    fields: dict[str, Any] = {
        "name": "routers", "params": {"seed": 1}, "metrics": {"regret": 0.1}, "input_example": ["2 + 2?"],
    }  # fmt: skip
    return tracking.ModelCard(**(fields | changes))


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny controller that was fitted with torch."""
    torch_train = pytest.importorskip("workbench.routing.train", reason="the extra 'torch' is not installed")
    words = ["sum" if i % 2 else "poem" for i in range(16)]
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"{word} {i}", "arm": model, "quality": quality, "cost_usd": usd}
        for i, word in enumerate(words)
        for model, quality, usd in (("sim/a", i % 2, 0.001), ("sim/b", 1 - i % 2, 0.002))
    ]
    config = torch_train.TrainConfig(n_parts=2, networks=torch_train.NetworkConfig(max_epochs=2, n_hidden=4))
    router = fit("controller", from_table(outcomes.validate(pd.DataFrame(rows))), config=config)
    path = tmp_path_factory.mktemp("controller") / "router.ckpt"
    checkpoint.save(router, path)
    return path


def test_a_router_comes_back_as_a_model_that_maps_prompts_to_decisions(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    logged = tracking.log_router(Fixed("sim/a"), card(candidates=["sim/a", "sim/b"]), uri=uri)
    with connected(uri) as client:
        mlflow.set_tracking_uri(uri)
        model = mlflow.pyfunc.load_model(logged.model_uri)
        assert client.get_run(logged.run_id).data.metrics == {"regret": 0.1}
        assert "router.ckpt" in {artifact.path for artifact in client.list_artifacts(logged.run_id)}
    answer = model.predict(pd.DataFrame({"prompt": ["one", "two"]}))
    assert list(answer["model_id"]) == ["sim/a", "sim/a"]
    assert list(answer["propensity"]) == [1.0, 1.0]


def test_a_trained_controller_decides_the_same_from_mlflow_without_pickle_and_in_silence(
    controller: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "False")
    logged = tracking.log_router(controller, card(), uri=uri)
    assert capfd.readouterr() == ("", "")
    with connected(uri):
        mlflow.set_tracking_uri(uri)
        model = mlflow.pyfunc.load_model(logged.model_uri)
    texts = ["sum 3", "poem 4", "", "sum of a poem", "\u4f60\u597d"]
    answer = model.predict(pd.DataFrame({"prompt": texts}))
    router: Any = checkpoint.load(controller)
    models = router.models.model_ids
    decisions = [router.route(Prompt(str(n), text), models) for n, text in enumerate(texts)]
    assert list(answer["model_id"]) == [decision.model_id for decision in decisions]
    assert list(answer["predicted_quality"]) == [decision.predicted_quality for decision in decisions]


def test_a_checkpoint_that_is_logged_again_is_the_same_model(controller: Path, uri: str) -> None:
    first = tracking.log_router(controller, card(), uri=uri)
    assert tracking.log_router(controller, card(), uri=uri) == first
    other = tracking.log_router(Fixed("sim/a"), card(candidates=["sim/a"]), uri=uri)
    assert other.model_id != first.model_id
    with connected(uri) as client:
        experiment_id = client.get_experiment_by_name("routers").experiment_id
        assert len(client.search_logged_models([experiment_id])) == 2
        assert len(client.search_runs([experiment_id])) == 2


def test_a_model_is_found_from_the_run_that_measured_it(controller: Path, folder: Path, uri: str) -> None:
    run = log(folder, uri)
    logged = tracking.log_router(controller, card(name="sizes"), uri=uri, run=run)
    again = tracking.log_router(controller, card(name="sizes"), uri=uri, run=run)
    assert logged.run_id == run.run_id
    assert again == logged
    with connected(uri) as client:
        parent, model = client.get_run(run.run_id), client.get_logged_model(logged.model_id)
        assert [output.model_id for output in parent.outputs.model_outputs] == [logged.model_id]
        assert model.source_run_id == run.run_id
        assert parent.data.metrics["regret"] == 0.1


def test_a_router_without_models_needs_candidates(uri: str) -> None:
    with pytest.raises(ConfigError, match="name its candidates"):
        tracking.log_router(Fixed("sim/a"), card(), uri=uri)


@pytest.mark.parametrize("arm", ["512-token", "secret", "password-free"])
def test_an_arm_may_be_called_what_a_key_is_called(folder: Path, uri: str, arm: str) -> None:
    with connected(uri) as client:
        run = log(folder, uri, params={f"arm.{arm}": "sim/large"})
        assert client.get_run(run.run_id).data.params[f"arm.{arm}"] == "sim/large"
