"""The confidence sequence: its closed form, its best size, and how rarely it errs under constant looking."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from workbench.errors import DataError
from workbench.stats.sequential import mixture_scale, sequence_margin, steadied


def test_margin_is_the_root_of_the_gaussian_mixture():
    # exp(rho^2 S^2 / (2 (n rho^2 + 1))) / sqrt(n rho^2 + 1) crosses 1/alpha at S = n * margin (Robbins 1970).
    n, rho, alpha = 250, 0.11, 0.05
    total = n * float(sequence_margin(n, 1.0, rho=rho, alpha=alpha))
    scaled = n * rho**2 + 1.0
    assert math.exp(rho**2 * total**2 / (2 * scaled)) / math.sqrt(scaled) == pytest.approx(1 / alpha)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("n", [20, 1000])
def test_scale_makes_the_target_size_the_narrowest(n, alpha):
    best = optimize.minimize_scalar(
        lambda log_rho: float(sequence_margin(n, 1.0, rho=math.exp(log_rho), alpha=alpha)),
        bounds=(-12.0, 4.0),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert mixture_scale(n, alpha=alpha) == pytest.approx(math.exp(best.x), rel=1e-4)


def test_margin_scales_with_the_standard_deviation_and_shrinks():
    rho = mixture_scale(500)
    margins = sequence_margin(np.array([10, 100, 1000]), 4.0, rho=rho)
    assert margins == pytest.approx(2.0 * sequence_margin(np.array([10, 100, 1000]), 1.0, rho=rho))
    assert (np.diff(margins) < 0).all()


def test_margin_at_the_target_is_about_half_as_wide_again_as_the_fixed_one():
    margin = float(sequence_margin(1000, 1.0, rho=mixture_scale(1000)))
    assert 1.3 < margin / (1.96 / math.sqrt(1000)) < 1.7


@pytest.mark.parametrize("share_discordant", [0.02, 0.1, 0.3, 1.0])
def test_looking_after_every_prompt_rarely_finds_what_is_not_there(share_discordant):
    n_runs, n, alpha = 1500, 800, 0.05
    odds = [share_discordant / 2, 1 - share_discordant, share_discordant / 2]
    draws = np.random.default_rng(9).choice([-1.0, 0.0, 1.0], p=odds, size=(n_runs, n))
    counts = np.arange(1, n + 1)
    means = draws.cumsum(axis=1) / counts
    variances = (draws**2).cumsum(axis=1) / counts - means**2
    margins = sequence_margin(counts, steadied(variances, counts), rho=mixture_scale(n), alpha=alpha)
    n_false = int((np.abs(means) > margins)[:, 1:].any(axis=1).sum())
    assert stats.binomtest(n_false, n_runs, alpha, alternative="greater").pvalue > 0.01
    assert n_false <= alpha * n_runs


def test_the_plain_interval_would_err_often_under_the_same_looking():
    draws = np.random.default_rng(9).choice([-1.0, 1.0], size=(500, 800))
    counts = np.arange(1, 801)
    is_outside = np.abs(draws.cumsum(axis=1) / counts) > 1.96 / np.sqrt(counts)
    assert is_outside[:, 20:].any(axis=1).mean() > 0.25


def test_steadied_variance_tends_to_the_variance():
    assert steadied(0.0, 2) == pytest.approx(1.0)
    assert steadied(0.25, 1e6) == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize(("n", "alpha"), [(0, 0.05), (-3, 0.05), (10, 0.0), (10, 1.0), (math.nan, 0.05)])
def test_impossible_target_is_refused(n, alpha):
    with pytest.raises(DataError):
        mixture_scale(n, alpha=alpha)


def test_without_the_two_extra_observations_the_first_looks_would_err_often():
    draws = np.random.default_rng(9).choice([-1.0, 1.0], size=(500, 200))
    counts = np.arange(1, 201)
    means = draws.cumsum(axis=1) / counts
    margins = sequence_margin(counts, 1.0 - means**2, rho=mixture_scale(200))
    assert (np.abs(means) > margins)[:, 1:].any(axis=1).mean() > 0.4
