"""The likelihood of strengths: its top, found by Fisher scoring on counts of pairs, and its curvature there.

K players, P pairs that have met. A position is the K strengths, then the tie model's parameter if it has one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from workbench.errors import DataError
from workbench.stats.battles import Battles, PairCounts, require_connected, separated_groups
from workbench.stats.ties import TIE_MODELS, TieModel, Ties

PRIOR_GAMES = 0.5
"""Wins, and as many losses, against an imaginary player of strength 0, where a player never loses."""
_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """Where the likelihood is greatest, and the inverse information there."""

    model: TieModel
    position: np.ndarray
    bread: np.ndarray
    log_likelihood: float
    warning: str | None


def fitted(pairs: PairCounts, ties: Ties) -> Peak:
    """The greatest likelihood of these counts.

    Raises:
        DataError: players that never met the others, an unknown model of ties, or no convergence.
    """
    if ties not in TIE_MODELS:
        raise DataError(f"ties must be one of {', '.join(TIE_MODELS)}; got {ties!r}")
    require_connected(pairs)
    share = float(pairs.counts[:, 1].sum() / pairs.counts.sum())
    model = TIE_MODELS[ties if 0.0 < share < 1.0 else "half"]
    groups = separated_groups(pairs)
    prior = PRIOR_GAMES if groups else 0.0
    position, n = np.zeros(pairs.n_players + model.has_parameter), pairs.n_players
    position[n:] = model.start(share) if model.has_parameter else 0.0
    value = _log_likelihood(pairs, model, position, prior)
    for _ in range(_MAX_STEPS):
        gradient, information = _derivatives(pairs, model, position, prior)
        step = np.linalg.solve(information, gradient)
        position, value = _climbed(pairs, model, position, step, value, prior)
        if np.abs(step).max() < _TOLERANCE:
            break
    else:
        raise DataError(f"the strengths did not settle in {_MAX_STEPS} steps; are some weights extreme?")
    bread = np.linalg.inv(_derivatives(pairs, model, position, prior)[1])
    return Peak(model, position, bread, _log_likelihood(pairs, model, position, 0.0), _warning(groups))


def _climbed(
    pairs: PairCounts, model: TieModel, position: np.ndarray, step: np.ndarray, value: float, prior: float
) -> tuple[np.ndarray, float]:
    """The step, halved until the likelihood does not fall by more than rounding."""
    for halvings in range(40):
        moved = position + step * 0.5**halvings
        reached = _log_likelihood(pairs, model, moved, prior)
        if reached >= value - 1e-9 * (1.0 + abs(value)):
            return moved, reached
    return position, value


def _log_likelihood(pairs: PairCounts, model: TieModel, position: np.ndarray, prior: float) -> float:
    strength = position[: pairs.n_players]
    tie = _tie(model, position)
    chance = model.log_chance(strength[pairs.first] - strength[pairs.second], tie)
    return float((pairs.counts * chance).sum() - prior * (2.0 * np.logaddexp(0.0, strength) - strength).sum())


def _derivatives(
    pairs: PairCounts, model: TieModel, position: np.ndarray, prior: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Fisher information, made invertible along the direction in which all strengths move."""
    n, first, second = pairs.n_players, pairs.first, pairs.second
    strength, tie = position[:n], float(position[-1]) if model.has_parameter else 0.0
    difference = strength[first] - strength[second]
    score = model.score(difference, tie)
    slope = np.einsum("py,pyk->pk", pairs.counts, score)
    spread = np.einsum(
        "p,py,pyk,pyl->pkl", pairs.counts.sum(axis=1), model.chance(difference, tie), score, score
    )
    won = expit(strength)
    information = np.zeros((len(position), len(position)))
    information[first, second] = information[second, first] = -spread[:, 0, 0]
    information[np.arange(n), np.arange(n)] = -information[:n, :n].sum(axis=1)
    information[:n, :n] += (
        np.diag(2.0 * prior * won * (1.0 - won)) if prior else np.full((n, n), spread[:, 0, 0].mean() / n)
    )
    gradient = np.zeros(len(position))
    gradient[:n] = _signed(slope[:, 0], pairs) + prior * (1.0 - 2.0 * won)
    if model.has_parameter:
        gradient[n] = slope[:, 1].sum()
        information[n, n] = spread[:, 1, 1].sum()
        information[:n, n] = information[n, :n] = _signed(spread[:, 0, 1], pairs)
    return gradient, information


def _signed(of_pairs: np.ndarray, pairs: PairCounts) -> np.ndarray:
    """[P] -> [K] summed for the first of each pair, subtracted for the second."""
    n = pairs.n_players
    return np.bincount(pairs.first, of_pairs, n) - np.bincount(pairs.second, of_pairs, n)


def clustered_covariance(rows: Battles, pairs: PairCounts, peak: Peak, cluster: np.ndarray) -> np.ndarray:
    """The sandwich: clusters' scores, squared and summed, between two inverse informations; G / (G - 1)."""
    n, size = pairs.n_players, len(peak.position)
    first, second = np.minimum(rows.winner, rows.loser), np.maximum(rows.winner, rows.loser)
    outcome = np.where(rows.winner == first, 0, 2)
    if rows.is_tie is not None:
        outcome = np.where(rows.is_tie, 1, outcome)
    place = np.zeros((n, n), dtype=np.int64)
    place[pairs.first, pairs.second] = np.arange(len(pairs.first))
    difference = peak.position[pairs.first] - peak.position[pairs.second]
    score = peak.model.score(difference, _tie(peak.model, peak.position))
    moved = score[place[first, second], outcome]
    if rows.weights is not None:
        moved = rows.weights[:, None] * moved
    columns, entries = [first, second], [moved[:, 0], -moved[:, 0]]
    if size > n:
        columns, entries = [*columns, np.full(len(moved), n)], [*entries, moved[:, 1]]
    indices = np.tile(cluster, len(columns)), np.concatenate(columns)
    n_clusters = int(cluster.max()) + 1
    scores = csr_array((np.concatenate(entries), indices), shape=(n_clusters, size))
    meat = (scores.T @ scores).toarray() * (n_clusters / (n_clusters - 1.0))
    return np.asarray(peak.bread @ meat @ peak.bread)


def _warning(groups: list[str]) -> str | None:
    if not groups:
        return None
    shown = " | ".join(groups[:4]) + (" | ..." if len(groups) > 4 else "")
    return (
        f"players {shown} did not both win and lose against each other, so that a strength has no finite "
        "estimate; each player was given half a win and half a loss against an average one, and the distance "
        "between these groups is what that makes it"
    )


def _tie(model: TieModel, position: np.ndarray) -> float:
    return float(position[-1]) if model.has_parameter else 0.0
