"""Running comparisons: the same differences as the analysis, in any order, and cheap."""

import itertools
import time

import numpy as np
import pytest

from workbench.experiment.running import RunningComparisons
from workbench.stats.sequential import mixture_scale, sequence_margin, steadied
from workbench.types import Outcome


def outcome(arm: str, prompt: int, quality: float | None, **fields) -> Outcome:
    return Outcome(f"p{prompt}", arm, "m", "fake", quality=quality, **fields)


def fed(outcomes, **settings):
    running = RunningComparisons(["a", "b"], "a", n_prompts=100, **settings)
    for one in outcomes:
        running.add(one)
    return running.snapshot()[0]


@pytest.fixture
def outcomes() -> list[Outcome]:
    random = np.random.default_rng(2)
    return [
        outcome(arm, i, float(random.random()), repeat=r) for i in range(40) for arm in "ab" for r in (0, 1)
    ]


def test_interval_is_that_of_the_finished_pairs(outcomes):
    means = np.array([one.quality for one in outcomes]).reshape(40, 2, 2).mean(axis=2)
    differences = means[:, 1] - means[:, 0]
    seen = fed(outcomes)
    margin = sequence_margin(40, steadied(differences.var(), 40), rho=mixture_scale(100))
    assert seen.n_prompts == 40
    assert seen.difference.value == pytest.approx(differences.mean())
    assert seen.difference.high == pytest.approx(differences.mean() + float(margin))


def test_order_of_arrival_does_not_matter(outcomes):
    shuffled = np.random.default_rng(0).permutation(len(outcomes))
    first, second = fed(outcomes), fed([outcomes[i] for i in shuffled])
    assert second.difference.low == pytest.approx(first.difference.low)
    assert second.difference.value == pytest.approx(first.difference.value)


def test_nothing_is_shown_before_two_pairs():
    assert fed([outcome("a", 0, 1.0), outcome("b", 0, 1.0), outcome("b", 1, 1.0)]).difference is None


def test_first_pairs_that_agree_say_almost_nothing():
    seen = fed([outcome(arm, i, 1.0) for i in range(5) for arm in "ab"])
    assert (seen.difference.low, seen.difference.high) == (-1.0, 1.0)


def test_errors_count_as_zero_and_unscored_answers_not_at_all():
    seen = fed(
        [outcome("a", i, 1.0) for i in range(3)]
        + [outcome("b", 0, None, error="ServerError"), outcome("b", 1, 0.5), outcome("b", 2, None)]
    )
    assert seen.n_prompts == 2
    assert seen.difference.value == pytest.approx(-0.75)


def test_clusters_count_as_one_unit_each():
    random = np.random.default_rng(1)
    scores = random.random((12, 2))
    alone = fed([outcome(arm, i, scores[i, k]) for i in range(12) for k, arm in enumerate("ab")])
    copies = itertools.product(range(12), range(3), enumerate("ab"))
    clustered = fed([outcome(arm, 3 * i + j, scores[i, k], cluster=str(i)) for i, j, (k, arm) in copies])
    assert clustered.n_prompts == 36
    assert clustered.difference.low == pytest.approx(alone.difference.low)


def test_more_arms_share_the_chance_of_error():
    running = RunningComparisons(["a", "b", "c"], "a", n_prompts=100)
    for i in range(50):
        for arm in "abc":
            running.add(outcome(arm, i, float((i + ord(arm)) % 2)))
    alone = fed([outcome(arm, i, float((i + ord(arm)) % 2)) for i in range(50) for arm in "ab"])
    assert [one.arm for one in running.snapshot()] == ["b", "c"]
    assert running.snapshot()[0].difference.high > alone.difference.high


def test_other_arms_are_ignored():
    assert fed([outcome("x", 0, 1.0)]).n_prompts == 0


def test_twenty_thousand_calls_with_a_look_after_each_take_seconds_at_most():
    running = RunningComparisons(["a", "b"], "a", n_prompts=10_000)
    start_s = time.process_time()
    for i in range(10_000):
        running.add(outcome("a", i, 1.0))
        running.add(outcome("b", i, 0.0))
    added_s = time.process_time() - start_s
    running.snapshot()
    assert added_s < 10.0
    assert time.process_time() - start_s - added_s < 0.1
