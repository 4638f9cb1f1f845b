"""Promotion: rarely wrong under constant looking, soon right, and honest about what it cannot know."""

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.stats.policy_log import PolicyLog
from workbench.stats.promotion import off_policy_gains, promotion


def paired_gains(gain: float, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], p=[0.1, 0.8 - gain, 0.1 + gain], size=n)


def traffic(gain: float, share: float, n: int, seed: int) -> PolicyLog:
    """The champion (action 0) is right seven times of ten; `share` of the rows go to the challenger."""
    random = np.random.default_rng(seed)
    action = (random.random(n) < share).astype(np.int64)
    reward = (random.random(n) < 0.7 + gain * action).astype(float)
    return PolicyLog(action, np.where(action == 1, share, 1.0 - share), reward)


def decide_traffic(log: PolicyLog, share: float, model: np.ndarray | None = None):
    ones, zeros = np.ones(len(log), dtype=int), np.zeros(len(log), dtype=int)
    gains = off_policy_gains(log, ones, zeros, max_weight=1.0 / min(share, 1.0 - share), model=model)
    return promotion(gains.values, bounds=gains.bounds)


def test_without_a_difference_constant_looking_errs_in_at_most_five_of_a_hundred():
    n_decided = sum(promotion(paired_gains(0.0, 2000, seed)).verdict != "undecided" for seed in range(400))
    assert n_decided <= 0.05 * 400


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_without_a_difference_randomised_traffic_errs_as_rarely(share):
    n_decided = sum(
        decide_traffic(traffic(0.0, share, 1500, seed), share).verdict != "undecided" for seed in range(300)
    )
    assert n_decided <= 0.05 * 300


def test_a_gain_of_ten_points_is_found_within_two_thousand_pairs():
    found = [promotion(paired_gains(0.1, 2000, seed)) for seed in range(50)]
    assert {decision.verdict for decision in found} == {"promote"}
    assert np.median([decision.decided_at for decision in found]) < 600


def test_a_gain_is_found_in_randomised_traffic():
    found = [decide_traffic(traffic(0.1, 0.5, 6000, seed), 0.5).verdict for seed in range(30)]
    assert found.count("promote") >= 27


def test_a_worse_challenger_is_kept_out():
    decision = promotion(-paired_gains(0.1, 2000, 1))
    assert decision.verdict == "keep"
    assert decision.gain.high < 0.0


def test_a_cheaper_challenger_may_lose_what_it_is_allowed_to():
    gains = paired_gains(0.0, 4000, 3)
    assert promotion(gains).verdict == "undecided"
    assert promotion(gains, min_gain=-0.05).verdict == "promote"
    assert promotion(gains, min_gain=0.05).verdict == "keep"


def test_a_verdict_stays_once_it_is_reached():
    gains = paired_gains(0.1, 2000, 5)
    row = promotion(gains).decided_at
    assert row is not None
    assert promotion(gains[:row]).verdict == "promote"
    assert promotion(gains[: row - 1]).verdict == "undecided"


def test_a_gain_that_turns_is_not_decided_but_said():
    decision = promotion(np.concatenate([np.full(500, 0.5), np.full(2000, -0.5)]))
    assert decision.verdict == "undecided"
    assert "the gain changed" in (decision.warning or "")
    assert decision.gain.low < decision.gain.high


def every_gain(model: np.ndarray | None) -> float:
    """The expectation of the mean gain over all logs of two rows, for chances 1/4 and 3/4."""
    total = 0.0
    for actions in np.ndindex(2, 2):
        for rewards in np.ndindex(2, 2):
            action, reward = np.array(actions), np.array(rewards, dtype=float)
            chance = np.where(action == 1, 0.25, 0.75)
            mean = np.where(action == 1, 0.9, 0.6)
            log = PolicyLog(action, chance, reward)
            gains = off_policy_gains(
                log, np.ones(2, dtype=int), np.zeros(2, dtype=int), max_weight=4.0, model=model
            )
            likelihood = (chance * np.where(reward == 1.0, mean, 1.0 - mean)).prod()
            total += likelihood * gains.values.mean()
    return float(total)


@pytest.mark.parametrize(
    "model", [None, np.array([[0.2, 0.7], [0.9, 0.1]])], ids=["mean before", "wrong model"]
)
def test_gain_is_unbiased_over_every_possible_log(model):
    assert every_gain(model) == pytest.approx(0.3)


def test_a_good_model_makes_gains_vary_less():
    random, log = np.random.default_rng(12), traffic(0.0, 0.5, 2000, 2)
    chance = np.where(random.random(2000) < 0.5, 0.95, 0.2)
    reward = (random.random(2000) < chance).astype(float)
    log, model = PolicyLog(log.action, log.propensity, reward), np.tile(chance[:, None], 2)
    ones, zeros = np.ones(2000, dtype=int), np.zeros(2000, dtype=int)
    without = off_policy_gains(log, ones, zeros, max_weight=2.0)
    informed = off_policy_gains(log, ones, zeros, max_weight=2.0, model=model)
    assert informed.values.std() < 0.8 * without.values.std()
    assert np.abs(informed.values).max() <= informed.bounds[1]


def test_rows_of_a_cluster_become_one_in_the_order_in_which_they_begin():
    log = traffic(0.1, 0.5, 6, 1)
    ones, zeros = np.ones(6, dtype=int), np.zeros(6, dtype=int)
    clustered = PolicyLog(log.action, log.propensity, np.full(6, 0.5), np.array([7, 7, 2, 7, 2, 5]))
    gains = off_policy_gains(clustered, ones, zeros, max_weight=2.0, model=np.zeros((6, 2))).values
    signs = np.where(log.action == 1, 1.0, -1.0)  # weight 2, reward 1/2
    expected = [signs[[0, 1, 3]].mean(), signs[[2, 4]].mean(), signs[5]]
    assert gains == pytest.approx(expected)


def test_no_gain_depends_on_a_cluster_that_begins_later():
    log = traffic(0.1, 0.5, 6, 1)
    ones, zeros, clusters = np.ones(6, dtype=int), np.zeros(6, dtype=int), np.array([0, 1, 0, 1, 2, 0])
    turned = np.where(clusters == 2, 1.0 - log.reward, log.reward)
    before, after = (
        off_policy_gains(
            PolicyLog(log.action, log.propensity, reward, clusters), ones, zeros, max_weight=2.0
        ).values
        for reward in (log.reward, turned)
    )
    assert before[:2] == pytest.approx(after[:2])
    assert before[2] != after[2]


def test_a_weight_that_the_design_rules_out_is_refused():
    log = traffic(0.0, 0.1, 100, 0)
    ones, zeros = np.ones(100, dtype=int), np.zeros(100, dtype=int)
    with pytest.raises(DataError, match="has the weight 10, max_weight is 5"):
        off_policy_gains(log, ones, zeros, max_weight=5.0)
    with pytest.raises(DataError, match="not in"):
        off_policy_gains(log, ones, zeros, max_weight=10.0, model=np.full((100, 2), 1.5))
