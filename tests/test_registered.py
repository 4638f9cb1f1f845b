"""Registered routers in the real MLflow store: versions, aliases, promotion, loading, and what is refused."""

import pickle
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import outcomes
from workbench.answers import settled
from workbench.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InsufficientDataError,
    RoutingError,
    TrackingError,
)
from workbench.publication import add_model
from workbench.routing.ballots import ballots_of
from workbench.routing.baselines import BestSingle, Fixed
from workbench.routing.cascade import Cascade
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.constraints import Constraints
from workbench.routing.contest import contest
from workbench.routing.ensemble import fit_majority
from workbench.routing.feedback import Feedback
from workbench.routing.fields import encoded
from workbench.routing.forecast import KnownModels
from workbench.routing.fusion import Fusion
from workbench.routing.online import Bandit
from workbench.routing.policy import Policy
from workbench.routing.ranker import fit_best_of
from workbench.routing.training_table import from_table
from workbench.server.registered import load_here
from workbench.settings import Settings
from workbench.stats.promotion import promotion
from workbench.types import Prompt

mlflow = pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
tracking = pytest.importorskip("workbench.tracking", reason="the extra 'tracking' is not installed")
from workbench import routers_session  # noqa: E402 - needs mlflow
from workbench.tracking.store import connected  # noqa: E402

MODELS = ("sim/a", "sim/b")
BETTER, WORSE = promotion(np.full(200, 0.5)), promotion(np.full(200, -0.5))


@pytest.fixture
def empty(fresh_store: Path, tmp_path: Path) -> str:
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="module")
def filled(fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions of the router `fleet`, and one of `other`."""
    path = tmp_path_factory.mktemp("filled") / "mlflow.db"
    shutil.copy(fresh_store, path)
    for model_id, name in (("sim/a", "fleet"), ("sim/b", "fleet"), ("sim/b", "other")):
        registered(f"sqlite:///{path}", model_id, name)
    return path


@pytest.fixture
def uri(filled: Path) -> str:
    """The store itself, for tests that change nothing in it."""
    return f"sqlite:///{filled}"


@pytest.fixture
def own(filled: Path, tmp_path: Path) -> str:
    """A copy of the database, to be changed; the artifacts are where they were."""
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy:
        source.backup(copy)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def artifact(uri: str, tmp_path: Path) -> Iterator[Path]:
    """The folder that fleet/1 is loaded from, which is as it was after the test."""
    folder = saved_folder(uri, tracking.versions("fleet", uri=uri)[1])
    shutil.copytree(folder, tmp_path / "before")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "before", folder)


def registered(uri: str, model_id: str = "sim/a", name: str = "fleet") -> Any:
    card = tracking.ModelCard("routers", {}, {}, ["2 + 2?"], candidates=MODELS)
    return tracking.register(tracking.log_router(Fixed(model_id), card, uri=uri), name, uri=uri)


def saved_folder(uri: str, version: Any) -> Path:
    """Where the store keeps what a version is loaded from."""
    with connected(uri) as client:
        location = str(client.get_logged_model(version.model_id).artifact_location)
    return Path(location.removeprefix("file://")) / "data" / "router"


def test_the_first_version_is_the_champion_and_the_next_its_challenger(uri: str) -> None:
    second, first = tracking.versions("fleet", uri=uri)
    assert (first.version, first.aliases, first.router) == (1, ("champion",), "fixed(sim/a)")
    assert (second.version, second.aliases) == (2, ("challenger",))
    assert tracking.versions(uri=uri)[:2] == [second, first]


def test_the_same_model_is_registered_once(own: str) -> None:
    first = tracking.versions("fleet", uri=own)[1]
    assert registered(own) == first
    assert registered(own, name="other").version == 2


@pytest.mark.parametrize("address", ["router:fleet@champion", "fleet@champion", "fleet", "router:fleet/1"])
def test_a_router_is_loaded_by_one_line(uri: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "False")
    import workbench

    loaded = workbench.load_router(address)
    assert loaded.version.address == "router:fleet/1"
    assert loaded.router.route(Prompt("p", "2 + 2?"), loaded.candidates).model_id == "sim/a"


def test_a_learned_router_comes_back_with_its_numbers(own: str) -> None:
    router = BestSingle(
        KnownModels(MODELS, np.array([0.5, 0.7]), np.array([1.0, 2.0]), np.array([np.nan, 1.0]))
    )
    logged = tracking.log_router(router, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=own)
    loaded = tracking.load_router(tracking.register(logged, "means", uri=own).address, uri=own)
    assert loaded.candidates == MODELS
    assert loaded.router.models.cost_usd.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("router:nobody@champion", "there is no router 'nobody'; those registered are: fleet, other"),
        (
            "router:fleet@next",
            "router 'fleet' has no alias 'next'; its versions are: 2 @challenger, 1 @champion",
        ),
        ("router:fleet/7", "router 'fleet' has no version 7; its versions are: 2 @challenger, 1 @champion"),
        ("models:/fleet@champion", "is no address of a router; write router:NAME@ALIAS"),
        ("", "is no address of a router"),
    ],
)
def test_what_is_not_registered_is_named_with_what_is(uri: str, address: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tracking.load_router(address, uri=uri)


def test_an_empty_registry_says_how_to_fill_it(empty: str) -> None:
    with pytest.raises(ConfigError, match="those registered are: none yet; workbench train registers one"):
        tracking.load_router("fleet", uri=empty)
    assert tracking.versions(uri=empty) == []
    with pytest.raises(ConfigError, match="there is no router 'x'"):
        tracking.versions("x", uri=empty)


def test_a_store_that_is_not_there_is_told_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TrackingError, match="did not answer for its routers") as caught:
        tracking.load_router("fleet", uri=f"http://me:canary@127.0.0.1:{port}")
    assert "canary" not in str(caught.value)


class Poison:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("content", ["pickle", "cut", "other"])
def test_a_changed_checkpoint_is_refused_and_nothing_runs(
    uri: str, artifact: Path, tmp_path: Path, content: str
) -> None:
    path = artifact / "router.ckpt"
    changed = {
        "pickle": pickle.dumps(Poison(tmp_path / "ran")),
        "cut": path.read_bytes()[:-1],
        "other": (saved_folder(uri, tracking.versions("other", uri=uri)[0]) / "router.ckpt").read_bytes(),
    }
    path.write_bytes(changed[content])
    with pytest.raises(CheckpointError, match=r"fleet/1 was not loaded: .*not the one that was registered"):
        tracking.load_router("fleet", uri=uri)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["", "[", "7", "{"])
def test_damaged_candidates_are_refused(uri: str, artifact: Path, text: str) -> None:
    (artifact / "candidates.json").write_text(text)
    with pytest.raises(CheckpointError, match="router:fleet/1 was not loaded"):
        tracking.load_router("fleet", uri=uri)


def test_a_missing_artifact_is_refused(uri: str, artifact: Path) -> None:
    shutil.rmtree(artifact)
    with pytest.raises(CheckpointError, match=r"router:fleet/1 was not loaded: .*no file"):
        tracking.load_router("fleet", uri=uri)


def test_a_model_that_is_not_ours_is_not_loaded(own: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    with connected(own) as client:
        client.create_registered_model("foreign")
        made = client.create_model_version("foreign", str(tmp_path / "foreign"))
        client.set_registered_model_alias("foreign", "champion", str(made.version))
    with pytest.raises(CheckpointError, match="not registered by the workbench, and loading it could run"):
        tracking.load_router("foreign", uri=own)


def test_a_promoted_challenger_is_the_champion_and_keeps_its_verdict(own: str) -> None:
    promoted = tracking.promote("fleet", BETTER, uri=own)
    assert (promoted.version, promoted.aliases) == (2, ("champion",))
    assert promoted.promotion.startswith("promote: +50.00 points [")
    assert tracking.load_router("fleet", uri=own).version == promoted
    with connected(own) as client:
        assert client.get_model_version("fleet", "2").description == f"fixed(sim/b); {promoted.promotion}"
    with pytest.raises(ConfigError, match="has no alias 'challenger'; its versions are: 2 @champion, 1"):
        tracking.promote("fleet", BETTER, uri=own)


def test_a_challenger_that_is_not_better_is_not_promoted(uri: str) -> None:
    with pytest.raises(RoutingError, match="was not promoted: keep: -50"):
        tracking.promote("fleet", WORSE, uri=uri)
    assert tracking.load_router("fleet", uri=uri).version.version == 1


def test_an_alias_moves_from_one_version_to_another(own: str) -> None:
    tracking.set_alias("fleet/1", "stable", uri=own)
    assert tracking.set_alias("fleet/2", "stable", uri=own).aliases == ("challenger", "stable")
    assert tracking.versions("fleet", uri=own)[1].aliases == ("champion",)


@pytest.mark.parametrize("alias", ["v2", "latest", "two words", ""])
def test_an_alias_that_mlflow_keeps_for_itself_is_refused(uri: str, alias: str) -> None:
    with pytest.raises(ConfigError, match="cannot be an alias"):
        tracking.set_alias("fleet", alias, uri=uri)


@pytest.mark.parametrize("name", ["a/b", "", "sk-canary1234567890abcdef"])
def test_a_name_that_cannot_be_a_routers_is_refused(uri: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registered(uri, name=name)
    assert "canary1234567890abcdef" not in str(caught.value)


def recorded(n: int = 300) -> pd.DataFrame:
    """The second model is right four times of five, the first one time of five."""
    return outcomes.validate(
        pd.DataFrame(
            {
                "prompt_id": f"p{i}",
                "prompt": f"task {i}",
                "arm": model,
                "provider": "sim",
                "model": model[4:],
                "quality": float((i % 5 == 0) == (model == "sim/a")),
            }
            for i in range(n)
            for model in MODELS
        )
    )


def test_a_contest_compares_what_the_chosen_models_did() -> None:
    data = from_table(recorded())
    verdict = contest(Fixed("sim/b"), Fixed("sim/a"), data)
    assert (verdict.verdict, verdict.n) == ("promote", 300)
    assert verdict.gain.value == pytest.approx(0.6)
    assert contest(Fixed("sim/a"), Fixed("sim/b"), data).verdict == "keep"
    assert contest(Fixed("sim/a"), Fixed("sim/a"), data, min_gain=-0.9).verdict == "promote"


def test_a_contest_needs_the_models_and_their_quality() -> None:
    data = from_table(recorded())
    with pytest.raises(DataError, match="none of the candidates"):
        contest(Fixed("x/y"), Fixed("sim/a"), data, candidates=(["x/y"], MODELS))
    holed = from_table(recorded().drop(index=1))
    with pytest.raises(DataError, match="sim/b for prompt 'p0', which has no quality"):
        contest(Fixed("sim/b"), Fixed("sim/a"), holed)


def test_the_terminal_lists_and_promotes_by_the_outcomes_it_is_given(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", own)
    monkeypatch.setenv("COLUMNS", "200")
    outcomes.write(recorded(), tmp_path / "table.parquet")
    assert not routers_session.promote("fleet", table=tmp_path / "table.parquet", min_gain_points=90.0)
    assert "fleet: keep: +60.00 points [" in capsys.readouterr().out
    assert routers_session.promote("fleet", table=tmp_path / "table.parquet", min_gain_points=0.0)
    assert "router:fleet/2 is now @champion" in capsys.readouterr().out
    routers_session.set_alias("fleet/1", "former")
    routers_session.list_routers()
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines() if line.startswith(" fleet")]
    assert [line[1:4] for line in lines] == [
        ["2", "@champion", "fixed(sim/b)"],
        ["1", "@former", "fixed(sim/a)"],
    ]
    assert printed.count("promote: +60.00 points") == 1


def test_an_empty_registry_is_said_to_be_empty(
    empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", empty)
    routers_session.list_routers()
    assert "no router is registered" in capsys.readouterr().out


def rhymed(models: tuple[str, ...], n: int = 60) -> pd.DataFrame:
    """sim/a adds, all others rhyme."""
    words = ("add two numbers", "write a poem")
    return outcomes.validate(
        pd.DataFrame(
            {
                "prompt_id": f"p{i}",
                "prompt": f"{words[i % 2]} {i}",
                "arm": model,
                "quality": float((i % 2 == 0) == (model == "sim/a")),
                "cost_usd": 0.001,
                "response": str(i) if (i % 2 == 0) == (model == "sim/a") else f"no {model}",
            }
            for i in range(n)
            for model in models
        )
    )


@pytest.fixture
def taught(empty: str) -> str:
    """A store in which the champion of `taught` is a controller of two models."""
    train = pytest.importorskip("workbench.routing.train", reason="the extra 'torch' is not installed")
    table = rhymed(MODELS)
    router = train.fit_controller(from_table(table, model_ids={model: model for model in MODELS}))
    card = tracking.ModelCard("routers", {}, {}, ["2 + 2?"])
    tracking.register(tracking.log_router(router, card, uri=empty), "taught", uri=empty)
    return empty


def test_a_model_is_added_from_its_outcomes_as_the_next_version(
    taught: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", taught)
    outcomes.write(rhymed(("new/c",), n=20), tmp_path / "new.parquet")
    routers_session.add_model("router:taught", tmp_path / "new.parquet", "new/c")
    printed = capsys.readouterr().out
    assert "router:taught/2 is the router with new/c" in printed
    assert "20 outcomes place it roughly; 32 do nearly as well" in printed
    loaded = tracking.load_router("router:taught@challenger", uri=taught)
    assert loaded.candidates == (*MODELS, "new/c")
    poem, sums = Prompt("p", "write a poem 7"), Prompt("q", "add two numbers 8")
    assert loaded.router.route(poem, ["sim/a", "new/c"]).model_id == "new/c"
    assert loaded.router.route(sums, ["sim/a", "new/c"]).model_id == "sim/a"


@pytest.mark.parametrize(
    ("address", "models", "model_id", "told"),
    [
        ("taught", MODELS, "sim/a", "the router knows sim/a already"),
        ("taught", MODELS, "new/c", "there is no outcome of new/c; the rows are of replay/sim/a"),
        ("nobody", ("new/c",), "new/c", "there is no router 'nobody'"),
    ],
)
def test_a_model_that_cannot_be_added_is_named(
    taught: str, address: str, models: tuple[str, ...], model_id: str, told: str
) -> None:
    settings = Settings(tracking_uri=taught)
    with pytest.raises(ConfigError, match=told):
        add_model(address, rhymed(models), model_id, settings=settings)


def test_too_few_outcomes_of_a_new_model_are_refused(taught: str) -> None:
    rows = pd.concat([rhymed(MODELS), rhymed(("new/c",), n=1)])
    with pytest.raises(InsufficientDataError, match="new/c has 1 scored outcomes; two or more place it"):
        add_model("taught", rows, "new/c", settings=Settings(tracking_uri=taught))


def test_only_a_controller_learns_a_model_without_being_fitted_again(uri: str) -> None:
    with pytest.raises(
        ConfigError, match=r"added to a learned controller; router fixed.sim/a. must be fitted"
    ):
        add_model("fleet", rhymed(("new/c",)), "new/c", settings=Settings(tracking_uri=uri))


def test_a_cascade_is_registered_and_loaded_by_its_alias(empty: str) -> None:
    cascade = fit_cascade(from_table(rhymed((*MODELS, "sim/c"))))
    logged = tracking.log_router(cascade, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    assert tracking.register(logged, "cheap", uri=empty).aliases == ("champion",)
    loaded = tracking.load_router("router:cheap@champion", uri=empty)
    assert isinstance(loaded.router, Cascade)
    assert loaded.candidates == ("replay/sim/a", "replay/sim/b", "replay/sim/c")
    assert loaded.router.next(Prompt("p", "write a poem 7"), []) == cascade.next(
        Prompt("p", "write a poem 7"), []
    )


@pytest.mark.parametrize("rule", ["majority_vote", "best_of_3", "fusion"])
def test_an_ensemble_is_registered_and_loaded_by_its_alias(empty: str, rule: str) -> None:
    data = from_table(rhymed((*MODELS, "sim/c")))
    vote = fit_majority(data)
    made = {
        "majority_vote": vote,
        "best_of_3": fit_best_of(data, ballots_of(data, final_answer=settled), data.model_ids),
        "fusion": Fusion(vote, "sim/writer"),
    }[rule]
    logged = tracking.log_router(made, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    assert tracking.register(logged, "together", uri=empty).router == rule
    loaded = tracking.load_router("router:together@champion", uri=empty)
    assert set(loaded.candidates) == {*vote.model_ids, *(["sim/writer"] if rule == "fusion" else [])}
    assert encoded_texts(loaded.router) == encoded_texts(made)
    assert loaded.router.route(Prompt("p", "Hi"), loaded.candidates).model_id == made.model_ids[0]


def test_a_bandit_is_registered_with_what_it_learned_and_loaded_by_its_alias(empty: str) -> None:
    means = KnownModels(MODELS, np.array([0.5, 0.7]), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    bandit, asked = Bandit(BestSingle(means)), Prompt("p", "Hi")
    bandit.learn([Feedback(f"r{n}", asked, "sim/a", 1.0) for n in range(50)])
    logged = tracking.log_router(bandit, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    assert tracking.register(logged, "learns", uri=empty).router == "thompson(best_single)"
    loaded = tracking.load_router("router:learns@champion", uri=empty)
    assert isinstance(loaded.router, Bandit)
    assert loaded.candidates == MODELS
    assert loaded.router.probabilities(asked, MODELS).tolist() == bandit.probabilities(asked, MODELS).tolist()
    assert loaded.router.route(asked, MODELS) == bandit.route(asked, MODELS)


def test_what_several_models_answer_is_a_model_of_mlflow_too(empty: str) -> None:
    vote = fit_majority(from_table(rhymed((*MODELS, "sim/c"))))
    logged = tracking.log_router(vote, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    with connected(empty):
        mlflow.set_tracking_uri(empty)
        loaded = mlflow.pyfunc.load_model(logged.model_uri)
    assert loaded.metadata.signature.inputs.input_names() == ["prompt"]
    assert loaded.input_example["prompt"].tolist() == ["Hi"]
    decided = loaded.predict(pd.DataFrame({"prompt": ["Hi", "Ho"]}))
    assert decided["model_id"].tolist() == [vote.model_ids[0]] * 2


def test_the_server_asks_a_registered_ensemble_as_one(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", empty)
    vote = fit_majority(from_table(rhymed((*MODELS, "sim/c"))))
    logged = tracking.log_router(vote, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    version = tracking.register(logged, "together", uri=empty)
    target = load_here("router:together@champion")
    assert target.panel is not None
    assert target.panel.model_ids == vote.model_ids
    assert target.version == version.address


def encoded_texts(router: Any) -> list[str]:
    settings, arrays = encoded(router)
    return [str(settings), *(f"{name} {array.tolist()}" for name, array in arrays.items())]


def test_a_policy_keeps_its_constraints_in_the_registry(empty: str) -> None:
    means = KnownModels(MODELS, np.array([0.5, 0.7]), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    policy = Policy(BestSingle(means), constraints=Constraints(allowed=frozenset({"sim/a"})))
    logged = tracking.log_router(policy, tracking.ModelCard("routers", {}, {}, ["Hi"]), uri=empty)
    loaded = tracking.load_router(tracking.register(logged, "held", uri=empty).address, uri=empty)
    assert loaded.router.route(Prompt("p", "Hi"), loaded.candidates).model_id == "sim/a"
