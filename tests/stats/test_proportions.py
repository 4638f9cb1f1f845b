"""Intervals and exact tests of 0/1 scores against statsmodels, scipy and a published example."""

import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.proportions import mcnemar, mcnemar_midp, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (1, 20), (10, 20), (20, 20), (8123, 10_000)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_wilson_is_that_of_statsmodels(k, n, alpha):
    ours = wilson(k, n, alpha=alpha)
    assert (ours.low, ours.high) == pytest.approx(
        proportion_confint(k, n, alpha=alpha, method="wilson"), abs=1e-12
    )


def test_wilson_gives_newcombes_published_interval():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, method 3: .2553 to .3662.
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_wilson_contains_its_value_and_stays_in_range():
    for k in range(6):
        interval = wilson(k, 5)
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


@pytest.mark.parametrize(
    ("k", "n", "error"), [(0, 0, InsufficientDataError), (3, 2, DataError), (-1, 2, DataError)]
)
def test_impossible_proportion_is_refused(k, n, error):
    with pytest.raises(error):
        wilson(k, n)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 0), (3, 3), (10, 3), (40, 25), (0, 700)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    reference = reference_mcnemar([[9, b], [c, 9]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(min(1.0, reference))
    if b + c:
        assert mcnemar(b, c) == pytest.approx(stats.binomtest(b, b + c).pvalue)


def test_mcnemar_of_the_airway_study_matches_its_paper():
    # Fagerland et al. (2013), table 1 (Bentur et al. 2009): 1 against 7: exact .0703, mid-p .0391.
    assert round(mcnemar(1, 7), 4) == 0.0703
    assert round(mcnemar_midp(1, 7), 4) == 0.0391


def test_midp_is_never_above_the_exact_test():
    pairs = [(b, c) for b in range(12) for c in range(12)]
    assert all(0.0 < mcnemar_midp(b, c) <= mcnemar(b, c) <= 1.0 for b, c in pairs)


def test_negative_counts_are_refused():
    with pytest.raises(DataError, match="negative"):
        mcnemar(-1, 2)
