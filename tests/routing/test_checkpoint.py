"""Saved routers: the same decisions after loading, one error for every damage, nothing run, nothing torn."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.catalog import Catalog, ModelSpec, Price
from workbench.errors import CheckpointError, ConfigError, RoutingError, StorageError
from workbench.routing import checkpoint
from workbench.routing.aim import parse_aim
from workbench.routing.base import Router
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.constraints import Constraints
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import Vote
from workbench.routing.exploration import Exploration, LinUCB, Thompson
from workbench.routing.feedback import Feedback
from workbench.routing.fusion import Fusion
from workbench.routing.network import NetworkConfig
from workbench.routing.online import Bandit, Learning
from workbench.routing.policy import Policy
from workbench.routing.promise import Promise
from workbench.routing.ranker import BestOf
from workbench.routing.registry import ROUTERS, fit
from workbench.routing.train import TrainConfig
from workbench.routing.training_data import TrainingData
from workbench.stats.estimate import Estimate
from workbench.types import Decoding, Prompt, Tool

QUICK = TrainConfig(n_parts=2, networks=NetworkConfig(max_epochs=2, n_hidden=4))
OPTIONS: dict[str, dict[str, Any]] = {
    "fixed": {"model_id": "acme/weak"},
    "controller": {
        "config": TrainConfig(n_parts=2, networks=NetworkConfig(max_epochs=2, n_hidden=4)),
        "cost_weight": 3.0,
    },
    "knn": {"k": 7, "cost_weight": 2.0},
}
PROMPTS = [Prompt(f"q{i}", text) for i, text in enumerate(["solve this algebra", "a short poem", "", "中文"])]


VOTE = Vote(("acme/strong", "acme/mid", "acme/weak"), np.array([2.0, 1.0, 0.5]), np.array([0.9, 0.7, 0.5]))
TOGETHER: dict[str, Router] = {
    "vote": VOTE,
    "best_of": BestOf(VOTE.model_ids, VOTE.reliability, np.arange(11.0)),
    "fusion": Fusion(VOTE, "acme/writer"),
}
BANDITS: dict[str, Callable[[TrainingData], tuple[Predictor, Exploration]]] = {
    "bandit": lambda data: (held(fit("knn", data, k=7)), LinUCB(0.5)),
    "bandit-of-a-controller": lambda data: (fit("controller", data, **OPTIONS["controller"]), Thompson()),
}


def taught(bandit: Bandit) -> Bandit:
    bandit.learn([Feedback(f"r{n}", prompt, "acme/weak", 0.9, 0.1, 0.1) for n, prompt in enumerate(PROMPTS)])
    return bandit


class Poison:
    """Unpickled, it makes a file: the proof that something was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module", params=[*ROUTERS, "cascade", "policy", *TOGETHER, *BANDITS])
def router(request: pytest.FixtureRequest, data: TrainingData) -> Router:
    if request.param in TOGETHER:
        return TOGETHER[request.param]
    if request.param in BANDITS:
        return taught(Bandit(*BANDITS[request.param](data)))
    if request.param == "cascade":
        return fit_cascade(replace(data, answers=np.where(data.quality > 0.5, "yes", "no").astype(object)))
    if request.param == "policy":
        return held(fit("knn", data, k=7))
    return fit(request.param, data, **OPTIONS.get(request.param, {}))


def held(router: Router) -> Policy:
    """A policy in which everything that it can say is said."""
    assert isinstance(router, Predictor)
    tool = Tool("look", "Looks something up.", "{}")
    price = Price(1.0, 2.0, "https://example.org", date(2026, 1, 1))
    models = [
        ModelSpec("acme", name, price, context_tokens=9_000, capabilities=frozenset({"tools"}))
        for name in ("weak", "mid")
    ]
    infinite = Estimate(3.0, 2.0, float("inf"))
    return Policy(
        router,
        cost_weight=2.0,
        latency_weight=0.5,
        constraints=Constraints(
            Catalog(models),
            allowed=frozenset({"acme/weak", "acme/mid"}),
            needs=frozenset({"tools"}),
            decoding=Decoding(max_output_tokens=64, stop=("end",), tools=(tool,)),
        ),
        promised=Promise(parse_aim("p95 under 3 s"), 90, "acme/mid", infinite, infinite, None, 2.0, infinite),
    )


@pytest.fixture(scope="module")
def controller(data: TrainingData) -> Router:
    return fit("controller", data, **OPTIONS["controller"])


def sealed(header: Any, payload: bytes = b"") -> bytes:
    """A file whose checksum is right, whatever is in it."""
    body = json.dumps(header).encode() + b"\n" + payload
    return b"workbench-router\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    line, _, payload = path.read_bytes().split(b"\n", 2)[2].partition(b"\n")
    return json.loads(line), payload


def arrays_of(payload: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def payload_of(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def test_a_loaded_router_decides_as_the_saved_one(router: Router, tmp_path: Path) -> None:
    checkpoint.save(router, tmp_path / "router.ckpt")
    loaded = checkpoint.load(tmp_path / "router.ckpt")
    models = ["acme/strong", "acme/weak", "acme/mid"]
    assert [loaded.route(p, models) for p in PROMPTS] == [router.route(p, models) for p in PROMPTS]


def test_a_bandit_comes_back_with_what_it_learned(data: TrainingData, tmp_path: Path) -> None:
    bandit = taught(Bandit(held(fit("knn", data, k=7)), LinUCB(0.5), learning=Learning(seed=3)))
    checkpoint.save(bandit, tmp_path / "bandit.ckpt")
    loaded = checkpoint.load(tmp_path / "bandit.ckpt")
    assert isinstance(loaded, Bandit)
    assert (loaded.exploration, loaded.learning) == (LinUCB(0.5), Learning(seed=3))
    learned, again = bandit.state().evidence, loaded.state().evidence
    assert learned.moment.any()
    assert learned.moment.tobytes() == again.moment.tobytes()
    assert learned.gram.tobytes() == again.gram.tobytes()
    again_told = Feedback("r0", PROMPTS[0], "acme/weak", 0.9, 0.1, 0.1)
    assert loaded.learn([again_told]) == 0, "it is known to have come"


@pytest.mark.parametrize(
    "change",
    [
        {"exploration": {"kind": "os.system", "settings": {}}},
        {"learning": {"epsilon": 0.0}},
        {"router": {"kind": "random", "settings": {"seed": 0}}},
        {"state": {}},
    ],
    ids=str,
)
def test_a_damaged_bandit_is_refused(data: TrainingData, tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "bandit.ckpt"
    checkpoint.save(Bandit(held(fit("knn", data, k=7))), path)
    header, payload = parts(path)
    learning = header["settings"]["learning"] | change.get("learning", {})
    settings = header["settings"] | change | {"learning": learning}
    path.write_bytes(sealed(header | {"settings": settings}, payload))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(path)


def test_a_fusion_of_one_member_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(Fusion(VOTE, "acme/writer"), tmp_path / "fusion.ckpt")
    checkpoint.save(VOTE.among(["acme/mid"]), tmp_path / "one.ckpt")
    header, _ = parts(tmp_path / "fusion.ckpt")
    one, payload = parts(tmp_path / "one.ckpt")
    arrays = {f"vote.{name}": array for name, array in arrays_of(payload).items()}
    header["settings"]["vote"] = one["settings"]
    (tmp_path / "fusion.ckpt").write_bytes(sealed(header, payload_of(arrays)))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(tmp_path / "fusion.ckpt")


def test_a_policy_comes_back_with_its_aim_and_its_constraints(data: TrainingData, tmp_path: Path) -> None:
    policy = held(fit("knn", data, k=7))
    checkpoint.save(policy, tmp_path / "router.ckpt")
    loaded = checkpoint.load(tmp_path / "router.ckpt")
    assert isinstance(loaded, Policy)
    assert (loaded.cost_weight, loaded.latency_weight, loaded.promised) == (2.0, 0.5, policy.promised)
    kept, said = loaded.constraints, policy.constraints
    assert (kept.allowed, kept.needs, kept.decoding) == (said.allowed, said.needs, said.decoding)
    assert list(kept.catalog) == list(said.catalog)
    with pytest.raises(RoutingError, match="acme/strong is not among the allowed models"):
        loaded.route(PROMPTS[0], ["acme/strong"])


@pytest.mark.parametrize(
    "change",
    [
        {"needs": ["telepathy"]},
        {"cost_weight": -1.0},
        {"latency_weight": float("nan")},
        {"allowed": 3},
        {"models": [{"provider": "acme"}]},
        {"models": [{"provider": "a", "model": "b", "price": {"input_usd_per_mtok": -1.0}}]},
        {"promised": {"aim": {"max_p95_s": -1.0}}},
        {"decoding": None},
    ],
    ids=str,
)
def test_a_damaged_policy_is_refused_and_never_loaded_without_its_constraints(
    data: TrainingData, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(held(fit("knn", data, k=7)), path)
    header, payload = parts(path)
    path.write_bytes(sealed(header | {"policy": header["policy"] | change}, payload))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(path)


def test_no_policy_holds_what_predicts_nothing(tmp_path: Path, data: TrainingData) -> None:
    checkpoint.save(held(fit("knn", data, k=7)), tmp_path / "policy")
    checkpoint.save(fit("random", data), tmp_path / "random")
    header, payload = parts(tmp_path / "random")
    header["policy"] = parts(tmp_path / "policy")[0]["policy"]
    (tmp_path / "random").write_bytes(sealed(header, payload))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(tmp_path / "random")


def test_saving_again_gives_the_same_router(router: Router, tmp_path: Path) -> None:
    checkpoint.save(router, tmp_path / "a")
    checkpoint.save(checkpoint.load(tmp_path / "a"), tmp_path / "b")
    assert parts(tmp_path / "a")[0] == parts(tmp_path / "b")[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused_with_its_name_and_sha256(
    router: Router, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(router, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=f"router.ckpt .sha256 {digest}"):
        checkpoint.load(path)


def test_any_flipped_bit_is_found(controller: Router, tmp_path: Path) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(controller, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*range(0, 120, 7), *rng.integers(0, len(content), 60)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n", b"\0" * 4096, b"workbench-router\n", b"workbench-router\nabc\n{}\n"],
    ids=["empty", "text", "zeros", "magic-alone", "wrong-digest"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match=hashlib.sha256(content).hexdigest()):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "schema is 9"),
        ({"features": "hashed-ngrams-9"}, "hashed-ngrams-9"),
        ({"kind": "oracle"}, "unknown kind"),
        ({"kind": ["knn"]}, "unknown kind"),
        ({"kind": "knn"}, "not a router"),
        ({"settings": None}, "not a router"),
        ({"settings": {}}, "not a router"),
    ],
    ids=str,
)
def test_another_version_or_kind_is_refused(
    controller: Router, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(controller, path)
    header, payload = parts(path)
    path.write_bytes(sealed(header | change, payload))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


@pytest.mark.parametrize("header", [[], 3, "x", None, {}], ids=repr)
def test_a_header_of_another_form_is_refused(tmp_path: Path, header: Any) -> None:
    (tmp_path / "x").write_bytes(sealed(header))
    with pytest.raises(CheckpointError, match="header lacks"):
        checkpoint.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("heads.networks.hidden", np.s_[:, 1:]),
        ("heads.networks.output", np.s_[:, 1:]),
        ("heads.ridges", np.s_[:-1]),
        ("heads.mix", np.s_[1:]),
        ("heads.position", np.s_[1:]),
        ("heads.neighbours.scores", np.s_[1:]),
        ("space.loadings", np.s_[1:]),
        ("heads.tasks.weights", np.s_[1:]),
        ("guard.home", np.s_[1:]),
        ("views.low", np.s_[1:]),
        ("calibration.found", np.s_[1:]),
    ],
)
def test_weights_of_another_architecture_are_refused(
    controller: Router, tmp_path: Path, name: str, part: Any
) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(controller, path)
    header, payload = parts(path)
    arrays = arrays_of(payload)
    path.write_bytes(sealed(header, payload_of(arrays | {name: arrays[name][part]})))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(path)


@pytest.mark.parametrize("kind", ["controller", "knn", "best_single"])
@pytest.mark.parametrize("form", ["torch", "pickle", "npz"])
def test_a_poisoned_pickle_is_refused_and_not_run(
    data: TrainingData, tmp_path: Path, kind: str, form: str
) -> None:
    path, marker = tmp_path / "router.ckpt", tmp_path / "marker"
    checkpoint.save(fit(kind, data, **OPTIONS.get(kind, {})), path)
    header, _ = parts(path)
    buffer = io.BytesIO()
    poison: Any = np.array([Poison(marker)], dtype=object)
    if form == "npz":
        np.savez(buffer, allow_pickle=True, quality=poison, cost=poison)
    elif form == "torch":
        torch.save({"members": [Poison(marker)], "arrays": {}}, buffer)
    else:
        pickle.dump(Poison(marker), buffer)
    for content in (sealed(header, buffer.getvalue()), buffer.getvalue()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            checkpoint.load(path)
    assert not marker.exists()


def test_the_poison_of_these_tests_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Poison(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["heads.networks.output_bias", "heads.ridges", "space.mean", "guard.away", "calibration.said"]
)
def test_weights_that_are_not_finite_are_refused(
    controller: Router, tmp_path: Path, value: float, name: str
) -> None:
    path = tmp_path / "router.ckpt"
    checkpoint.save(controller, path)
    header, payload = parts(path)
    arrays = arrays_of(payload)
    arrays[name].flat[0] = value
    path.write_bytes(sealed(header, payload_of(arrays)))
    with pytest.raises(CheckpointError, match="not a router"):
        checkpoint.load(path)


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no file"):
        checkpoint.load(tmp_path / "none")


def test_a_router_of_another_maker_cannot_be_saved(tmp_path: Path) -> None:
    class Mine:
        name = "mine"

        def route(self, prompt: Prompt, candidates: Any) -> Any: ...

    with pytest.raises(ConfigError, match="a Mine cannot be saved"):
        checkpoint.save(Mine(), tmp_path / "x")


def test_loading_leaves_torchs_random_state_alone(controller: Router, tmp_path: Path) -> None:
    checkpoint.save(controller, tmp_path / "x")
    before = torch.get_rng_state()
    checkpoint.load(tmp_path / "x")
    assert torch.equal(before, torch.get_rng_state())


KILLED_WHILE_SAVING = """
import os, random, signal, sys, time
from pathlib import Path
from workbench.routing import checkpoint

path = Path(sys.argv[1])
routers = [checkpoint.load(path.parent / name) for name in ("old", "new")]
started_s = time.monotonic()
checkpoint.save(routers[0], path)
save_s = time.monotonic() - started_s
for _ in range(50):
    child = os.fork()
    while child == 0:
        for router in routers:
            checkpoint.save(router, path)
    time.sleep(random.random() * 4 * save_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(checkpoint.load(path).name)
"""


@pytest.mark.slow
def test_a_kill_during_save_leaves_the_old_or_the_new(data: TrainingData, tmp_path: Path) -> None:
    for name, k in (("old", 3), ("new", 4), ("router", 3)):
        checkpoint.save(fit("knn", data, k=k), tmp_path / name)
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path / "router")]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread, check=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert len(found) == 50
    assert set(found) == {"knn-3", "knn-4"}
