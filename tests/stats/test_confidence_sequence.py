"""Intervals that hold at every look: against the plain definition, and by how rarely they err."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.confidence_sequence import (
    betting_interval,
    empirical_bernstein_sequence,
    first_above,
)


def wealth_by_definition(values: np.ndarray, mean: float, sign: int, alpha: float = 0.05) -> float:
    """The most that betting ever made of 1, a row at a time, as theorem 3 of the source reads."""
    wealth = best = 1.0
    total, squares = 0.5, 0.25
    variance = 0.25
    for t, value in enumerate(values, start=1):
        bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1)))
        bet = min(bet, 0.75 / (mean if sign > 0 else 1 - mean))
        wealth *= 1 + sign * bet * (value - mean)
        best = max(best, wealth)
        total += value
        squares += (value - total / (t + 1)) ** 2
        variance = squares / (t + 1)
    return best


def test_limits_are_where_the_wealth_reaches_two_over_alpha():
    values = np.random.default_rng(3).beta(2.0, 3.0, size=150)
    interval = betting_interval(values, bounds=(0.0, 1.0))
    assert wealth_by_definition(values, interval.low, +1) == pytest.approx(40.0, rel=1e-6)
    assert wealth_by_definition(values, interval.high, -1) == pytest.approx(40.0, rel=1e-6)


def test_bernstein_limits_are_those_of_the_closed_form_by_hand():
    # Theorem 2 for one row: bet min(3/4, sqrt(2 log 40 / (1/4 log 2))) = 3/4, centre x, surprise (x - 1/2)^2.
    low, high = empirical_bernstein_sequence(np.array([0.4]), bounds=(0.0, 1.0))
    margin = (math.log(40.0) + 0.1**2 * (math.log(4.0) - 0.75)) / 0.75
    assert (low[0], high[0]) == (max(0.4 - margin, 0.0), min(0.4 + margin, 1.0))
    many = np.tile([0.2, 0.6], 2000)
    low, high = empirical_bernstein_sequence(many, bounds=(0.0, 1.0))
    assert 0.3 < low[-1] < 0.4 < high[-1] < 0.5


def test_betting_is_the_narrower_where_rows_are_few():
    values = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=150)
    low, high = empirical_bernstein_sequence(values)
    interval = betting_interval(values)
    assert interval.high - interval.low < 0.9 * (high[-1] - low[-1])


def test_the_bernstein_curve_only_narrows_and_rarely_misses_at_any_row():
    n_runs, missed = 400, 0
    random = np.random.default_rng(8)
    for _ in range(n_runs):
        low, high = empirical_bernstein_sequence(
            random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=1000)
        )
        assert (np.diff(low) >= 0.0).all()
        assert (np.diff(high) <= 0.0).all()
        missed += not low[-1] <= 0.0 <= high[-1]
    assert missed <= 0.05 * n_runs


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=60))
def test_a_later_look_never_widens_the_interval(values):
    first, later = betting_interval(np.array(values[:-1])), betting_interval(np.array(values))
    assert later.low >= first.low - 1e-9
    assert later.high <= first.high + 1e-9


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60))
def test_turned_values_have_the_turned_interval(values):
    one, other = betting_interval(np.array(values)), betting_interval(-np.array(values))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-9)


@pytest.mark.parametrize("probabilities", [(0.5, 0.0, 0.5), (0.1, 0.8, 0.1), (0.002, 0.99, 0.008)])
def test_looking_after_every_row_rarely_misses_the_mean(probabilities):
    n_runs, random = 400, np.random.default_rng(7)
    mean = probabilities[2] - probabilities[0]
    missed = 0
    for _ in range(n_runs):
        values = random.choice([-1.0, 0.0, 1.0], p=probabilities, size=1000)
        interval = betting_interval(values)
        missed += not interval.low <= mean <= interval.high
    assert missed <= 0.05 * n_runs


def test_first_row_above_is_where_the_interval_first_excludes_the_mean():
    values = np.random.default_rng(5).choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=500)
    row = first_above(values, 0.0)
    assert row is not None
    assert betting_interval(values[:row]).low >= 0.0 > betting_interval(values[: row - 1]).low
    assert first_above(-values, 0.0) is None
    assert (first_above(values, -2.0), first_above(values, 1.0)) == (1, None)


def test_ten_thousand_rows_take_less_than_a_tenth_of_a_second():
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=10_000)
    betting_interval(values)
    start_s = time.process_time()
    betting_interval(values)
    assert time.process_time() - start_s < 0.1


@pytest.mark.parametrize(
    ("values", "alpha", "error"),
    [
        ([], 0.05, InsufficientDataError),
        ([0.0, np.nan], 0.05, DataError),
        ([0.0, 1.5], 0.05, DataError),
        ([0.0], 0.0, DataError),
        ([0.0], 1.0, DataError),
    ],
    ids=["none", "nan", "out of bounds", "alpha 0", "alpha 1"],
)
def test_bad_input_is_refused(values, alpha, error):
    with pytest.raises(error):
        betting_interval(np.array(values), alpha=alpha)


def test_numbers_without_bounds_are_refused():
    with pytest.raises(DataError, match="finite"):
        betting_interval(np.zeros(3), bounds=(0.0, np.inf))
