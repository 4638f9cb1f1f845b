"""Intervals and exact tests of 0/1 scores against statsmodels, scipy and a published example."""

import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.proportions import (
    clopper_pearson,
    mcnemar,
    mcnemar_asymptotic,
    mcnemar_midp,
    newcombe,
    two_sample_proportions,
    wilson,
)


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
    for attempt in (wilson, clopper_pearson):
        with pytest.raises(error):
            attempt(k, n)
    with pytest.raises(error):
        newcombe(1, 2, k, n)
    with pytest.raises(error):
        two_sample_proportions(1, 2, k, n)


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


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (1, 20), (10, 20), (20, 20), (8123, 10_000)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_clopper_pearson_is_scipys_exact_interval(k, n, alpha):
    ours = clopper_pearson(k, n, alpha=alpha)
    reference = stats.binomtest(k, n).proportion_ci(1.0 - alpha, method="exact")
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_newcombe_gives_the_published_intervals():
    # Newcombe (1998), Statistics in Medicine 17, table II, method 10: 56/70 - 48/80 and 0/10 - 0/10.
    one, other = newcombe(56, 70, 48, 80), newcombe(0, 10, 0, 10)
    assert (round(one.low, 4), round(one.high, 4)) == (0.0524, 0.3339)
    assert (round(other.low, 4), round(other.high, 4)) == (-0.2775, 0.2775)


@pytest.mark.parametrize("counts", [(9, 10, 3, 10), (0, 4, 7, 9), (55, 1000, 70, 900)], ids=str)
def test_newcombe_is_that_of_statsmodels(counts):
    ours = newcombe(*counts, alpha=0.1)
    reference = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=0.1)
    assert (ours.low, ours.high) == pytest.approx(reference)


@pytest.mark.parametrize("counts", [(9, 10, 3, 10), (56, 70, 48, 80), (55, 1000, 70, 900)], ids=str)
def test_two_proportions_are_pearsons_chi_square(counts):
    k, n, j, m = counts
    ours = two_sample_proportions(*counts)
    reference = stats.chi2_contingency([[k, n - k], [j, m - j]], correction=False)
    assert (ours.statistic, ours.p_value) == pytest.approx((reference.statistic, reference.pvalue))


def test_samples_that_do_not_vary_do_not_differ():
    assert two_sample_proportions(5, 5, 9, 9).p_value == 1.0


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize(("b", "c"), [(10, 3), (40, 25), (1, 7), (0, 700)])
def test_asymptotic_mcnemar_is_that_of_statsmodels(b, c, correction):
    ours = mcnemar_asymptotic(b, c, correction=correction)
    reference = reference_mcnemar([[9, b], [c, 9]], exact=False, correction=correction)
    assert (ours.statistic, ours.p_value) == pytest.approx((reference.statistic, reference.pvalue))


def test_asymptotic_mcnemar_by_hand():
    assert mcnemar_asymptotic(150, 86).statistic == 64**2 / 236
    assert mcnemar_asymptotic(150, 86, correction=True).statistic == 63**2 / 236
    assert mcnemar_asymptotic(0, 0).p_value == mcnemar_asymptotic(4, 4, correction=True).p_value == 1.0


def test_negative_counts_are_refused():
    with pytest.raises(DataError, match="negative"):
        mcnemar(-1, 2)
