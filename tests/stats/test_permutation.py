"""Permutation tests against scipy's enumeration, closed forms, a published share and their own level."""

import itertools
import time

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.permutation import sign_flip, two_sample_permutation
from workbench.stats.proportions import mcnemar


@pytest.fixture
def differences() -> np.ndarray:
    return np.random.default_rng(3).normal(0.4, 1.0, size=11)


def test_few_pairs_are_enumerated_as_scipy_does(differences):
    ours = sign_flip(differences)
    for alternative, p_value in (
        ("two-sided", ours.p_value),
        ("greater", ours.p_greater),
        ("less", ours.p_less),
    ):
        reference = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative
        )
        assert p_value == pytest.approx(reference.pvalue)
    assert (ours.is_exact, ours.n_permutations) == (True, 2048)
    assert ours.estimate == pytest.approx(differences.mean())


def test_darwins_maize_gives_fishers_published_share():
    # Fisher (1935), The Design of Experiments, sec. 21: 1,726 of 32,768 choices of signs reach 314.
    maize = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)
    assert maize.sum() == 314.0
    assert sign_flip(maize).p_value == pytest.approx(1726 / 32_768)


def test_pairs_that_do_not_differ_add_nothing(differences):
    assert sign_flip(np.concatenate([differences, np.zeros(500)])).p_value == sign_flip(differences).p_value


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (13, 4), (900, 1000)])
def test_scores_of_0_and_1_give_the_exact_mcnemar_test(b, c):
    result = sign_flip(np.repeat([1.0, -1.0, 0.0], [b, c, 50]))
    assert result.p_value == pytest.approx(mcnemar(b, c))
    assert (result.is_exact, result.n_permutations) == (True, 0)


def test_many_pairs_come_close_to_enumeration():
    values = np.random.default_rng(4).normal(0.35, 1.0, size=22)
    sums = np.zeros(1)
    for value in np.abs(values):
        sums = np.concatenate([sums + value, sums - value])
    exact = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9)
    drawn = sign_flip(values, n_permutations=40_000)
    assert not drawn.is_exact
    assert drawn.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_drawn_p_values_are_never_zero_and_follow_the_seed():
    sure = np.random.default_rng(5).uniform(0.5, 1.0, size=100)
    assert sign_flip(sure, n_permutations=999).p_value == 1 / 1000
    noise = sure - 0.75
    assert sign_flip(noise, seed=1) == sign_flip(noise, seed=1)
    assert sign_flip(noise, seed=1) != sign_flip(noise, seed=2)


def test_whole_clusters_flip():
    sums = np.array([3.0, -1.0, 2.5, 4.0, -0.5, 2.0])
    clusters = np.repeat(np.arange(6), 4)
    clustered = sign_flip(np.repeat(sums / 4, 4), clusters)
    assert clustered.p_value == sign_flip(sums).p_value
    assert clustered.p_value > sign_flip(np.repeat(sums / 4, 4)).p_value


@pytest.mark.parametrize("sizes", [(6, 8), (4, 4), (3, 12)], ids=str)
def test_two_small_samples_are_enumerated(sizes):
    random = np.random.default_rng(sum(sizes))
    treatment, control = random.normal(0.5, 1.0, size=sizes[0]), random.normal(size=sizes[1])
    ours, pooled = two_sample_permutation(treatment, control), np.concatenate([treatment, control])
    observed, chosen = treatment.sum(), itertools.combinations(pooled, sizes[0])
    centre = sizes[0] * pooled.mean()
    sums = np.array([sum(one) for one in chosen])
    assert ours.p_value == pytest.approx(np.mean(np.abs(sums - centre) >= abs(observed - centre) - 1e-9))
    assert ours.p_greater == pytest.approx(np.mean(sums >= observed - 1e-9))
    assert ours.n_permutations == len(sums)


def test_one_sided_values_are_scipys_whose_two_sided_is_twice_the_smaller():
    random = np.random.default_rng(1)
    samples = random.exponential(size=5), random.exponential(size=9) + 0.3
    ours = two_sample_permutation(*samples)
    reference = stats.permutation_test(
        samples, lambda one, other: one.mean() - other.mean(), n_resamples=np.inf
    )
    assert 2 * min(ours.p_greater, ours.p_less) == pytest.approx(reference.pvalue)


def test_two_samples_of_0_and_1_are_hypergeometric():
    treatment, control = np.repeat([1.0, 0.0], [17, 13]), np.repeat([1.0, 0.0], [11, 29])
    ours = two_sample_permutation(treatment, control)
    table = [[17, 13], [11, 29]]
    assert ours.p_greater == pytest.approx(stats.fisher_exact(table, "greater").pvalue)
    assert ours.p_less == pytest.approx(stats.fisher_exact(table, "less").pvalue)
    assert ours.is_exact


@pytest.mark.parametrize("sizes", [(40, 70), (70, 40)], ids=str)
def test_two_large_samples_come_close_to_welchs_test(sizes):
    random = np.random.default_rng(2)
    samples = random.normal(0.4, 1.0, size=sizes[0]), random.normal(size=sizes[1])
    ours = two_sample_permutation(*samples, n_permutations=20_000)
    assert not ours.is_exact
    assert ours.p_value == pytest.approx(stats.ttest_ind(*samples).pvalue, rel=0.3)
    assert ours.p_greater == pytest.approx(ours.p_value / 2, rel=0.3)


def test_true_null_is_rejected_as_rarely_as_promised():
    random, n_rejected = np.random.default_rng(9), 0
    for _ in range(1000):
        n_rejected += sign_flip(random.standard_t(2, size=12)).p_value <= 0.05
    assert stats.binomtest(n_rejected, 1000, 0.05, alternative="greater").pvalue > 1e-3


def test_ten_thousand_flips_of_a_hundred_thousand_pairs_take_about_a_second():
    values = np.random.default_rng(0).normal(size=100_000)
    start_s = time.process_time()
    sign_flip(values)
    assert time.process_time() - start_s < 6.0


def test_bad_input_is_refused():
    with pytest.raises(InsufficientDataError):
        sign_flip(np.array([]))
    with pytest.raises(DataError, match="finite"):
        sign_flip(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="1 clusters for 2"):
        sign_flip(np.array([1.0, 2.0]), np.array([1]))
    with pytest.raises(InsufficientDataError):
        two_sample_permutation(np.array([1.0]), np.array([1.0, 2.0]))
