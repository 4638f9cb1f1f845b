"""Bradley-Terry against published strengths, statsmodels' GLM, likelihoods written out, and simulation."""

import time

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize, stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.ranking import bradley_terry, bradley_terry_counts

BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
"""Milwaukee, Detroit, Toronto, New York, Boston, Cleveland, Baltimore in 1987: Agresti (2013), sec. 11.6."""


@pytest.fixture
def judged() -> dict[str, np.ndarray]:
    """600 judgements of five players in 150 prompts, some of them ties."""
    random = np.random.default_rng(4)
    strength = np.array([0.8, 0.3, 0.0, -0.3, -0.9])
    first = random.integers(5, size=600)
    second = (first + random.integers(1, 5, size=600)) % 5
    has_first_won = random.random(600) < 1.0 / (1.0 + np.exp(strength[second] - strength[first]))
    return {
        "winner": np.where(has_first_won, first, second),
        "loser": np.where(has_first_won, second, first),
        "is_tie": random.random(600) < 0.2,
        "clusters": np.arange(600) // 4,
    }


def design(winner, loser, n_players: int) -> np.ndarray:
    """[N, K - 1] of a logistic regression whose last player has the strength 0; the winner won."""
    table = np.zeros((len(winner), n_players))
    table[np.arange(len(winner)), winner] += 1.0
    table[np.arange(len(winner)), loser] -= 1.0
    return table[:, :-1]


def test_baseball_has_the_published_strengths_and_errors():
    # Agresti (2013), sec. 11.6.1; standard errors as in Turner & Firth (2012), JSS 48(9), sec. 2.
    fit = bradley_terry_counts(BASEBALL, reference=6)
    assert fit.strength == pytest.approx([1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0], abs=6e-5)
    errors = [0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319, 0.0]
    assert fit.standard_error == pytest.approx(errors, abs=6e-5)
    assert fit.rank.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_rows_and_their_counts_agree(judged):
    winner, loser = judged["winner"], judged["loser"]
    wins = np.zeros((5, 5))
    np.add.at(wins, (winner, loser), 1.0)
    assert bradley_terry(winner, loser).low == pytest.approx(bradley_terry_counts(wins).low)


def test_strengths_and_errors_are_those_of_a_logistic_regression(judged):
    winner, loser = judged["winner"], judged["loser"]
    fit = bradley_terry(winner, loser, reference=4)
    reference = sm.GLM(np.ones(600), design(winner, loser, 5), family=sm.families.Binomial()).fit()
    assert fit.strength[:4] == pytest.approx(reference.params)
    assert fit.standard_error[:4] == pytest.approx(reference.bse)
    assert np.stack([fit.low, fit.high], axis=1)[:4] == pytest.approx(reference.conf_int(), abs=1e-6)
    assert fit.log_likelihood == pytest.approx(reference.llf)


def test_errors_of_clusters_are_those_of_a_clustered_regression(judged):
    winner, loser, clusters = judged["winner"], judged["loser"], judged["clusters"]
    fit = bradley_terry(winner, loser, clusters=clusters, reference=4)
    model = sm.GLM(np.ones(600), design(winner, loser, 5), family=sm.families.Binomial())
    reference = model.fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    assert fit.standard_error[:4] == pytest.approx(reference.bse * np.sqrt(150 / 149))
    quantile = stats.t.isf(0.025, 149)
    assert fit.high[:4] == pytest.approx(fit.strength[:4] + quantile * fit.standard_error[:4])


def test_ties_as_half_wins_are_rows_of_half_a_weight(judged):
    winner, loser, is_tie = judged["winner"], judged["loser"], judged["is_tie"]
    fit = bradley_terry(winner, loser, is_tie=is_tie)
    weights = np.concatenate([np.where(is_tie, 0.5, 1.0), np.full(is_tie.sum(), 0.5)])
    split = bradley_terry(
        np.concatenate([winner, loser[is_tie]]), np.concatenate([loser, winner[is_tie]]), weights=weights
    )
    assert fit.strength == pytest.approx(split.strength)
    assert fit.standard_error == pytest.approx(split.standard_error)


def davidson(strength, nu, winner, loser, is_tie):
    pi = np.exp(strength)
    root = nu * np.sqrt(pi[winner] * pi[loser])
    return np.log(np.where(is_tie, root, pi[winner]) / (pi[winner] + pi[loser] + root)).sum()


def rao_kupper(strength, theta, winner, loser, is_tie):
    pi = np.exp(strength)
    above, below = pi[winner] + theta * pi[loser], theta * pi[winner] + pi[loser]
    tied = (theta**2 - 1.0) * pi[winner] * pi[loser] / (above * below)
    return np.log(np.where(is_tie, tied, pi[winner] / above)).sum()


@pytest.mark.parametrize(
    ("ties", "likelihood", "natural"),
    [("davidson", davidson, np.exp), ("rao_kupper", rao_kupper, lambda x: np.exp(np.exp(x)))],
)
def test_models_of_ties_reach_the_top_of_their_likelihood(judged, ties, likelihood, natural):
    columns = judged["winner"], judged["loser"], judged["is_tie"]
    fit = bradley_terry(*columns[:2], is_tie=columns[2], ties=ties, reference=0)

    def loss(x):
        return -likelihood(np.concatenate([[0.0], x[:4]]), natural(x[4]), *columns)

    top = optimize.minimize(loss, np.array([0, 0, 0, 0, -0.5]), method="BFGS", options={"gtol": 1e-6})
    assert fit.strength[1:] == pytest.approx(top.x[:4], abs=1e-5)
    assert fit.tie_parameter.value == pytest.approx(natural(top.x[4]), abs=1e-5)
    assert fit.log_likelihood == pytest.approx(-top.fun)
    assert fit.standard_error[1:] == pytest.approx(
        np.sqrt(np.diag(_inverse_curvature(loss, top.x)))[:4], rel=0.02
    )
    total = fit.win_probability + fit.win_probability.T + fit.tie_probability
    assert total[~np.eye(5, dtype=bool)] == pytest.approx(1.0)


def _inverse_curvature(loss, x, step=1e-3):
    size, moves = len(x), step * np.eye(len(x))
    curvature = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            ends = [loss(x + a * moves[i] + b * moves[j]) * a * b for a in (1, -1) for b in (1, -1)]
            curvature[i, j] = sum(ends) / (4.0 * step**2)
    return np.linalg.inv(curvature)


@pytest.mark.parametrize("ties", ["davidson", "rao_kupper"])
def test_without_ties_each_model_is_the_plain_one(judged, ties):
    plain = bradley_terry(judged["winner"], judged["loser"])
    assert bradley_terry(judged["winner"], judged["loser"], ties=ties).low == pytest.approx(plain.low)


def test_clusters_of_equal_judgements_count_once(judged):
    winner, loser, is_tie = judged["winner"], judged["loser"], judged["is_tie"]
    once = bradley_terry(winner, loser, is_tie=is_tie, clusters=np.arange(600), ties="davidson")
    thrice = bradley_terry(
        *(np.repeat(column, 3) for column in (winner, loser)),
        is_tie=np.repeat(is_tie, 3),
        clusters=np.repeat(np.arange(600), 3),
        ties="davidson",
    )
    assert thrice.standard_error == pytest.approx(once.standard_error)
    assert thrice.tie_parameter.high == pytest.approx(once.tie_parameter.high)


def test_a_weight_of_two_is_the_row_twice(judged):
    winner, loser = judged["winner"], judged["loser"]
    twice = bradley_terry(np.repeat(winner, 2), np.repeat(loser, 2))
    weighted = bradley_terry(winner, loser, weights=np.full(600, 2.0))
    assert weighted.standard_error == pytest.approx(twice.standard_error)


def test_differences_do_not_depend_on_the_reference(judged):
    winner, loser = judged["winner"], judged["loser"]
    centred, anchored = bradley_terry(winner, loser), bradley_terry(winner, loser, reference=2)
    assert centred.strength.sum() == pytest.approx(0.0, abs=1e-9)
    difference = centred.difference(0, 2)
    assert difference.standard_error == pytest.approx(anchored.standard_error[0])
    assert difference.estimate.low == pytest.approx(anchored.low[0])
    assert difference.p_value == pytest.approx(2 * stats.norm.sf(abs(difference.z)))


def test_four_hundred_elo_are_odds_of_ten_to_one():
    fit = bradley_terry_counts(np.array([[0, 10], [1, 0]]))
    assert fit.elo[0] - fit.elo[1] == pytest.approx(400.0)
    assert fit.win_probability[0, 1] == pytest.approx(10 / 11)
    assert fit.elo.mean() == pytest.approx(1000.0)


def test_a_player_who_never_loses_stays_finite_and_is_named():
    wins = np.array([[0, 6, 7], [0, 0, 4], [0, 3, 0]])
    fit = bradley_terry_counts(wins)
    assert fit.is_separated
    assert "0" in fit.warning
    assert "half a win" in fit.warning
    assert np.isfinite(fit.high).all()
    assert fit.strength[0] > 1.5
    assert bradley_terry_counts(BASEBALL).warning is None


def test_the_prior_of_a_separated_fit_is_half_a_win_and_half_a_loss_against_an_average_player():
    # Two players and 3 : 0. The top of 3 log s(2x) + log s(x) + log s(-x), x and -x their strengths.
    def loss(x):
        return -(3 * np.log(1 / (1 + np.exp(-2 * x))) - np.log(1 + np.exp(-x)) - np.log(1 + np.exp(x)))

    top = optimize.minimize_scalar(loss, bounds=(0, 10), method="bounded", options={"xatol": 1e-9})
    fit = bradley_terry_counts(np.array([[0, 3], [0, 0]]))
    assert fit.strength == pytest.approx([top.x, -top.x], abs=1e-6)


def test_players_who_never_met_are_named():
    with pytest.raises(DataError, match=r"2 groups .*0, 1 \| 2, 3"):
        bradley_terry(np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2]))


def test_ranks_are_settled_only_by_differences_that_are():
    close = bradley_terry_counts(np.array([[0, 6, 8], [5, 0, 8], [4, 4, 0]]))
    assert (close.rank_low.tolist(), close.rank_high.tolist()) == ([1, 1, 1], [3, 3, 3])
    clear = bradley_terry_counts(np.array([[0, 60, 90], [20, 0, 80], [10, 20, 0]]))
    assert clear.rank_low.tolist() == clear.rank_high.tolist() == [1, 2, 3]


def test_all_intervals_of_ranks_hold_together_as_often_as_they_say():
    random = np.random.default_rng(0)
    strength = np.array([0.4, 0.2, 0.0, -0.2, -0.4])
    chance = 1.0 / (1.0 + np.exp(np.subtract.outer(-strength, -strength)))
    n_missed = 0
    for _ in range(300):
        upper = np.triu(random.binomial(60, chance), k=1)
        fit = bradley_terry_counts(upper + np.tril(60 - upper.T, k=-1))
        n_missed += not ((fit.rank_low <= np.arange(1, 6)) & (np.arange(1, 6) <= fit.rank_high)).all()
    assert stats.binomtest(n_missed, 300, 0.05, alternative="greater").pvalue > 1e-3


def test_intervals_of_differences_cover_as_often_as_they_say():
    random = np.random.default_rng(1)
    chance = 1.0 / (1.0 + np.exp(-1.0))
    n_covered = 0
    for _ in range(400):
        won = random.binomial(100, [chance, 0.5, 1.0 - chance])
        wins = np.array([[0, won[0], won[1]], [100 - won[0], 0, won[2]], [100 - won[1], 100 - won[2], 0]])
        interval = bradley_terry_counts(wins).difference(0, 1).estimate
        n_covered += interval.low <= 1.0 <= interval.high
    assert stats.binomtest(n_covered, 400, 0.95).pvalue > 1e-3


@pytest.mark.parametrize(
    ("winner", "loser", "extra", "error", "message"),
    [
        ([], [], {}, InsufficientDataError, "there is none"),
        ([0, 1], [1], {}, DataError, "rows"),
        ([0, 1], [1, 1], {}, DataError, "row 1 has a player against itself"),
        ([0, -1], [1, 0], {}, DataError, "row 1"),
        ([0, 0.5], [1, 0], {}, DataError, "whole numbers"),
        ([0, 1], [1, 0], {"weights": np.array([1.0, -1.0])}, DataError, "weight"),
        ([0, 1], [1, 0], {"ties": "glicko"}, DataError, "davidson"),
        ([0, 1], [1, 0], {"reference": 2}, DataError, "reference 2"),
        ([0, 1], [1, 0], {"clusters": np.array([0, 0])}, InsufficientDataError, "2 clusters"),
    ],
    ids=["none", "lengths", "itself", "negative", "half", "weight", "ties", "reference", "cluster"],
)
def test_bad_judgements_are_refused(winner, loser, extra, error, message):
    with pytest.raises(error, match=message):
        bradley_terry(np.array(winner), np.array(loser), **extra)


@pytest.mark.parametrize(
    ("wins", "n_ties"),
    [([[0, -1], [1, 0]], None), ([[1, 1], [1, 0]], None), ([[0, 1], [1, 0]], [[0, 2], [1, 0]])],
    ids=["negative", "diagonal", "ties not symmetric"],
)
def test_bad_counts_are_refused(wins, n_ties):
    with pytest.raises(DataError):
        bradley_terry_counts(np.array(wins), n_ties=None if n_ties is None else np.array(n_ties))


def test_two_hundred_thousand_judgements_take_a_fraction_of_a_second():
    random = np.random.default_rng(0)
    winner = random.integers(20, size=200_000)
    loser = (winner + random.integers(1, 20, size=200_000)) % 20
    start_s = time.process_time()
    bradley_terry(winner, loser)
    assert time.process_time() - start_s < 1.0
