"""Off-policy estimates: by hand, over every log there can be, and by how often the interval covers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.off_policy import (
    PolicyValue,
    doubly_robust,
    importance_weights,
    ips,
    policy_difference,
    snips,
)
from workbench.stats.paired import paired_mean
from workbench.stats.policy_log import PolicyLog, expected_reward

CHANCE = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
TARGET = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
MEAN_REWARD = np.array([[0.9, 0.5, 0.2], [0.1, 0.4, 0.8]])
WRONG_MODEL = np.array([[0.3, 0.9, 0.1], [0.7, 0.7, 0.2]])


def make_log(n: int = 400, *, seed: int = 0, clusters: bool = False) -> tuple[PolicyLog, np.ndarray]:
    """A log of three actions and a policy that prefers the last, which is best."""
    random = np.random.default_rng(seed)
    chance = np.array([0.6, 0.2, 0.2])
    action = random.choice(3, size=n, p=chance)
    reward = (random.random(n) < np.array([0.4, 0.6, 0.8])[action]).astype(float)
    groups = np.arange(n) // 4 if clusters else None
    return PolicyLog(action, chance[action], reward, groups), np.tile([0.1, 0.1, 0.8], (n, 1))


def every_log() -> list[tuple[PolicyLog, float]]:
    """All logs of the two rows above with rewards 0 and 1, and the probability of each."""
    logs = []
    for actions in itertools.product(range(3), repeat=2):
        for rewards in itertools.product((0.0, 1.0), repeat=2):
            action, reward, rows = np.array(actions), np.array(rewards), np.arange(2)
            mean = MEAN_REWARD[rows, action]
            drawn = CHANCE[rows, action] * np.where(reward == 1.0, mean, 1.0 - mean)
            logs.append((PolicyLog(action, CHANCE[rows, action], reward), float(drawn.prod())))
    return logs


@pytest.mark.parametrize(
    "value",
    [lambda log: ips(log, TARGET), lambda log: doubly_robust(log, TARGET, model=WRONG_MODEL)],
    ids=["ips", "doubly robust with a wrong model"],
)
def test_the_mean_over_every_possible_log_is_the_true_value(value):
    logs = every_log()
    assert sum(chance for _, chance in logs) == pytest.approx(1.0)
    mean = sum(chance * value(log).estimate.value for log, chance in logs)
    assert mean == pytest.approx((TARGET * MEAN_REWARD).sum(axis=1).mean())


def test_a_right_model_is_unbiased_though_the_propensities_are_wrong():
    logs = [(PolicyLog(log.action, np.full(2, 0.9), log.reward), chance) for log, chance in every_log()]
    truth = (TARGET * MEAN_REWARD).sum(axis=1).mean()
    robust = sum(p * doubly_robust(log, TARGET, model=MEAN_REWARD).estimate.value for log, p in logs)
    assert robust == pytest.approx(truth)
    assert sum(p * ips(log, TARGET).estimate.value for log, p in logs) != pytest.approx(truth, rel=0.05)


def test_example_by_hand():
    # w = 0.8 / 0.2 = 4, 0.8 / 0.4 = 2, 0.2 / 0.8 = 1/4, 0; sum 6.25.
    log = PolicyLog(np.array([0, 0, 1, 2]), np.array([0.2, 0.4, 0.8, 0.5]), np.array([1.0, 0.5, 1.0, 1.0]))
    target = np.tile([0.8, 0.2, 0.0], (4, 1))
    assert importance_weights(log, target).tolist() == [4.0, 2.0, 0.25, 0.0]
    assert ips(log, target).estimate.value == pytest.approx((4.0 + 1.0 + 0.25) / 4)
    assert snips(log, target).estimate.value == pytest.approx(5.25 / 6.25)
    assert snips(log, target).effective_rows == pytest.approx(6.25**2 / (16 + 4 + 0.0625))
    # q = 1/2 everywhere: 1/2 + mean of w x (r - 1/2) = 1/2 + (2 + 0 + 1/8 + 0) / 4.
    robust = doubly_robust(log, target, model=np.full((4, 3), 0.5))
    assert robust.estimate.value == pytest.approx(0.5 + 2.125 / 4)
    # Without the row of weight 4: 1/2 + (1/8) / 4.
    switched = doubly_robust(log, target, model=np.full((4, 3), 0.5), max_weight=2.0)
    assert switched.estimate.value == pytest.approx(0.5 + 0.125 / 4)


def test_the_logging_policy_itself_has_the_mean_reward():
    log, _ = make_log()
    own = np.tile([0.6, 0.2, 0.2], (len(log), 1))
    plain = paired_mean(log.reward, bounds=(0.0, 1.0))
    for value in (ips(log, own), snips(log, own), doubly_robust(log, own, model=np.full((400, 3), 0.3))):
        assert value.estimate.value == pytest.approx(plain.estimate)
        assert value.standard_error == pytest.approx(plain.standard_error)
        assert (value.effective_rows, value.mean_weight) == pytest.approx((400.0, 1.0))
        assert value.warning is None


def test_standard_error_of_the_ratio_is_owens():
    log, target = make_log()
    weights, value = importance_weights(log, target), snips(log, target)
    share = weights / weights.sum()
    owen = np.sqrt((share**2 * (log.reward - value.estimate.value) ** 2).sum())
    assert value.standard_error == pytest.approx(owen, rel=0.002)


def test_rows_that_are_copies_of_a_cluster_count_once():
    log, target = make_log(200)
    repeated = PolicyLog(
        np.repeat(log.action, 3),
        np.repeat(log.propensity, 3),
        np.repeat(log.reward, 3),
        np.repeat(np.arange(200), 3),
    )
    once, thrice = snips(log, target), snips(repeated, np.repeat(target, 3, axis=0))
    assert thrice.estimate.low == pytest.approx(once.estimate.low)
    assert thrice.estimate.high == pytest.approx(once.estimate.high)
    assert thrice.n_clusters == 200


@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_one_factor_on_all_propensities_does_not_move_the_self_normalised(seed, factor):
    log, target = make_log(60, seed=seed)
    scaled = PolicyLog(log.action, log.propensity * factor, log.reward)
    before, after = snips(log, target).estimate, snips(scaled, target).estimate
    assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high))


@given(st.integers(0, 10**6))
def test_values_lie_in_their_intervals_and_the_ratio_in_the_bounds(seed):
    log, target = make_log(30, seed=seed)
    nothing = doubly_robust(log, target, model=np.zeros((30, 3)))
    plain, ratio = ips(log, target), snips(log, target)
    assert nothing.estimate == plain.estimate
    for value in (plain, ratio):
        assert value.estimate.low <= value.estimate.value <= value.estimate.high
        assert 1.0 <= value.effective_rows <= 30.0 + 1e-9
    assert 0.0 <= ratio.estimate.low <= ratio.estimate.high <= 1.0


@given(st.integers(0, 10**6))
def test_choices_and_certain_probabilities_are_the_same_target(seed):
    log, _ = make_log(40, seed=seed)
    choice = np.random.default_rng(seed).integers(3, size=40)
    model = np.random.default_rng(seed).random((40, 3))
    certain = np.eye(3)[choice]
    assert ips(log, choice).estimate == ips(log, certain).estimate
    assert doubly_robust(log, choice, model=model).influence == pytest.approx(
        doubly_robust(log, certain, model=model).influence
    )


def coverage(estimate, n: int, n_runs: int = 250) -> float:
    truth = 0.1 * 0.4 + 0.1 * 0.6 + 0.8 * 0.8
    found = [estimate(*make_log(n, seed=seed)).estimate for seed in range(n_runs)]
    return float(np.mean([value.low <= truth <= value.high for value in found]))


@pytest.mark.parametrize("n", [40, 600], ids=["40 rows", "600 rows"])
@pytest.mark.parametrize(
    "estimate",
    [ips, snips, lambda log, target: doubly_robust(log, target, model=np.full((len(log), 3), 0.7))],
    ids=["ips", "snips", "doubly robust"],
)
def test_interval_covers_about_as_often_as_it_says(estimate, n):
    assert 0.91 <= coverage(estimate, n) <= 0.99


def test_the_bootstrap_agrees_with_the_delta_method():
    log, target = make_log(1500)
    value = snips(log, target)
    drawn = value.bootstrap()
    width = value.estimate.high - value.estimate.low
    assert drawn.value == pytest.approx(value.estimate.value)
    assert drawn.low == pytest.approx(value.estimate.low, abs=0.06 * width)
    assert drawn.high == pytest.approx(value.estimate.high, abs=0.06 * width)


def test_ten_rows_that_all_succeeded_do_not_prove_certain_success():
    log = PolicyLog(np.zeros(10, dtype=int), np.full(10, 0.5), np.ones(10))
    interval = snips(log, np.zeros(10, dtype=int)).estimate
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert 0.6 < interval.low < 0.9


def test_interval_of_a_reward_without_bounds_covers_too():
    random, covered = np.random.default_rng(3), 0
    for _ in range(250):
        log, target = make_log(200, seed=int(random.integers(10**6)))
        cost = PolicyLog(log.action, log.propensity, random.gamma(0.5, 2.0, size=200), bounds=(0.0, np.inf))
        interval = snips(cost, target).estimate
        covered += interval.low <= 1.0 <= interval.high
    assert 0.90 <= covered / 250 <= 0.99


def test_difference_of_two_policies_is_closer_than_their_intervals_suggest():
    log, target = make_log(2000)
    challenger, champion = snips(log, target), snips(log, np.tile([0.1, 0.2, 0.7], (2000, 1)))
    difference = policy_difference(challenger, champion)
    assert difference.estimate.value == pytest.approx(challenger.estimate.value - champion.estimate.value)
    apart = np.hypot(challenger.standard_error, champion.standard_error)
    assert difference.standard_error < 0.3 * apart
    assert (difference.p_value < 0.05) == (not difference.estimate.low <= 0.0 <= difference.estimate.high)


def test_a_policy_does_not_differ_from_itself():
    log, target = make_log()
    difference = policy_difference(ips(log, target), ips(log, target))
    assert (difference.estimate.low, difference.estimate.high, difference.p_value) == (0.0, 0.0, 1.0)


def test_policies_of_two_logs_are_not_compared():
    with pytest.raises(DataError, match="one log"):
        policy_difference(ips(*make_log(seed=1)), ips(*make_log(seed=2)))


def warned(log: PolicyLog, target: np.ndarray) -> str:
    value: PolicyValue = snips(log, target)
    return value.warning or ""


def test_few_effective_rows_are_warned_of():
    log, target = make_log(50)
    assert "say as much as" in warned(log, target)


def test_choices_that_were_never_logged_are_warned_of():
    log, _ = make_log()
    target = np.tile([0.4, 0.2, 0.1, 0.3], (len(log), 1))
    assert snips(log, target).unsupported == pytest.approx(0.3)
    assert "30.0% of the policy's choices" in warned(log, target)


def test_a_log_without_chance_is_found_out_by_its_mean_weight():
    random = np.random.default_rng(1)
    action = random.integers(2, size=500)
    log = PolicyLog(action, np.ones(500), random.random(500))
    assert "the mean weight is 0" in warned(log, np.zeros(500, dtype=int))
    assert warned(log, action) == ""


def test_few_clusters_are_warned_of():
    log, target = make_log(2000)
    few = PolicyLog(log.action, log.propensity, log.reward, np.arange(2000) % 10)
    assert warned(few, target) == "only 10 clusters: the interval is rough"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("propensity", 0.0, "propensity is 0.0 in row 3"),
        ("propensity", np.nan, "propensity is nan in row 3"),
        ("propensity", 1.5, "propensity is 1.5 in row 3"),
        ("reward", np.nan, "reward is nan in row 3"),
        ("reward", 1.2, r"reward is 1.2 in row 3 .* in \[0, 1\]"),
        ("action", -1, "action is -1 in row 3"),
    ],
    ids=["propensity 0", "propensity nan", "propensity over 1", "reward nan", "reward over 1", "action"],
)
def test_a_bad_value_is_refused_by_row(column, value, message):
    log, _ = make_log(10)
    columns = {name: getattr(log, name).copy() for name in ("action", "propensity", "reward")}
    columns[column][3] = value
    with pytest.raises(DataError, match=message):
        PolicyLog(**columns)


@pytest.mark.parametrize(
    "target",
    [
        np.full((10, 3), 0.5),
        np.tile([1.5, -0.5, 0.0], (10, 1)),
        np.full((10, 3), np.nan),
        np.full(10, -1),
        np.zeros(9, dtype=int),
        np.ones((10, 3, 1)),
    ],
    ids=["sum", "negative", "nan", "negative action", "length", "shape"],
)
def test_a_target_that_is_no_policy_is_refused(target):
    with pytest.raises(DataError, match="target"):
        ips(make_log(10)[0], target)


def test_a_model_must_know_what_the_target_does():
    log, target = make_log(10)
    model = np.full((10, 3), 0.5)
    model[4, 2] = np.nan
    with pytest.raises(DataError, match="row 4"):
        doubly_robust(log, target, model=model)
    assert expected_reward(np.zeros(10, dtype=int), model).tolist() == [0.5] * 10
    with pytest.raises(DataError, match="does not fit"):
        doubly_robust(log, target, model=model[:, :2])


def test_a_log_without_one_row_of_the_target_says_nothing():
    log = PolicyLog(np.zeros(5, dtype=int), np.full(5, 0.5), np.ones(5))
    with pytest.raises(InsufficientDataError, match="none of the 5 logged choices"):
        ips(log, np.ones(5, dtype=int))


def test_one_row_or_uneven_columns_are_refused():
    with pytest.raises(InsufficientDataError):
        PolicyLog(np.array([0]), np.array([0.5]), np.array([1.0]))
    with pytest.raises(DataError, match="one value a row"):
        PolicyLog(np.array([0, 1]), np.array([0.5]), np.array([1.0, 1.0]))
