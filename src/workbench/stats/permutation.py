"""Permutation tests of a difference of means: signs of pairs (or of clusters), and labels of two samples.

Statistics are compared as sums; two sums that differ by rounding alone count as equal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.clusters import codes_of
from workbench.stats.two_sample import check_samples

Floats = NDArray[np.float64]

_MAX_ENUMERATED = 20
"""Units up to which all assignments are looked at: 2^20, about a million."""
_EQUAL = 1e-12
"""Share of the largest possible sum below which sums differ by rounding alone."""
_CHUNK = 4_000_000
_BYTE_SIGNS: Floats = (
    2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float64) - 1.0
)
"""[256, 8] the eight signs that a random byte stands for."""


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """`estimate` is the difference of means, treatment minus control.

    `p_value` is two-sided: the share of permutations whose difference is at least as far from 0. `p_greater`
    and `p_less` are one-sided: at least as large, at least as small. If `is_exact`, all permutations are
    counted, one by one or (`n_permutations` is then 0) by a closed form; else `n_permutations` were drawn
    and each share is (1 + count) / (1 + n_permutations).
    """

    estimate: float
    p_value: float
    p_greater: float
    p_less: float
    n_permutations: int
    is_exact: bool


def sign_flip(
    differences: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    n_permutations: int = 9999,
    seed: int = 0,
) -> PermutationTest:
    """Test that paired `differences` [N] are symmetric about 0, by flipping their signs.

    With `clusters` [N] whole clusters flip. Exact where the units that are not 0 all have one size (0/1
    scores: it is then McNemar's exact test) or are 20 at most; else Monte Carlo.

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])).p_value
    0.0625

    Raises:
        DataError: a difference that is not finite, or clusters of another length.
        InsufficientDataError: no differences.
    Source: Fisher (1935), The Design of Experiments, sec. 21; Phipson & Smyth (2010), Permutation P-values
        Should Never Be Zero; Winkler et al. (2014), NeuroImage 92, for whole clusters.
    """
    if len(differences) == 0:
        raise InsufficientDataError("a sign-flip test needs a difference; there is none")
    if not np.isfinite(differences).all():
        raise DataError("differences must be finite; leave out the pairs that have none")
    estimate = float(np.mean(differences))
    sums = np.bincount(codes_of(clusters, len(differences)), weights=differences)
    tiny = _EQUAL * float(np.abs(sums).sum())
    sizes = np.abs(sums[np.abs(sums) > tiny])
    total = float(sums.sum())
    if len(sizes) == 0 or np.ptp(sizes) <= tiny / len(sizes):
        return _binomial(estimate, int((sums > tiny).sum()), len(sizes))
    if len(sizes) <= _MAX_ENUMERATED:
        return _counted(estimate, total, _all_sums(sizes), tiny=tiny, is_exact=True)
    drawn = _flipped_sums(sizes, n_permutations, np.random.default_rng(seed))
    return _counted(estimate, total, drawn, tiny=tiny, is_exact=False)


def two_sample_permutation(
    treatment: np.ndarray, control: np.ndarray, *, n_permutations: int = 9999, seed: int = 0
) -> PermutationTest:
    """Test that two samples [N], [M] come from one distribution, by exchanging their labels.

    Exact for 0/1 scores (hypergeometric) and for 20 rows or fewer in all; else Monte Carlo, where time
    grows with rows times permutations. Differences as far from 0 in the other direction count as extreme:
    for samples of unequal size this is not twice the smaller one-sided value.

    Raises:
        DataError: a value that is not finite.
        InsufficientDataError: fewer than two rows in a sample.
    Source: Pitman (1937), JRSS Suppl. 4; Phipson & Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9.
    """
    check_samples(treatment, control)
    n, pooled = len(treatment), np.concatenate([treatment, control]).astype(np.float64)
    estimate = float(np.mean(treatment) - np.mean(control))
    centred = pooled - pooled.mean()
    tiny = _EQUAL * float(np.abs(centred).sum())
    total = float(centred[:n].sum())
    if np.isin(pooled, (0.0, 1.0)).all():
        return _hypergeometric(estimate, total, pooled, n)
    if len(pooled) <= _MAX_ENUMERATED:
        return _counted(estimate, total, _all_choices(centred, n), tiny=tiny, is_exact=True)
    drawn = _shuffled_sums(centred, n, n_permutations, np.random.default_rng(seed))
    return _counted(estimate, total, drawn, tiny=tiny, is_exact=False)


def _binomial(estimate: float, n_positive: int, n: int) -> PermutationTest:
    greater = float(stats.binom.sf(n_positive - 1, n, 0.5))
    less = float(stats.binom.cdf(n_positive, n, 0.5))
    two_sided = min(1.0, 2.0 * min(greater, less))
    return PermutationTest(estimate, two_sided, greater, less, 0, is_exact=True)


def _hypergeometric(estimate: float, total: float, pooled: Floats, n: int) -> PermutationTest:
    n_ones = int(pooled.sum())
    possible = np.arange(max(0, n + n_ones - len(pooled)), min(n, n_ones) + 1)
    share = stats.hypergeom.pmf(possible, len(pooled), n_ones, n)
    sums = possible - n * n_ones / len(pooled)
    tiny = 1e-9
    return PermutationTest(
        estimate,
        min(1.0, float(share[np.abs(sums) >= abs(total) - tiny].sum())),
        min(1.0, float(share[sums >= total - tiny].sum())),
        min(1.0, float(share[sums <= total + tiny].sum())),
        0,
        is_exact=True,
    )


def _counted(estimate: float, total: float, sums: Floats, *, tiny: float, is_exact: bool) -> PermutationTest:
    """Shares of `sums` at least as extreme as `total`; the +1 rule counts the data as one more draw."""
    extra = 0 if is_exact else 1
    two_sided, greater, less = (
        (extra + int(np.sum(is_extreme))) / (extra + len(sums))
        for is_extreme in (
            np.abs(sums) >= abs(total) - tiny,
            sums >= total - tiny,
            sums <= total + tiny,
        )
    )
    return PermutationTest(estimate, two_sided, greater, less, len(sums), is_exact)


def _all_sums(sizes: Floats) -> Floats:
    """[m] -> [2^m] the sum under each choice of signs."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def _all_choices(values: Floats, n: int) -> Floats:
    """[m] -> the sums of all choices of `n` of the values."""
    sums, counts = np.zeros(1), np.zeros(1, dtype=np.int64)
    for value in values:
        sums, counts = np.concatenate([sums, sums + value]), np.concatenate([counts, counts + 1])
    chosen: Floats = sums[counts == n]
    return chosen


def _flipped_sums(sizes: Floats, n_permutations: int, random: np.random.Generator) -> Floats:
    """[m] -> [n_permutations] sums under random signs; eight at a time, by a table of their 256 sums."""
    padded = np.concatenate([sizes, np.zeros(-len(sizes) % 8)]).reshape(-1, 8)
    sums = np.zeros(n_permutations)
    for eight in padded:
        sums += (_BYTE_SIGNS @ eight)[random.integers(256, size=n_permutations, dtype=np.uint8)]
    return sums


def _shuffled_sums(values: Floats, n: int, n_permutations: int, random: np.random.Generator) -> Floats:
    """[m] -> [n_permutations] sums of `n` values chosen at random; the values add up to 0."""
    n_chosen = min(n, len(values) - n)
    sums = np.empty(n_permutations)
    for row in range(n_permutations):
        sums[row] = random.choice(values, n_chosen, replace=False, shuffle=False).sum()
    return sums if n_chosen == n else -sums
