"""Power and sizes: against statsmodels, published examples and simulated tests."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.proportion import power_proportions_2indep

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.always_valid import always_valid
from workbench.stats.bet_mixture import log_e_values
from workbench.stats.e_process import log_e_value
from workbench.stats.paired import paired_mean
from workbench.stats.power import PairedMeans, TwoMeans, from_pilot, least_effect, n_for, power_of
from workbench.stats.power_proportions import (
    PairedProportions,
    TwoProportions,
    discordant_share,
    early_stop,
)
from workbench.stats.proportions import mcnemar


@pytest.mark.parametrize(("effect", "n"), [(0.05, 30), (0.1, 199), (0.3, 12)])
def test_paired_means_have_the_power_that_statsmodels_gives(effect, n):
    ours = power_of(PairedMeans(between_sd=0.5), -effect, n)
    assert ours == pytest.approx(TTestPower().power(effect / 0.5, n, 0.05), abs=1e-9)


def test_sizes_of_paired_means_are_those_of_statsmodels():
    theirs = TTestPower().solve_power(0.2, power=0.9, alpha=0.01)
    assert n_for(PairedMeans(between_sd=0.5), 0.1, power=0.9, alpha=0.01) == math.ceil(theirs)


def test_two_means_have_the_power_that_statsmodels_gives():
    theirs = TTestIndPower().power(0.1 / 0.4, 150, 0.05)
    assert power_of(TwoMeans(0.4, 0.4), 0.1, 150) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_two_proportions_have_the_power_that_statsmodels_gives(ratio):
    # statsmodels' first group is the treatment; it averages the pooled share likewise.
    theirs = power_proportions_2indep(0.1, 0.6, 200, ratio=ratio).power
    assert power_of(TwoProportions(0.6, ratio), 0.1, 200) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize(
    ("better", "worse", "power", "n"),
    [(0.45, 0.05, 0.8, 23), (0.30, 0.15, 0.8, 155), (0.5, 0.2, 0.8, 59)],
    ids=["powerandsamplesize.com", "clinicaltrials-tools", "Chow, Shao & Wang 2008"],
)
def test_connors_size_is_that_of_published_examples(better, worse, power, n):
    plan = PairedProportions(better + worse, is_exact=False)
    assert n_for(plan, better - worse, power=power) == n


def test_one_point_with_a_tenth_discordant_takes_about_7800_pairs():
    by_hand = ((1.959964 * math.sqrt(0.1) + 0.841621 * math.sqrt(0.1 - 0.01**2)) / 0.01) ** 2
    assert n_for(PairedProportions(0.1, is_exact=False), 0.01) == math.ceil(by_hand) == 7847
    assert 7847 < n_for(PairedProportions(0.1), 0.01) < 1.03 * 7847


def test_exact_power_is_that_of_a_published_table():
    # G*Power's manual, after O'Brien 2002: odds ratio .25, 40 % discordant, 50 pairs, one-sided 5 %: .839343.
    assert power_of(PairedProportions(0.4), 0.24, 50, alpha=0.10) == pytest.approx(0.839343, abs=3e-5)


def test_exact_power_adds_up_the_outcomes_that_mcnemar_finds():
    n, discordant, effect = 25, 0.5, 0.3
    chances = [(discordant + effect) / 2, (discordant - effect) / 2, 1 - discordant]
    total = sum(
        stats.multinomial.pmf([b, w, n - b - w], n, chances)
        for b in range(n + 1)
        for w in range(n + 1 - b)
        if mcnemar(b, w) <= 0.05
    )
    assert power_of(PairedProportions(discordant), effect, n) == pytest.approx(total, abs=1e-10)


def test_discordance_follows_from_accuracies_and_correlation():
    both, treatment, control = 0.70, 0.85, 0.75  # so .15 treatment alone, .05 control alone
    correlation = (both - treatment * control) / math.sqrt(0.85 * 0.15 * 0.75 * 0.25)
    assert discordant_share(treatment, control, correlation=correlation) == pytest.approx(0.20)
    with pytest.raises(DataError, match="cannot correlate"):
        discordant_share(0.9, 0.5, correlation=0.9)


def clustered(random: np.random.Generator, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """[60, 2] repeats of 60 prompts in 20 clusters; icc of prompts' means .2, their sd .4."""
    clusters = np.repeat(np.arange(20), 3)
    shared = random.normal(scale=math.sqrt(0.2 * 0.16), size=20)[clusters]
    between = random.normal(scale=math.sqrt(0.16 - 0.2 * 0.16 - 0.09 / 2), size=60)
    return effect + (shared + between)[:, None] + random.normal(scale=0.3, size=(60, 2)), clusters


PLAN = PairedMeans(between_sd=math.sqrt(0.16 - 0.045), within_sd=0.3, repeats=2, icc=0.2, cluster_size=3.0)


def test_power_with_clusters_and_repeats_is_that_of_simulated_tests():
    random, n_runs = np.random.default_rng(1), 1000
    found = 0
    for _ in range(n_runs):
        table, clusters = clustered(random, 0.15)
        found += paired_mean(table.mean(axis=1), clusters, bounds=(-9.0, 9.0)).p_value <= 0.05
    expected = power_of(PLAN, 0.15, 60)
    assert found / n_runs == pytest.approx(expected, abs=3.5 * math.sqrt(expected * (1 - expected) / n_runs))


def test_a_pilot_gives_back_what_its_differences_were_drawn_with():
    random = np.random.default_rng(2)
    pilots = [from_pilot(*clustered(random, 0.0)) for _ in range(300)]
    assert np.mean([pilot.plan.between_sd**2 for pilot in pilots]) == pytest.approx(
        PLAN.between_sd**2, rel=0.05
    )
    assert np.mean([pilot.plan.within_sd**2 for pilot in pilots]) == pytest.approx(0.09, rel=0.05)
    assert np.mean([pilot.plan.icc for pilot in pilots]) == pytest.approx(0.2, abs=0.04)
    truth = PLAN.sd * math.sqrt(PLAN.design_effect)
    inside = [
        pilot.low.sd * math.sqrt(pilot.low.design_effect)
        <= truth
        <= pilot.high.sd * math.sqrt(pilot.high.design_effect)
        for pilot in pilots
    ]
    assert np.mean(inside) > 0.85  # a log interval of 20 units' squares is rough


def test_a_pilot_of_two_repeats_plans_for_eight():
    random, differences = np.random.default_rng(5), []
    for _ in range(200):
        table, clusters = clustered(random, 0.0)
        differences.append(from_pilot(table, clusters, repeats=8).plan)
    variance = PLAN.between_sd**2 + 0.09 / 8
    assert np.mean([plan.sd**2 for plan in differences]) == pytest.approx(variance, rel=0.05)
    shared = np.mean([plan.icc * plan.sd**2 for plan in differences])
    assert shared == pytest.approx(0.2 * 0.16, rel=0.2)


def test_more_repeats_help_only_against_variance_within_prompts():
    noisy, sure = PairedMeans(0.1, within_sd=0.5), PairedMeans(0.5, within_sd=0.1)
    assert n_for(noisy, 0.1) > 3 * n_for(PairedMeans(0.1, within_sd=0.5, repeats=4), 0.1)
    assert n_for(sure, 0.1) < 1.05 * n_for(PairedMeans(0.5, within_sd=0.1, repeats=4), 0.1)


@pytest.mark.parametrize(
    "plan", [PairedMeans(0.4), TwoMeans(0.3, 0.5), PairedProportions(0.2), TwoProportions(0.7)]
)
def test_size_and_least_effect_undo_each_other(plan):
    n = n_for(plan, 0.08, power=0.85, n_comparisons=3)
    assert power_of(plan, 0.08, n, n_comparisons=3) >= 0.85
    effect = least_effect(plan, n, power=0.85, n_comparisons=3)
    assert effect == pytest.approx(0.08, rel=0.01)
    assert n_for(plan, 0.08, power=0.85) < n


def test_an_effect_that_no_size_shows_is_none_and_one_that_cannot_be_an_error():
    assert least_effect(PairedProportions(0.02), 50) is None
    with pytest.raises(DataError, match="not possible"):
        power_of(PairedProportions(0.02), 0.03, 50)
    with pytest.raises(DataError, match="other than 0"):
        n_for(PairedMeans(0.5), 0.0)


def test_a_pilot_of_three_prompts_says_nothing():
    with pytest.raises(InsufficientDataError):
        from_pilot(np.array([0.1, 0.2, 0.3]))
    with pytest.raises(DataError, match="vary"):
        from_pilot(np.zeros(10))


def test_stopping_early_uses_what_the_runs_own_test_uses():
    random, n_runs = np.random.default_rng(3), 300
    runs = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(n_runs, 1000))
    log_e = log_e_value(np.cumsum(runs > 0, axis=1), np.cumsum(runs < 0, axis=1))
    out = log_e >= math.log(20.0)
    stops = np.where(out.any(axis=1), out.argmax(axis=1) + 1, 1000)
    planned = early_stop(0.1, 0.3, 1000)
    assert planned.mean_n == pytest.approx(stops.mean(), abs=4 * stops.std() / math.sqrt(n_runs))
    assert planned.power == pytest.approx(out.any(axis=1).mean(), abs=0.03)
    assert always_valid(runs[0]).decided_at == (stops[0] if out[0].any() else None)
    # Wald: no sequential test of this level is sooner than log(20) / the information in a prompt.
    information = 0.2 * math.log(0.2 / 0.15) + 0.1 * math.log(0.1 / 0.15)
    assert planned.mean_n > math.log(20.0) / information


def test_scores_between_0_and_1_stop_about_as_soon_as_0_1_ones_of_the_same_variance():
    random, n_runs = np.random.default_rng(4), 300
    scores = random.beta(0.7, 0.5, size=(n_runs, 600)) - random.beta(0.6, 0.6, size=(n_runs, 600))
    stops = [(np.append(log_e_values(run), math.inf) >= math.log(20.0)).argmax() + 1 for run in scores]
    effect = 0.7 / 1.2 - 0.5
    planned = early_stop(effect, stats.beta.var(0.7, 0.5) + stats.beta.var(0.6, 0.6) + effect**2, 600)
    assert planned.mean_n == pytest.approx(np.mean(np.minimum(stops, 600)), rel=0.1)
