"""The Pareto front of quality, cost and latency: which arms are on it, how surely, and which dominate which.

An arm is on the front where no other is at least as good in every objective and better in one. N prompts, M
arms, K objectives (2 or 3), G units that are resampled, B resamples.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import codes_of
from workbench.stats.multiplicity import holm

_MAX_UNITS = 4096
_CHUNK = 4_000_000
"""Comparisons, or numbers drawn, at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class ParetoFront:
    """Means of the arms, and what is known of their order; arrays are [M], [M, M] or [K, M, M].

    `is_on_front` is that of the means seen; `front_probability` the share of bootstrap resamples of prompts
    in which an arm is on it, and `dominance_probability[i, j]` that in which i dominates j.
    `difference[k, i, j]` is arm i minus arm j in objective k (quality, cost, latency), with its paired t
    interval (CR1 where there are clusters) from `difference_low` to `difference_high`. `p_value[i, j]` is the
    greatest of the one-sided p-values that i is better in each objective: i is shown to dominate j only if
    every difference is settled. `dominates` is where that holds after Holm's correction for all ordered
    pairs: any false claim among them has a probability of at most alpha.
    """

    quality: np.ndarray
    cost: np.ndarray
    latency: np.ndarray | None
    is_on_front: np.ndarray
    front_probability: np.ndarray
    dominance_probability: np.ndarray
    difference: np.ndarray
    difference_low: np.ndarray
    difference_high: np.ndarray
    p_value: np.ndarray
    dominates: np.ndarray
    n_prompts: int
    n_clusters: int


def pareto_front(
    quality: np.ndarray,
    cost: np.ndarray,
    latency: np.ndarray | None = None,
    *,
    clusters: np.ndarray | None = None,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    seed: int = 0,
) -> ParetoFront:
    """The front of the arms' means over the same prompts: quality high, cost low, and maybe latency low.

    Prompts (or clusters) are resampled whole: what makes one hard for all arms cancels. More than 4,096 are
    first added up in 4,096 groups drawn at random, which are independent too.

    >>> quality, cost = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), np.array([[2.0, 1.0, 3.0]] * 2)
    >>> front = pareto_front(quality, cost)
    >>> front.is_on_front.tolist()
    [True, True, False]

    Args:
        quality, cost, latency: [N, M] of each prompt and arm, none missing.
        clusters: [N] equal for prompts that are not independent.
    Raises:
        DataError: tables of unequal shape, or a value that is not finite.
        InsufficientDataError: fewer than two prompts or clusters, or than two arms.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 6; Berger (1982), Multiparameter
        hypothesis testing and acceptance sampling, Technometrics 24, for the greatest of several p-values.
    """
    tables = [np.asarray(part, dtype=np.float64) for part in (quality, cost, latency) if part is not None]
    _check(tables)
    losses = np.stack([-tables[0], *tables[1:]])
    codes = codes_of(clusters, len(tables[0]))
    sums, sizes = _summed(losses, codes)
    if len(sizes) < 2:
        raise InsufficientDataError(f"a front needs 2 prompts or clusters or more; there is {len(sizes)}")
    means = losses.mean(axis=1)
    error = _errors(sums - sizes[:, None] * means[:, None, :], sizes)
    difference = means[:, :, None] - means[:, None, :]
    p_value = _p_values(difference, error, len(sizes))
    margin = float(stats.t.isf(alpha / 2.0, len(sizes) - 1)) * error
    sign = np.array([-1.0, 1.0, 1.0])[: len(losses), None, None]
    on_front, dominance = _resampled(sums, sizes, n_resamples=n_resamples, seed=seed)
    return ParetoFront(
        quality=-means[0],
        cost=means[1],
        latency=means[2] if len(means) > 2 else None,
        is_on_front=~_dominated(means[None])[0].any(axis=0),
        front_probability=on_front,
        dominance_probability=dominance,
        difference=sign * difference,
        difference_low=sign * difference - margin,
        difference_high=sign * difference + margin,
        p_value=p_value,
        dominates=_shown(p_value, alpha),
        n_prompts=len(codes),
        n_clusters=len(sizes),
    )


def _summed(losses: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[K, N, M] -> [K, G, M] sums over each unit's prompts, and [G] how many these are."""
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    return np.add.reduceat(losses[:, order], starts, axis=1), sizes.astype(np.float64)


def _errors(residuals: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[K, G, M] -> [K, M, M] standard errors of the differences, paired, robust to clusters (CR1)."""
    n, n_units = sizes.sum(), len(sizes)
    products = np.swapaxes(residuals, 1, 2) @ residuals * (n_units / (n_units - 1.0)) / n**2
    own = np.diagonal(products, axis1=1, axis2=2)
    variance = own[:, :, None] + own[:, None, :] - 2.0 * products
    rounding = 1e-12 * (own[:, :, None] + own[:, None, :])
    return np.asarray(np.sqrt(np.where(variance > rounding, variance, 0.0)))


def _p_values(difference: np.ndarray, error: np.ndarray, n_units: int) -> np.ndarray:
    """[K, M, M] losses, row minus column -> [M, M] the greatest one-sided p-value that each is lower.

    A difference that is the same on all units has that of the sign test, 1 / 2^G.
    """
    t = difference / np.where(error > 0.0, error, 1.0)
    same = np.where(difference < 0.0, 0.5**n_units, 1.0)
    p_value = np.where(error > 0.0, stats.t.cdf(t, n_units - 1), same).max(axis=0)
    np.fill_diagonal(p_value, 1.0)
    return np.asarray(p_value)


def _shown(p_value: np.ndarray, alpha: float) -> np.ndarray:
    is_pair = ~np.eye(len(p_value), dtype=bool)
    shown = np.zeros_like(is_pair)
    shown[is_pair] = np.array(holm(p_value[is_pair].tolist())) <= alpha
    return shown


def _dominated(means: np.ndarray) -> np.ndarray:
    """[B, K, M] losses -> [B, M, M] whether the row dominates the column."""
    rows, columns = means[:, :, :, None], means[:, :, None, :]
    return np.asarray((rows <= columns).all(axis=1) & (rows < columns).any(axis=1))


def _resampled(
    sums: np.ndarray, sizes: np.ndarray, *, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """[M] share of the resamples in which an arm is on the front, [M, M] in which one dominates another."""
    random, n_arms = np.random.default_rng(seed), sums.shape[2]
    if len(sizes) > _MAX_UNITS:
        sums, sizes = _summed_at_random(sums, sizes, random)
    n_units, n_rows = len(sizes), max(1, _CHUNK // max(len(sizes), len(sums) * n_arms**2))
    on_front, dominance = np.zeros(n_arms), np.zeros((n_arms, n_arms))
    for start in range(0, n_resamples, n_rows):
        size = min(n_rows, n_resamples - start)
        drawn = random.integers(n_units, size=(size, n_units)) + n_units * np.arange(size)[:, None]
        weights = (
            np.bincount(drawn.ravel(), minlength=size * n_units).reshape(size, n_units).astype(np.float64)
        )
        means = np.stack([weights @ part for part in sums], axis=1) / (weights @ sizes)[:, None, None]
        is_dominated = _dominated(means)
        on_front += (~is_dominated.any(axis=1)).sum(axis=0)
        dominance += is_dominated.sum(axis=0)
    return on_front / n_resamples, dominance / n_resamples


def _summed_at_random(
    sums: np.ndarray, sizes: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    group = random.permutation(len(sizes)) % _MAX_UNITS
    return _summed(sums, group)[0], np.bincount(group, weights=sizes)


def _check(tables: list[np.ndarray]) -> None:
    shapes = {table.shape for table in tables}
    if len(shapes) > 1 or tables[0].ndim != 2:
        raise DataError(f"objectives must be tables of prompts by arms, of one shape; got {sorted(shapes)}")
    if tables[0].shape[1] < 2 or tables[0].shape[0] < 2:
        raise InsufficientDataError(
            f"a front needs 2 prompts and 2 arms or more; the shape is {tables[0].shape}"
        )
    if not all(np.isfinite(table).all() for table in tables):
        raise DataError(
            "an objective is missing or infinite; leave out the prompts that an arm did not answer"
        )
