"""Bradley-Terry: strengths from pairwise judgements, their differences, win probabilities and ranks.

The chance that i beats j is 1 / (1 + exp(strength_j - strength_i)): strengths are natural logarithms of odds.
K players are whole numbers from 0, N judgements, P pairs that have met.
Source: Bradley & Terry (1952), Rank analysis of incomplete block designs, Biometrika 39, 324-345; Agresti
    (2013), Categorical Data Analysis, sec. 11.6; Hunter (2004), MM algorithms for generalized Bradley-Terry
    models, Annals of Statistics 32, for when the maximum exists.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.battles import PairCounts, battles, counted_table
from workbench.stats.estimate import Estimate
from workbench.stats.multiplicity import holm
from workbench.stats.strength_fit import Peak, clustered_covariance, fitted
from workbench.stats.ties import Ties

ELO_PER_STRENGTH = 400.0 / math.log(10.0)
ELO_CENTRE = 1000.0


@dataclass(frozen=True, slots=True)
class StrengthDifference:
    """How much stronger one player is than another; `p_value` is Wald's, two-sided, of no difference."""

    estimate: Estimate
    standard_error: float
    z: float
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class BradleyTerry:
    """Strengths of K players, with everything that is read off them; arrays are [K] or [K, K].

    `strength` is log-odds, 0 on average, or 0 for `reference`. `win_probability[i, j]` is that of i over j,
    the diagonal 1/2; where ties are modelled it leaves room for `tie_probability`. `rank` is 1 for the
    strongest. All intervals of ranks hold together at level 1 - `alpha`, the others each for itself.
    `elo` is 1000 + 400/ln(10) strength. `tie_parameter` is Davidson's nu or Rao and Kupper's theta; None:
    ties count half. `is_separated`: some players never lost, or never won, against all the others; strengths
    were then held finite by half a win and half a loss of each against an average player. `warning` says so.
    """

    strength: np.ndarray
    standard_error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    covariance: np.ndarray
    win_probability: np.ndarray
    tie_probability: np.ndarray
    rank: np.ndarray
    rank_low: np.ndarray
    rank_high: np.ndarray
    tie_parameter: Estimate | None
    log_likelihood: float
    n_judgements: float
    n_clusters: int | None
    df: float
    reference: int | None
    is_separated: bool
    warning: str | None
    alpha: float

    @property
    def elo(self) -> np.ndarray:
        return ELO_CENTRE + ELO_PER_STRENGTH * self.strength

    @property
    def elo_low(self) -> np.ndarray:
        return ELO_CENTRE + ELO_PER_STRENGTH * self.low

    @property
    def elo_high(self) -> np.ndarray:
        return ELO_CENTRE + ELO_PER_STRENGTH * self.high

    def difference(self, first: int, second: int) -> StrengthDifference:
        """Strength of `first` minus that of `second`, whatever the reference."""
        value = float(self.strength[first] - self.strength[second])
        cov = self.covariance
        variance = float(cov[first, first] + cov[second, second] - 2.0 * cov[first, second])
        error = math.sqrt(max(variance, 0.0))
        margin = float(stats.t.isf(self.alpha / 2.0, self.df)) * error
        z = value / error if error > 0.0 else 0.0
        p_value = float(2.0 * stats.t.sf(abs(z), self.df))
        return StrengthDifference(Estimate(value, value - margin, value + margin), error, z, p_value)


def bradley_terry(
    winner: np.ndarray,
    loser: np.ndarray,
    *,
    is_tie: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    ties: Ties = "half",
    reference: int | None = None,
    alpha: float = 0.05,
) -> BradleyTerry:
    """Strengths by maximum likelihood, from one row a judgement.

    >>> fit = bradley_terry(np.array([0, 0, 0, 1]), np.array([1, 1, 1, 0]))
    >>> round(float(fit.win_probability[0, 1]), 6)
    0.75

    Args:
        winner, loser: [N] players, whole numbers from 0; in either order where `is_tie`.
        is_tie: [N] True where neither won.
        weights: [N] how often a judgement counts; 1 for all where not given.
        clusters: [N] equal for judgements that are not independent, as those of one prompt. The covariance is
            then the sandwich with the factor G / (G - 1), and t with G - 1 degrees of freedom the reference;
            without them the inverse information, and the normal distribution.
        ties: a tie as half a win of each, or modelled after Davidson (1970) or Rao & Kupper (1967);
            where there are none, all three are the same.
        reference: the player whose strength is 0; None: strengths are 0 on average.
    Raises:
        DataError: a bad row (names it), players that never met the others (names the groups), or an unknown
            reference.
        InsufficientDataError: no judgements, or a single cluster.
    Source: Cameron & Miller (2015), sec. II, for the sandwich; Klein, Wright & Wieczorek (2020), A joint
        confidence region for an overall ranking of populations, JRSS C 69, for ranks from differences that
        are settled after Holm's correction.
    """
    rows = battles(winner, loser, is_tie=is_tie, weights=weights)
    pairs = rows.counted()
    peak = fitted(pairs, ties)
    if clusters is None:
        return _described(pairs, peak, peak.bread, n_clusters=None, reference=reference, alpha=alpha)
    if len(clusters) != len(winner):
        raise DataError(f"there are {len(clusters)} clusters for {len(winner)} judgements; give one each")
    names, cluster = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        raise InsufficientDataError("cluster-robust intervals need 2 clusters; there is 1")
    covariance = clustered_covariance(rows, pairs, peak, cluster)
    return _described(pairs, peak, covariance, n_clusters=len(names), reference=reference, alpha=alpha)


def bradley_terry_counts(
    wins: np.ndarray,
    *,
    n_ties: np.ndarray | None = None,
    ties: Ties = "half",
    reference: int | None = None,
    alpha: float = 0.05,
) -> BradleyTerry:
    """The same from counts: `wins` [K, K] of row over column, `n_ties` [K, K] symmetric.

    Args and errors as in `bradley_terry`.
    """
    pairs = counted_table(np.asarray(wins, dtype=np.float64), n_ties)
    peak = fitted(pairs, ties)
    return _described(pairs, peak, peak.bread, n_clusters=None, reference=reference, alpha=alpha)


def _described(
    pairs: PairCounts,
    peak: Peak,
    covariance: np.ndarray,
    *,
    n_clusters: int | None,
    reference: int | None,
    alpha: float,
) -> BradleyTerry:
    n, df = pairs.n_players, math.inf if n_clusters is None else n_clusters - 1.0
    if reference is not None and not 0 <= reference < n:
        raise DataError(f"the reference {reference} is not one of the players 0 to {n - 1}")
    anchor = np.eye(n) - (np.full((n, n), 1.0 / n) if reference is None else np.eye(n)[reference])
    strength, spread = anchor @ peak.position[:n], anchor @ covariance[:n, :n] @ anchor.T
    error = np.sqrt(np.maximum(np.diagonal(spread), 0.0))
    quantile = float(stats.t.isf(alpha / 2.0, df))
    tie = float(peak.position[-1]) if peak.model.has_parameter else 0.0
    chance = peak.model.chance(np.subtract.outer(strength, strength).ravel(), tie).reshape(n, n, 3)
    won, tied = chance[:, :, 0].copy(), chance[:, :, 1] * ~np.eye(n, dtype=bool)
    np.fill_diagonal(won, 0.5)
    rank_low, rank_high = _rank_interval(strength, spread, df=df, alpha=alpha)
    return BradleyTerry(
        strength=strength,
        standard_error=error,
        low=strength - quantile * error,
        high=strength + quantile * error,
        covariance=spread,
        win_probability=won,
        tie_probability=tied,
        rank=stats.rankdata(-np.round(strength, 9), method="min").astype(np.int64),
        rank_low=rank_low,
        rank_high=rank_high,
        tie_parameter=_tie_parameter(peak, covariance, quantile),
        log_likelihood=peak.log_likelihood,
        n_judgements=float(pairs.counts.sum()),
        n_clusters=n_clusters,
        df=df,
        reference=reference,
        is_separated=peak.warning is not None,
        warning=peak.warning,
        alpha=alpha,
    )


def _rank_interval(
    strength: np.ndarray, covariance: np.ndarray, *, df: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """[K] first and last rank that are left by the differences settled among all pairs."""
    n, (first, second) = len(strength), np.triu_indices(len(strength), k=1)
    variance = covariance[first, first] + covariance[second, second] - 2.0 * covariance[first, second]
    difference = strength[first] - strength[second]
    t = np.abs(difference) / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    is_settled = np.array(holm([float(p) for p in 2.0 * stats.t.sf(t, df)])) <= alpha
    better = np.where(difference > 0.0, first, second)[is_settled]
    worse = np.where(difference > 0.0, second, first)[is_settled]
    return 1 + np.bincount(worse, minlength=n), n - np.bincount(better, minlength=n)


def _tie_parameter(peak: Peak, covariance: np.ndarray, quantile: float) -> Estimate | None:
    if not peak.model.has_parameter:
        return None
    value, margin = float(peak.position[-1]), quantile * math.sqrt(float(covariance[-1, -1]))
    return Estimate(*(peak.model.natural(end) for end in (value, value - margin, value + margin)))
