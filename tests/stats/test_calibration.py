"""Calibration against scikit-learn, hand-worked bins, and simulated scores that mean what they say."""

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.calibration import calibration
from workbench.stats.proportions import wilson


@pytest.fixture
def judged() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    score = random.random(500)
    return score, (random.random(500) < score**1.5).astype(float)


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_count", "quantile")])
def test_bins_and_brier_score_are_those_of_scikit_learn(judged, binning, strategy):
    result = calibration(*judged, binning=binning, n_resamples=10)
    score, outcome = judged
    shares, means = calibration_curve(outcome, score, n_bins=10, strategy=strategy)
    assert [part.mean_score for part in result.bins] == pytest.approx(means)
    assert [part.observed.value for part in result.bins] == pytest.approx(shares)
    assert result.brier.value == pytest.approx(brier_score_loss(outcome, score))


def test_two_bins_by_hand():
    # Scores 0.2, 0.2, 0.2 with one true; 0.9 with one true of one: |0.6 - 1| / 4 + |0.9 - 1| / 4.
    result = calibration(np.array([0.2, 0.2, 0.2, 0.9]), np.array([1, 0, 0, 1]), n_bins=2, n_resamples=50)
    assert result.ece.value == pytest.approx(0.4 / 4 + 0.1 / 4)
    assert [(part.low, part.high, part.n) for part in result.bins] == [(0.0, 0.5, 3), (0.5, 1.0, 1)]
    assert result.bins[0].observed == wilson(1, 3)


def test_a_score_between_two_bins_belongs_to_the_lower_one():
    score = np.array([0.0, 0.1, 0.2, 0.2, 0.5, 0.5, 0.7, 1.0, 1.0])
    outcome = np.array([0, 0, 1, 0, 1, 0, 1, 1, 1])
    result = calibration(score, outcome, n_resamples=10)
    shares, means = calibration_curve(outcome, score, n_bins=10)
    assert [part.mean_score for part in result.bins] == pytest.approx(means)
    assert [part.observed.value for part in result.bins] == pytest.approx(shares)


def test_spiegelhalters_z_by_hand():
    # Sum of (y - p)(1 - 2p): 0.8 x 0.6 + 0.1 x -0.8; of (1 - 2p)^2 p (1 - p): 0.36 x 0.16 + 0.64 x 0.09.
    result = calibration(np.array([0.2, 0.9]), np.array([1, 1]), n_resamples=10)
    assert result.z == pytest.approx((0.48 - 0.08) / np.sqrt(0.0576 + 0.0576))
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.z)))


def test_calibrated_scores_are_found_miscalibrated_as_rarely_as_promised():
    random, n_found, eces, expected = np.random.default_rng(1), 0, [], []
    for _ in range(200):
        score = random.beta(2, 2, size=200)
        result = calibration(score, (random.random(200) < score).astype(float), n_resamples=20)
        n_found += result.p_value <= 0.05
        eces.append(result.ece.value)
        expected.append(result.ece_of_calibrated)
    assert stats.binomtest(n_found, 200, 0.05).pvalue > 1e-3
    assert np.mean(expected) == pytest.approx(np.mean(eces), rel=0.05)


def test_overconfident_scores_are_found():
    random = np.random.default_rng(2)
    true = random.uniform(0.2, 0.8, size=600)
    score = np.clip(0.5 + 1.6 * (true - 0.5), 0.0, 1.0)
    result = calibration(score, (random.random(600) < true).astype(float), n_resamples=200)
    assert result.p_value < 0.01
    assert result.z > 0.0
    assert result.ece.low > result.ece_of_calibrated / 2


def test_interval_of_the_ece_covers_that_of_many_scores():
    # In each of four bins the score is 0.15 above the share: the ECE is 0.15.
    random, n_covered = np.random.default_rng(3), 0
    for seed in range(150):
        score = random.choice([0.3, 0.5, 0.7, 0.9], size=300)
        outcome = (random.random(300) < score - 0.15).astype(float)
        interval = calibration(score, outcome, n_resamples=150, seed=seed).ece
        n_covered += interval.low <= 0.15 <= interval.high
    assert stats.binomtest(n_covered, 150, 0.93, alternative="less").pvalue > 1e-3


@pytest.mark.parametrize(
    ("scores", "outcomes", "error"),
    [
        ([0.5, 1.2], [0, 1], DataError),
        ([0.5, np.nan], [0, 1], DataError),
        ([0.5, 0.2], [0, 2], DataError),
        ([0.5, 0.2], [0], DataError),
        ([0.5], [0], InsufficientDataError),
    ],
    ids=["out of range", "nan", "not binary", "lengths", "one"],
)
def test_bad_scores_are_refused(scores, outcomes, error):
    with pytest.raises(error):
        calibration(np.array(scores), np.array(outcomes))
