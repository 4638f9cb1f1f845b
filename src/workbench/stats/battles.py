"""Pairwise judgements, counted by pair: what a model of strengths needs of any number of them.

K players are whole numbers from 0; P pairs that have met; N judgements.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from workbench.errors import DataError, InsufficientDataError


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """[P] pairs of `first` < `second`, and `counts` [P, 3]: first won, tie, second won."""

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray
    n_players: int


@dataclass(frozen=True, slots=True, eq=False)
class Battles:
    """[N] judgements one by one, as `battles` takes them. None: no ties; all weigh 1."""

    winner: np.ndarray
    loser: np.ndarray
    is_tie: np.ndarray | None
    weights: np.ndarray | None
    n_players: int

    def counted(self) -> PairCounts:
        if self.is_tie is None:
            wins, tied = self._table(), np.zeros((self.n_players, self.n_players))
        else:
            wins, tied = self._table(~self.is_tie), self._table(self.is_tie)
        return _folded(wins, tied + tied.T)

    def _table(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """[K, K] weight of winner over loser among the chosen rows."""
        n = self.n_players
        weights = None if self.weights is None else self.weights[chosen]
        pair = self.winner[chosen] * n + self.loser[chosen]
        return np.bincount(pair, weights, n * n).astype(np.float64).reshape(n, n)


def battles(
    winner: np.ndarray, loser: np.ndarray, *, is_tie: np.ndarray | None, weights: np.ndarray | None
) -> Battles:
    """Judgements as given: [N] indices of winner and loser, in either order where `is_tie`.

    Raises:
        DataError: columns of unequal length, an index that is no whole number from 0, a player against
            itself, or a weight that is negative or not finite.
        InsufficientDataError: no judgements.
    """
    winner, loser = np.asarray(winner), np.asarray(loser)
    is_tie = None if is_tie is None else np.asarray(is_tie, dtype=bool)
    weights = None if weights is None else np.asarray(weights, dtype=np.float64)
    _check(winner, loser, is_tie, weights)
    n_players = int(max(winner.max(), loser.max())) + 1
    return Battles(
        winner.astype(np.int64, copy=False),
        loser.astype(np.int64, copy=False),
        is_tie,
        weights,
        n_players,
    )


def counted_table(wins: np.ndarray, ties: np.ndarray | None) -> PairCounts:
    """The counts of a table: `wins` [K, K] of row over column, `ties` [K, K] the same in both halves.

    Raises:
        DataError: not square, negative, not finite, wins over oneself, or ties that are not symmetric.
    """
    n = len(wins)
    tied = np.zeros((n, n)) if ties is None else np.asarray(ties, dtype=np.float64)
    for name, table in (("wins", wins), ("ties", tied)):
        if table.shape != (n, n) or not np.isfinite(table).all() or (table < 0.0).any():
            raise DataError(f"{name} must be a square table of counts >= 0, of one shape with the other")
        if np.diagonal(table).any():
            raise DataError(f"{name} has a count on its diagonal; a player cannot meet itself")
    if (tied != tied.T).any():
        raise DataError("ties must be symmetric: each tie counts once above and once below the diagonal")
    return _folded(wins, tied)


def require_connected(pairs: PairCounts) -> None:
    """Raises DataError, which names the groups, where some players never met any of the others."""
    ones, shape = np.ones(len(pairs.first)), (pairs.n_players, pairs.n_players)
    n_groups, group = connected_components(csr_array((ones, (pairs.first, pairs.second)), shape=shape))
    if n_groups > 1:
        groups = [_named(np.flatnonzero(group == number)) for number in range(min(n_groups, 4))]
        raise DataError(
            f"the players fall into {n_groups} groups that never met, so that their strengths cannot be "
            f"compared: {' | '.join(groups)}; add judgements between them, or rank each group alone"
        )


def separated_groups(pairs: PairCounts) -> list[str]:
    """Players that never lost to, or never beat, all the others: [] where each strength is finite."""
    n, (won, tied, lost) = pairs.n_players, pairs.counts.T
    beats = np.concatenate([(won + tied) > 0.0, (lost + tied) > 0.0])
    start = np.concatenate([pairs.first, pairs.second])[beats]
    end = np.concatenate([pairs.second, pairs.first])[beats]
    graph = csr_array((np.ones(len(start)), (start, end)), shape=(n, n))
    n_groups, group = connected_components(graph, directed=True, connection="strong")
    return [_named(np.flatnonzero(group == number)) for number in range(n_groups)] if n_groups > 1 else []


def _folded(wins: np.ndarray, ties: np.ndarray) -> PairCounts:
    """[K, K] wins of row over column and symmetric ties -> the pairs that have met."""
    first, second = np.nonzero(np.triu(wins + wins.T + ties, k=1))
    if not len(first):
        raise InsufficientDataError("a ranking needs one judgement or more; there is none")
    counts = np.stack([wins[first, second], ties[first, second], wins[second, first]], axis=1)
    return PairCounts(first, second, counts, len(wins))


def _named(players: np.ndarray) -> str:
    shown = ", ".join(str(player) for player in players[:8])
    return f"{shown}, ..." if len(players) > 8 else shown


def _check(
    winner: np.ndarray, loser: np.ndarray, is_tie: np.ndarray | None, weights: np.ndarray | None
) -> None:
    if not len(winner):
        raise InsufficientDataError("a ranking needs one judgement or more; there is none")
    lengths = [len(column) for column in (winner, loser, is_tie, weights) if column is not None]
    if len(set(lengths)) > 1:
        raise DataError(f"a judgement needs one value in each column; the columns have {lengths} rows")
    for name, column in (("winner", winner), ("loser", loser)):
        if column.dtype.kind not in "iu" and (column != np.round(column)).any():
            raise DataError(f"{name} must have whole numbers from 0, the players' indices")
        if column.min() < 0:
            raise DataError(f"{name} is {column.min()} in row {int(np.argmin(column))}; indices start at 0")
    if (winner == loser).any():
        raise DataError(f"row {int(np.argmax(winner == loser))} has a player against itself")
    if weights is not None and not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise DataError("a weight must be finite and >= 0")
