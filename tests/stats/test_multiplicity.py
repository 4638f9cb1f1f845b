"""Holm's correction against statsmodels, R's p.adjust and a hand-worked case."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from workbench.errors import DataError
from workbench.stats.multiplicity import holm


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_holm_is_that_of_statsmodels(n):
    p = np.random.default_rng(n).beta(0.5, 3.0, size=n)
    assert holm(list(p)) == pytest.approx(tuple(multipletests(p, method="holm")[1]))


def test_holm_by_hand():
    # sorted .01 .02 .03 .5, times 4 3 2 1: .04 .06 .06 .5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx((0.06, 0.04, 0.5, 0.06))


def test_one_comparison_is_not_changed_and_none_gives_none():
    assert holm([0.2]) == (0.2,)
    assert holm([]) == ()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(DataError):
        holm([0.5, p])
