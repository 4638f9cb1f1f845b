"""Pair metrics, calibration and intervals, against closed forms and examples worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.metrics import (
    apgr,
    apgr_resampled,
    brier,
    calibration_error,
    cpt,
    pair_curve,
)
from workbench.routing.resamples import Resamples, estimate, resamples


def draws(n: int, *, n_resamples: int, seed: int = 0) -> Resamples:
    return resamples(np.arange(n), n_resamples=n_resamples, seed=seed)


STRONG = np.array([1.0, 1.0, 1.0, 0.0])
WEAK = np.array([0.0, 1.0, 0.0, 1.0])
"""strong .75, weak .5, gap .25; per prompt +1, 0, +1, -1."""


def test_a_curve_worked_by_hand() -> None:
    curve = pair_curve(np.array([4.0, 2.0, 3.0, 1.0]), STRONG, WEAK)
    assert curve.strong_share.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert curve.quality.tolist() == [0.5, 0.75, 1.0, 1.0, 0.75]


def test_apgr_and_cpt_worked_by_hand() -> None:
    gain = np.array([4.0, 2.0, 3.0, 1.0])
    # area: (.5 + .75)/8 + (.75 + 1)/8 + (1 + 1)/8 + (1 + .75)/8 = .84375; (.84375 - .5) / .25 = 1.375
    assert apgr(gain, STRONG, WEAK) == pytest.approx(1.375)
    # half of the gap is .625, half way up the first piece; .8 of it is .7
    assert cpt(gain, STRONG, WEAK, recovered=0.5) == pytest.approx(0.125)
    assert cpt(gain, STRONG, WEAK, recovered=0.8) == pytest.approx(0.2)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_gains_are_exactly_random(n: int) -> None:
    strong = np.ones(n)
    weak = (np.arange(n) % 3 == 1).astype(float)
    constant = np.full(n, 0.3)
    assert apgr(constant, strong, weak) == pytest.approx(0.5, abs=1e-12)
    assert cpt(constant, strong, weak, recovered=0.8) == pytest.approx(0.8)
    assert np.allclose(apgr_resampled(constant, strong, weak, draws(n, n_resamples=20)), 0.5)


def test_the_order_of_tied_prompts_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    gain, strong, weak = rng.integers(0, 4, 200) / 4, rng.random(200) * 0.5 + 0.5, rng.random(200)
    shuffled = rng.permutation(200)
    assert apgr(gain, strong, weak) == pytest.approx(apgr(gain[shuffled], strong[shuffled], weak[shuffled]))


def test_a_random_ranking_is_one_half_in_expectation() -> None:
    rng = np.random.default_rng(1)
    values = [apgr(rng.random(4), STRONG, WEAK) for _ in range(4_000)]
    standard_error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < 4 * standard_error


def test_the_oracle_has_its_closed_form() -> None:
    # a = share won by strong, b = share lost: area over weak is a(1 - a/2) - b * b / 2, over the gap a - b
    won, lost, n = 30, 10, 100
    strong = np.r_[np.ones(won), np.zeros(lost), np.ones(n - won - lost)]
    weak = np.r_[np.zeros(won), np.ones(lost), np.ones(n - won - lost)]
    a, b = won / n, lost / n
    assert apgr(strong - weak, strong, weak) == pytest.approx((a * (1 - a / 2) - b * b / 2) / (a - b))
    assert cpt(strong - weak, strong, weak, recovered=0.5) == pytest.approx((a - b) / 2)


def test_reversing_the_ranking_mirrors_apgr() -> None:
    gain = np.array([4.0, 2.0, 3.0, 1.0])
    assert apgr(gain, STRONG, WEAK) + apgr(-gain, STRONG, WEAK) == pytest.approx(1.0)


def test_cpt_of_a_useless_ranking_is_reached_at_the_end() -> None:
    gain = np.array([0.0, 0.0, 0.0, 1.0])
    assert cpt(gain, STRONG, WEAK, recovered=1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("gain", "strong", "weak", "error"),
    [
        ([], [], [], InsufficientDataError),
        ([1.0], [1.0, 0.0], [0.0, 0.0], DataError),
        ([np.nan, 0.0], [1.0, 1.0], [0.0, 0.0], DataError),
        ([1.0, 0.0], [0.5, 0.5], [0.5, 0.5], DataError),
    ],
    ids=["empty", "lengths", "nan", "no-gap"],
)
def test_a_pair_that_cannot_be_measured_is_refused(
    gain: list[float], strong: list[float], weak: list[float], error: type[DataError]
) -> None:
    with pytest.raises(error):
        apgr(np.array(gain), np.array(strong), np.array(weak))


@pytest.mark.parametrize("recovered", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(recovered: float) -> None:
    with pytest.raises(DataError, match="recovered"):
        cpt(STRONG, STRONG, WEAK, recovered=recovered)


def test_resampled_apgr_is_apgr_of_the_resample() -> None:
    rng = np.random.default_rng(3)
    gain, strong, weak = rng.integers(0, 5, 60).astype(float), np.ones(60), rng.random(60)
    drawn = np.random.default_rng(9).integers(0, 60, size=(8, 60))
    expected = [apgr(gain[row], strong[row], weak[row]) for row in drawn]
    assert np.allclose(apgr_resampled(gain, strong, weak, draws(60, n_resamples=8, seed=9)), expected)


def test_the_interval_of_apgr_covers_it_95_times_of_100() -> None:
    rng = np.random.default_rng(4)
    n_covered = 0
    for seed in range(60):
        gain = rng.random(300)
        weak = (rng.random(300) > 0.6 * gain).astype(float)  # lost more often where gain is larger
        resampled = apgr_resampled(gain, np.ones(300), weak, draws(300, n_resamples=300, seed=seed))
        found = estimate(apgr(gain, np.ones(300), weak), resampled)
        # area of P(weak loses | gain > u) = .6 * (1 - (1 - f)^2) / 2, gap .3: integral gives 2/3
        n_covered += found.low <= 2 / 3 <= found.high
    assert n_covered >= 51  # 95 % coverage gives 57 +- 1.7; fewer than 51 has probability 0.001


def test_brier_is_scikit_learns_and_skips_what_was_not_seen() -> None:
    rng = np.random.default_rng(6)
    predicted, quality = rng.random((50, 3)), rng.integers(0, 2, (50, 3)).astype(float)
    assert brier(predicted, quality) == pytest.approx(brier_score_loss(quality.ravel(), predicted.ravel()))
    quality[:, 1] = np.nan
    assert brier(predicted, quality) == pytest.approx(brier(predicted[:, [0, 2]], quality[:, [0, 2]]))
    assert np.isnan(brier(predicted, np.full((50, 3), np.nan)))


def test_calibration_error_worked_by_hand() -> None:
    predicted = np.array([0.9, 0.9, 0.1, 0.1, 1.0])
    quality = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    # bins of width 1/15: .9 twice (mean .5, off .4), .1 twice (mean 0, off .1), 1.0 once (off 0)
    assert calibration_error(predicted, quality) == pytest.approx((2 * 0.4 + 2 * 0.1) / 5)
    assert calibration_error(np.full(10, 0.3), np.r_[np.ones(3), np.zeros(7)]) == pytest.approx(0.0)
