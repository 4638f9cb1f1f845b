"""A bandit goes on from its file as if it had never stopped."""

import hashlib

import numpy as np
import pytest

from routing.online_world import MODELS, PLAIN, Flat, prompt_at
from workbench.errors import CheckpointError, ConfigError
from workbench.routing.bandit_file import load_state, save_state
from workbench.routing.feedback import Feedback
from workbench.routing.online import Bandit, Learning

ROWS = [Feedback(f"r{i}", prompt_at(i / 30.0), MODELS[i % 3], float(i % 2), at=i) for i in range(30)]


def taught() -> Bandit:
    bandit = Bandit(Flat(), learning=Learning(half_life=50.0))
    for row in ROWS:
        bandit.route(row.prompt, MODELS)
    bandit.learn(ROWS)
    return bandit


def test_a_bandit_goes_on_from_its_file_as_if_it_had_never_stopped(tmp_path):
    bandit = taught()
    save_state(bandit.state(), tmp_path / "bandit.npz")
    again = Bandit(Flat(), learning=Learning(half_life=50.0), state=load_state(tmp_path / "bandit.npz"))
    assert again.n_asked == 30
    assert again.learn(ROWS) == 0
    for row in ROWS:
        assert again.route(row.prompt, MODELS) == bandit.route(row.prompt, MODELS)


def test_a_state_is_a_copy_that_later_feedback_does_not_change():
    bandit = taught()
    copy = Bandit(Flat(), state=bandit.state())
    before = copy.probabilities(ROWS[0].prompt, MODELS)
    bandit.learn([Feedback(f"more{i}", ROWS[0].prompt, MODELS[0], 1.0) for i in range(50)])
    assert copy.probabilities(ROWS[0].prompt, MODELS).tolist() == before.tolist()


def test_a_state_of_another_context_is_refused():
    with pytest.raises(ConfigError, match="2 dimensions, the router's have 4"):
        Bandit(PLAIN, state=taught().state())


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "foreign", "pickle"])
def test_a_file_that_is_no_state_is_refused_with_its_name_and_checksum(tmp_path, damage):
    path = tmp_path / "bandit.npz"
    save_state(taught().state(), path)
    if damage == "foreign":
        np.savez(path, weights=np.ones(3))
    elif damage == "pickle":
        np.savez(path, header=np.array([{"a": 1}], dtype=object))
    else:
        whole = path.read_bytes()
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a state"}[damage])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=f"bandit.npz .sha256 {digest}. was not loaded"):
        load_state(path)


def test_a_flipped_bit_is_found_or_harmless(tmp_path):
    path = tmp_path / "bandit.npz"
    state = taught().state()
    save_state(state, path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 29):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            loaded = load_state(path)
        except CheckpointError:
            continue
        assert loaded.evidence.gram.tobytes() == state.evidence.gram.tobytes()
        assert loaded.evidence.moment.tobytes() == state.evidence.moment.tobytes()
        assert (loaded.n_asked, loaded.seen.tolist()) == (state.n_asked, state.seen.tolist())
