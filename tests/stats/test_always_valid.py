"""The test that a run looks at: one definition for whole and piecewise use, errors as rare as promised."""

import math
import time

import numpy as np
import pytest
from scipy import integrate, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.always_valid import AlwaysValidTest, always_valid, non_inferiority, unit_means
from workbench.stats.bet_mixture import MeanSequence, log_e_values
from workbench.stats.confidence_sequence import betting_interval
from workbench.stats.e_process import log_e_value
from workbench.stats.sequential import mixture_scale, sequence_margin, steadied

METHODS = ["exact", "betting", "asymptotic"]


def outcomes(difference: float, discordant: float, n: int, seed: int) -> np.ndarray:
    """[n] differences of 0/1 scores."""
    chances = [(discordant - difference) / 2, 1 - discordant, (discordant + difference) / 2]
    return np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], p=chances, size=n)


def mixed_wealth(differences: np.ndarray, null: float) -> float:
    """What both halves of the gamblers together make of 1, by quadrature: the definition."""
    y, m = (differences + 1.0) / 2.0, (null + 1.0) / 2.0

    def more(u: float) -> float:
        return float(np.prod(1.0 + u * (y / m - 1.0)) * stats.beta.pdf((1.0 + u) / 2.0, 3.0, 3.0) / 2.0)

    def less(u: float) -> float:
        wealth = np.prod(1.0 + u * ((1.0 - y) / (1.0 - m) - 1.0))
        return float(wealth * stats.beta.pdf((1.0 + u) / 2.0, 3.0, 3.0) / 2.0)

    return sum(integrate.quad(side, 0.0, 1.0, epsrel=1e-9)[0] for side in (more, less))


def test_at_zero_the_mixture_of_bets_is_the_exact_test_of_discordant_pairs():
    differences = outcomes(0.05, 0.3, 800, 1)
    better, worse = np.cumsum(differences > 0), np.cumsum(differences < 0)
    assert log_e_values(differences) == pytest.approx(log_e_value(better, worse), abs=1e-3)
    one_sided = log_e_values(differences, side="greater")
    assert one_sided == pytest.approx(log_e_value(better, worse, side="greater"), abs=1e-3)
    assert log_e_values(-differences, side="less") == pytest.approx(one_sided)


@pytest.mark.parametrize("kind", ["0/1", "thirds", "continuous"])
def test_limits_are_where_the_wealth_reaches_one_over_alpha(kind):
    random = np.random.default_rng(2)
    differences = {
        "0/1": outcomes(0.1, 0.4, 120, 3),
        "thirds": random.integers(-3, 4, size=120) / 3.0,
        "continuous": random.beta(2.0, 2.0, size=120) - random.beta(2.0, 3.0, size=120),
    }[kind]
    result = always_valid(differences)
    low, high = result.trajectory.low, result.trajectory.high
    for limits in (low, -high):
        row = int(np.argmax(limits == limits[-1]))  # the look that gave the limit
        null = low[row] if limits is low else high[row]
        assert math.log(mixed_wealth(differences[: row + 1], null)) == pytest.approx(math.log(20.0), abs=0.03)


def test_more_values_than_are_counted_only_widen_the_interval():
    random = np.random.default_rng(6)
    coarse = random.integers(-8, 9, size=400) / 8.0
    fine = coarse + random.choice([-1e-7, 1e-7], size=400) * (np.abs(coarse) < 1.0)
    counted, binned = always_valid(coarse), always_valid(fine)
    assert binned.low == pytest.approx(counted.low, abs=1e-5)
    assert binned.high == pytest.approx(counted.high, abs=1e-5)
    in_between = random.uniform(-1.0, 1.0, size=400)
    found = always_valid(in_between)
    assert (
        log_e_values(in_between, null=found.low).max(),
        log_e_values(in_between, null=found.high).max(),
    ) >= (
        math.log(20.0),
        math.log(20.0),
    )


def test_equal_means_of_repeats_are_one_value_whatever_their_rounding():
    thirds = np.random.default_rng(3).integers(0, 4, size=(2, 300))
    rounded, exact = thirds[0] / 3.0 - thirds[1] / 3.0, (thirds[0] - thirds[1]) / 3.0
    sequence = MeanSequence(alpha=0.05)
    sequence.extend(rounded)
    assert len(np.unique(rounded)) > 7 == len(sequence.values)
    assert always_valid(rounded).high == pytest.approx(always_valid(exact).high, abs=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("continuous", [False, True], ids=["0/1", "continuous"])
def test_row_by_row_gives_what_all_at_once_gives(method, continuous):
    differences = outcomes(0.05, 0.4, 700, 8)
    if continuous:
        differences = differences * np.random.default_rng(1).integers(0, 15, size=700) / 14.0
    test = AlwaysValidTest(method=method)
    for row in differences:
        test.add([row])
    whole, piecewise = always_valid(differences, method=method), test.result()
    assert piecewise.decided_at == whole.decided_at
    for column in ("mean", "low", "high", "p_value"):
        assert getattr(piecewise.trajectory, column) == pytest.approx(
            getattr(whole.trajectory, column), abs=1e-9
        )


@pytest.mark.parametrize("method", METHODS)
def test_p_is_at_most_alpha_exactly_where_the_interval_excludes_zero(method):
    result = always_valid(outcomes(0.1, 0.3, 1500, 9), method=method)
    assert result.verdict == "better"
    first = int(np.argmax(result.trajectory.low >= -1e-8)) + 1
    assert first == result.decided_at
    assert result.trajectory.p_value[first - 2] > 0.05 >= result.trajectory.p_value[first - 1]


def test_betting_has_the_limits_of_the_betting_interval():
    differences = outcomes(0.1, 0.3, 600, 10)
    result, reference = always_valid(differences, method="betting"), betting_interval(differences)
    assert reference.low - 0.001 <= result.low <= reference.low
    assert reference.high <= result.high <= reference.high + 0.001


def test_asymptotic_has_the_margin_of_the_sequence_after_every_row():
    differences = outcomes(0.0, 0.3, 500, 11)
    trajectory = always_valid(differences, method="asymptotic", n_planned=500).trajectory
    variance = steadied(float(np.var(differences)), 500)
    margin = sequence_margin(500, variance, rho=mixture_scale(500), alpha=0.05)
    assert trajectory.high[-1] == pytest.approx(min(trajectory.high[-2], differences.mean() + margin))
    assert (np.diff(trajectory.high) <= 0.0).all()


@pytest.mark.parametrize("discordant", [0.02, 0.3, 1.0])
def test_looking_after_every_prompt_errs_in_at_most_five_of_a_hundred(discordant):
    n_runs = 200
    runs = [outcomes(0.0, discordant, 1000, seed) for seed in range(n_runs)]
    exact = sum(log_e_values(run).max() >= math.log(20.0) for run in runs)
    asymptotic = sum(always_valid(run, method="asymptotic").decided_at is not None for run in runs)
    assert max(exact, asymptotic) <= stats.binom.isf(0.001, n_runs, 0.05)


def test_three_thousand_looks_take_less_than_a_second():
    test, differences = AlwaysValidTest(), outcomes(0.0, 0.2, 3000, 12)
    start_s = time.process_time()
    for row in differences:
        test.add([row])
        test.result()
    assert time.process_time() - start_s < 1.0


def test_a_cluster_is_one_row_that_comes_with_its_last_prompt():
    differences, units = np.array([1.0, 0.0, -1.0, 0.5, 0.0]), np.array([7, 3, 7, 9, 3])
    assert unit_means(differences, units).tolist() == [0.0, 0.5, 0.0]
    assert always_valid(differences, units).n == 3


def test_a_difference_that_turns_is_said_and_not_decided():
    result = always_valid(np.concatenate([np.ones(200), -np.ones(2000)]))
    assert result.verdict == "undecided"
    assert "contradict" in (result.warning or "")
    assert result.low < result.high


def test_non_inferiority_is_shown_for_equal_arms_and_hardly_ever_for_a_loss_of_the_margin():
    assert non_inferiority(outcomes(0.0, 0.2, 2000, 13), margin=0.05).decided_at is not None
    n_runs = 200
    n_wrong = sum(
        non_inferiority(outcomes(-0.05, 0.2, 500, seed), margin=0.05).decided_at is not None
        for seed in range(n_runs)
    )
    assert n_wrong <= stats.binom.isf(0.001, n_runs, 0.05)


def test_no_prompt_is_no_answer():
    with pytest.raises(InsufficientDataError):
        AlwaysValidTest().result()
    with pytest.raises(InsufficientDataError):
        non_inferiority(np.array([]), margin=0.1)


@pytest.mark.parametrize("bad", [np.nan, 1.5], ids=["nan", "out of bounds"])
def test_a_bad_difference_is_named_by_its_row(bad):
    test = AlwaysValidTest()
    test.add([0.0, 1.0])
    with pytest.raises(DataError, match="row 3"):
        test.add([0.0, bad])


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(DataError, match="alpha"):
        AlwaysValidTest(alpha=0.0)
    with pytest.raises(DataError, match="no method"):
        AlwaysValidTest(method="naive")
    with pytest.raises(DataError, match="margin"):
        non_inferiority(np.zeros(3), margin=0.0)
    with pytest.raises(DataError, match="units"):
        always_valid(np.zeros(3), np.zeros(2, dtype=np.int64))
