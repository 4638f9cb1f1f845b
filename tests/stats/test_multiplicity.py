"""Corrections against statsmodels, scipy and hand-worked cases."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from workbench.errors import DataError
from workbench.stats.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    bonferroni,
    bonferroni_intervals,
    hochberg,
    holm,
)
from workbench.stats.paired import paired_mean

CORRECTIONS = {
    "holm": holm,
    "bonferroni": bonferroni,
    "simes-hochberg": hochberg,
    "fdr_bh": benjamini_hochberg,
    "fdr_by": benjamini_yekutieli,
}


@pytest.mark.parametrize("method", CORRECTIONS)
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_each_is_that_of_statsmodels(method, n):
    p = np.random.default_rng(n).beta(0.5, 3.0, size=n)
    assert CORRECTIONS[method](list(p)) == pytest.approx(tuple(multipletests(p, method=method)[1]))


@pytest.mark.parametrize("dependence", ["bh", "by"])
def test_false_discovery_rate_is_scipys_too(dependence):
    p = [0.001, 0.2, 0.03, 0.03, 0.9]
    ours = CORRECTIONS[f"fdr_{dependence}"](p)
    assert ours == pytest.approx(tuple(stats.false_discovery_control(p, method=dependence)))


def test_benjamini_and_hochbergs_own_example_rejects_four():
    # Benjamini & Hochberg (1995), section 3.2: four of 15 at 0.05, where Bonferroni rejects three.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(value <= 0.05 for value in benjamini_hochberg(p)) == 4
    assert sum(value <= 0.05 for value in bonferroni(p)) == 3


def test_bonferroni_intervals_exclude_0_where_the_corrected_p_value_says_so():
    random = np.random.default_rng(1)
    results = [paired_mean(random.uniform(-1, 1, size=50) * 0.8 + shift) for shift in (0.0, 0.18, 0.2)]
    corrected = bonferroni([result.p_value for result in results])
    intervals = bonferroni_intervals(results, alpha=0.05)
    assert [interval.low > 0.0 for interval in intervals] == [p < 0.05 for p in corrected]
    assert intervals[0] == results[0].interval(0.05 / 3)
    assert bonferroni_intervals([]) == ()


def test_holm_by_hand():
    # sorted .01 .02 .03 .5, times 4 3 2 1: .04 .06 .06 .5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx((0.06, 0.04, 0.5, 0.06))


def test_one_comparison_is_not_changed_and_none_gives_none():
    for correction in CORRECTIONS.values():
        assert correction([0.2]) == (0.2,)
        assert correction([]) == ()


@pytest.mark.parametrize("method", CORRECTIONS)
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(method, p):
    with pytest.raises(DataError):
        CORRECTIONS[method]([0.5, p])
