"""Tango's interval against constrained likelihood, published values and McNemar; exact odds against scipy."""

import math
import time

import numpy as np
import pytest
from scipy import optimize, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.paired_proportions import paired_odds_ratio, tango
from workbench.stats.proportions import mcnemar, mcnemar_asymptotic


def score_by_likelihood(n_better: int, n_worse: int, n: int, difference: float) -> float:
    """Tango's statistic with the nuisance share found by maximising the likelihood numerically."""

    def loss(share_worse: float) -> float:
        shares = share_worse + difference, share_worse, 1.0 - 2.0 * share_worse - difference
        counts = n_better, n_worse, n - n_better - n_worse
        return -sum(k * math.log(share) for k, share in zip(counts, shares, strict=True) if k)

    least, most = max(0.0, -difference), (1.0 - difference) / 2.0
    found = optimize.minimize_scalar(
        loss, bounds=(least + 1e-12, most - 1e-12), method="bounded", options={"xatol": 1e-12}
    )
    variance = (2.0 * found.x + difference - difference**2) / n
    return ((n_better - n_worse) / n - difference) / math.sqrt(variance)


@pytest.mark.parametrize("counts", [(40, 20, 160), (1, 7, 21), (3, 12, 40), (9, 9, 20)], ids=str)
@pytest.mark.parametrize("difference", [-0.6, -0.05, 0.0, 0.2, 0.5])
def test_score_is_that_of_the_constrained_likelihood(counts, difference):
    expected = score_by_likelihood(*counts, difference)
    assert tango(*counts).score(difference) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("counts", [(40, 20, 160), (1, 7, 21), (0, 3, 100), (5, 0, 9)], ids=str)
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_limits_are_where_the_score_is_the_normal_quantile(counts, alpha):
    pairs, z = tango(*counts), stats.norm.isf(alpha / 2)
    interval = pairs.interval(alpha)
    assert pairs.score(interval.low) == pytest.approx(z)
    assert pairs.score(interval.high) == pytest.approx(-z)


def test_interval_of_the_airway_study_is_the_published_one():
    # Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33: 1 against 7 of 21.
    interval = tango(1, 7, 21).interval()
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.517, -0.026)


def test_p_value_is_mcnemars_without_correction():
    pairs, reference = tango(40, 20, 160), mcnemar_asymptotic(40, 20)
    assert pairs.z**2 == pytest.approx(reference.statistic)
    assert pairs.p_value == pytest.approx(reference.p_value)
    assert pairs.p_at_most(0.0) == pytest.approx(reference.p_value / 2)
    assert pairs.p_at_least(0.0) == pytest.approx(1 - reference.p_value / 2)


def test_exchanging_the_arms_mirrors_the_interval():
    one, other = tango(12, 5, 60).interval(), tango(5, 12, 60).interval()
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_nothing_discordant_still_has_a_width_and_all_discordant_stays_in_range():
    z2 = stats.norm.isf(0.025) ** 2
    tied = tango(0, 0, 10).interval()
    assert (tied.low, tied.high) == pytest.approx((-z2 / (10 + z2), z2 / (10 + z2)))
    assert tango(0, 0, 10).p_value == 1.0
    assert (tango(5, 0, 5).interval().high, tango(0, 5, 5).interval().low) == (1.0, -1.0)


def test_a_million_pairs_take_milliseconds():
    start_s = time.process_time()
    interval = tango(150_000, 149_000, 1_000_000).interval()
    assert time.process_time() - start_s < 0.5
    wald = 1.959964 * math.sqrt(299_000 - 1_000**2 / 1e6) / 1e6
    assert interval.high - interval.low == pytest.approx(2 * wald, rel=1e-4)


@pytest.mark.parametrize("truth", [0.0, 0.1])
def test_interval_covers_as_often_as_it_says(truth):
    odds = [0.1 + truth, 0.1, 0.8 - truth]
    draws = np.random.default_rng(1).multinomial(40, odds, size=2000)
    kinds, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    intervals = [tango(int(b), int(c), 40).interval() for b, c in kinds]
    is_inside = [interval.low <= truth <= interval.high for interval in intervals]
    assert stats.binomtest(int(counts @ is_inside), 2000, 0.95, alternative="less").pvalue > 1e-3


@pytest.mark.parametrize(("b", "c"), [(10, 5), (1, 7), (6, 0), (0, 6), (120, 90)])
def test_odds_are_those_of_the_exact_binomial_interval(b, c):
    share = stats.binomtest(b, b + c).proportion_ci(0.95, method="exact")
    ours = paired_odds_ratio(b, c)
    assert ours.value == (b / c if c else math.inf)
    assert ours.low == pytest.approx(share.low / (1 - share.low))
    assert ours.high == (pytest.approx(share.high / (1 - share.high)) if c else math.inf)


def test_odds_interval_agrees_with_the_exact_test():
    for b, c in [(b, c) for b in range(15) for c in range(15) if b + c]:
        interval = paired_odds_ratio(b, c)
        assert (interval.low > 1.0 or interval.high < 1.0) is (mcnemar(b, c) < 0.05)


def test_counts_that_cannot_be_are_refused():
    for counts in ((-1, 2, 5), (3, 3, 5)):
        with pytest.raises(DataError):
            tango(*counts)
    with pytest.raises(InsufficientDataError):
        tango(0, 0, 0)
    with pytest.raises(DataError):
        paired_odds_ratio(-1, 2)
    with pytest.raises(InsufficientDataError):
        paired_odds_ratio(0, 0)
