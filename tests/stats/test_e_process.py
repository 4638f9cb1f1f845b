"""The beta mixture on discordant pairs: against integrals, exact enumeration and its definition."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from workbench.errors import DataError
from workbench.stats.e_process import PRIOR, discordant_test, log_e_value, share_sequence


def by_integration(n_better: int, n_worse: int, share: float, side: str) -> float:
    """The likelihood ratio of every share to `share`, averaged over the prior, by quadrature."""
    low, high = {"two-sided": (0.0, 1.0), "greater": (share, 1.0), "less": (0.0, share)}[side]
    prior = stats.beta(*PRIOR)

    def ratio(theta: float) -> float:
        odds = n_better * math.log(theta / share) + n_worse * math.log((1.0 - theta) / (1.0 - share))
        return math.exp(odds) * float(prior.pdf(theta))

    area = integrate.quad(ratio, low, high, epsabs=1e-12, epsrel=1e-10)[0]
    return math.log(area / float(prior.cdf(high) - prior.cdf(low)))


@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(
    ("n_better", "n_worse", "share"), [(0, 0, 0.5), (7, 2, 0.5), (3, 30, 0.4), (40, 25, 0.6)]
)
def test_e_is_the_likelihood_ratio_averaged_over_the_prior(n_better, n_worse, share, side):
    expected = by_integration(n_better, n_worse, share, side)
    assert float(log_e_value(n_better, n_worse, share=share, side=side)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("side", "share"), [("two-sided", 0.5), ("greater", 0.5), ("less", 0.5)])
def test_the_mean_of_e_over_all_outcomes_is_one_under_the_null(side, share):
    n = 60
    better = np.arange(n + 1)
    chance = stats.binom.pmf(better, n, share)
    assert chance @ np.exp(log_e_value(better, n - better, side=side)) == pytest.approx(1.0)


def test_one_sided_e_has_a_mean_of_at_most_one_under_every_share_of_its_null():
    better = np.arange(61)
    e = np.exp(log_e_value(better, 60 - better, side="greater"))
    assert all(stats.binom.pmf(better, 60, share) @ e <= 1.0 + 1e-9 for share in (0.1, 0.3, 0.45, 0.5))


def chance_of_crossing(n: int, alpha: float) -> float:
    """That e ever is 1 / alpha within n fair pairs, by adding up all paths."""
    alive, crossed = {0: 1.0}, 0.0
    for pairs in range(1, n + 1):
        after: dict[int, float] = {}
        for better, chance in alive.items():
            for new in (better, better + 1):
                after[new] = after.get(new, 0.0) + chance / 2.0
        is_out = {b: float(log_e_value(b, pairs - b)) >= -math.log(alpha) for b in after}
        crossed += sum(chance for b, chance in after.items() if is_out[b])
        alive = {b: chance for b, chance in after.items() if not is_out[b]}
    return crossed


def test_looking_after_every_pair_errs_less_than_alpha_exactly():
    assert 0.01 < chance_of_crossing(150, 0.05) <= 0.05


def test_share_limits_are_where_e_reaches_one_over_alpha():
    low, high = share_sequence(np.array([30.0]), np.array([20.0]), alpha=0.1)
    for limit in (low[0], high[0]):
        assert float(log_e_value(30, 20, share=limit)) == pytest.approx(math.log(10.0), abs=1e-9)


def test_the_interval_excludes_a_half_exactly_when_the_test_is_decided():
    is_better = np.random.default_rng(4).random(400) < 0.65
    test = discordant_test(is_better)
    assert test.decided_at is not None
    excluded = (test.low > 0.5) | (test.high < 0.5)
    assert int(np.argmax(excluded)) + 1 == test.decided_at
    assert test.p_value == pytest.approx(math.exp(-test.log_e.max()))


def test_the_interval_holds_the_share_at_every_look():
    random, n_runs, share = np.random.default_rng(5), 400, 0.7
    missed = 0
    for _ in range(n_runs):
        test = discordant_test(random.random(300) < share)
        missed += not test.low[-1] <= share <= test.high[-1]
    assert missed <= stats.binom.isf(0.001, n_runs, 0.05)


def test_without_a_discordant_pair_nothing_is_known():
    test = discordant_test([])
    assert (test.p_value, test.decided_at, test.share.low, test.share.high) == (1.0, None, 0.0, 1.0)


@pytest.mark.parametrize(
    "arguments",
    [{"n_better": -1}, {"share": 0.0}, {"share": 1.0}, {"prior": (0.0, 1.0)}],
    ids=["negative count", "share 0", "share 1", "no prior"],
)
def test_what_cannot_be_tested_is_refused(arguments):
    with pytest.raises(DataError):
        log_e_value(**{"n_better": 1, "n_worse": 2, **arguments})


def test_concordant_pairs_are_refused_by_the_discordant_test():
    with pytest.raises(DataError, match="discordant ones only"):
        discordant_test([1, 0, -1])
