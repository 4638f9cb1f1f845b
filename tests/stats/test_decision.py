"""When a run may stop: each verdict from its interval, and all of them together rarely wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError
from workbench.stats.always_valid import always_valid
from workbench.stats.bet_mixture import log_e_values
from workbench.stats.decision import (
    conditional_power,
    critical_z,
    decide,
    decide_arms,
    forecast,
    predictive_power,
)
from workbench.stats.e_process import log_e_value
from workbench.stats.multiplicity import holm


def outcomes(difference: float, discordant: float, n: int, seed: int) -> np.ndarray:
    chances = [(discordant - difference) / 2, 1 - discordant, (discordant + difference) / 2]
    return np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], p=chances, size=n)


def test_a_difference_is_called_by_its_direction():
    gain = outcomes(0.15, 0.3, 800, 1)
    assert decide(always_valid(gain)).verdict == "better"
    assert decide(always_valid(-gain)).verdict == "worse"


def test_arms_inside_the_margin_are_equivalent_and_not_before():
    differences = outcomes(0.0, 0.1, 3000, 2)
    trajectory = always_valid(differences).trajectory
    inside = (trajectory.low > -0.04) & (trajectory.high < 0.04)
    row = int(np.argmax(inside)) + 1
    assert decide(always_valid(differences[:row]), margin=0.04).verdict == "equivalent"
    assert decide(always_valid(differences[: row - 1]), margin=0.04).verdict == "continue"
    assert decide(always_valid(differences[:row])).verdict == "continue"


def test_a_gain_of_interest_that_is_ruled_out_is_futile():
    result = always_valid(outcomes(-0.01, 0.1, 1500, 3))
    assert result.low < -0.03
    decision = decide(result, margin=0.03, least_effect=0.03)
    assert decision.verdict == "futile"
    assert "excludes a gain of 3 points" in decision.reason


def test_a_contradiction_is_never_a_verdict():
    decision = decide(always_valid(np.concatenate([np.ones(200), -np.ones(2000)])), margin=0.9)
    assert (decision.verdict, decision.is_final) == ("continue", False)
    assert "contradict" in decision.reason


def test_several_arms_are_found_by_holm_on_their_p_values():
    results = [always_valid(outcomes(gain, 0.3, 900, 4), alpha=0.05 / 3) for gain in (0.15, 0.055, 0.0)]
    decisions = decide_arms(results)
    assert [decision.p_adjusted for decision in decisions] == list(
        holm([result.p_value for result in results])
    )
    assert [decision.verdict for decision in decisions] == [
        "better" if decision.p_adjusted <= 0.05 else "continue" for decision in decisions
    ]
    assert decisions[0].verdict == "better"


def test_intervals_that_take_more_than_their_share_of_alpha_are_refused():
    with pytest.raises(DataError, match=r"alpha = 0\.025"):
        decide_arms([always_valid(np.zeros(5))] * 2)


def test_any_of_three_equal_arms_is_rarely_called_at_any_look():
    random, n_runs, n = np.random.default_rng(5), 200, 600
    wrong = 0
    for _ in range(n_runs):
        control, *arms = random.random((4, n)) < 0.7  # one control: the comparisons depend on each other
        p = [math.exp(-max(0.0, log_e_values(arm * 1.0 - control).max())) for arm in arms]
        wrong += min(holm(p)) <= 0.05  # p-values only fall, so that this is whether any look called one
    assert wrong <= stats.binom.isf(0.001, n_runs, 0.05)


def test_conditional_power_is_the_chance_that_the_rest_brings_the_planned_z():
    random, z, share = np.random.default_rng(6), 1.2, 0.4
    rest = random.normal(size=200_000) * math.sqrt(1 - share)
    for drift in (0.0, 2.8):
        final = z * math.sqrt(share) + drift * (1 - share) + rest
        found = float(np.mean(final > stats.norm.isf(0.025)))
        assert conditional_power(z, share, drift=drift) == pytest.approx(found, abs=0.005)
    assert conditional_power(z, share) == conditional_power(z, share, drift=z / math.sqrt(share))


def test_predictive_power_averages_conditional_power_over_plausible_effects():
    random, z, share = np.random.default_rng(7), 1.2, 0.4
    drifts = random.normal(z / math.sqrt(share), 1 / math.sqrt(share), size=20_000)
    average = np.mean([conditional_power(z, share, drift=float(drift)) for drift in drifts[:4000]])
    assert predictive_power(z, share) == pytest.approx(float(average), abs=0.02)


def test_critical_z_is_where_the_exact_test_finds_a_difference():
    n_pairs, z = 400, critical_z(0.2, 2000)
    excess = z * math.sqrt(n_pairs)
    assert float(log_e_value((n_pairs + excess) / 2, (n_pairs - excess) / 2)) == pytest.approx(math.log(20.0))
    assert z > stats.norm.isf(0.025)
    assert critical_z(0.001, 1000) == math.inf


def test_a_forecast_is_as_often_right_as_it_says():
    random, n, n_planned, n_runs = np.random.default_rng(8), 300, 800, 150
    gains = random.uniform(-0.2, 0.2, size=n_runs)  # about flat where runs are
    forecasts, found = [], []
    for gain in gains:
        run = random.choice([-1.0, 0.0, 1.0], p=[(0.3 - gain) / 2, 0.7, (0.3 + gain) / 2], size=n_planned)
        forecasts.append(forecast(always_valid(run[:n]), n_planned))
        found.append(log_e_values(run)[-1] >= math.log(20.0))
    unsure = (np.array(forecasts) > 0.2) & (np.array(forecasts) < 0.8)
    error = 3.0 * math.sqrt(0.25 / unsure.sum())
    assert np.mean(np.array(found)[unsure]) == pytest.approx(np.mean(np.array(forecasts)[unsure]), abs=error)
    assert np.mean(found) == pytest.approx(np.mean(forecasts), abs=0.08)


def test_there_is_nothing_to_forecast_at_the_planned_size_or_without_variance():
    assert forecast(always_valid(np.array([1.0, 0.0])), 2) is None
    assert forecast(always_valid(np.zeros(20)), 100) is None


def test_forecasts_need_a_share_of_the_plan():
    with pytest.raises(DataError, match="share"):
        predictive_power(1.0, 1.0)
    with pytest.raises(DataError, match="positive"):
        decide(always_valid(np.zeros(5)), margin=0.0)
