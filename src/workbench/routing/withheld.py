"""Which training prompts are withheld from which part: at random, and whole neighbourhoods at once.

Dimensions: N prompts, P parts, Q regions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.routing.training_data import parts_by_group

_FEWEST_PROMPTS = 20


def random_parts(groups: NDArray[np.int64], n_parts: int, *, seed: int) -> NDArray[np.bool_]:
    """[N, P] whether the prompt is withheld: once each, prompts of one group together."""
    n_parts = min(n_parts, len(np.unique(groups)))
    part = parts_by_group(groups, n_parts, seed=seed)
    withheld: NDArray[np.bool_] = part[:, None] == np.arange(n_parts)
    return withheld


def regions(
    tasks: Sequence[str | None], text: NDArray[np.float32], n_regions: int, *, seed: int
) -> NDArray[np.bool_]:
    """[N, Q] whether the prompt is withheld with its neighbourhood: its task's, or its cluster's.

    Tasks are put together until there are `n_regions`; where the table has fewer than two, the prompts are
    clustered by what they say, `text` [N, P]. No region, [N, 0], where the prompts are few.
    """
    if n_regions < 1 or len(text) < n_regions * _FEWEST_PROMPTS:
        return np.zeros((len(text), 0), dtype=np.bool_)
    is_labelled = all(task is not None for task in tasks) and len(set(tasks)) > 1
    label = _by_task(tasks, n_regions, seed) if is_labelled else _by_cluster(text, n_regions, seed)
    withheld: NDArray[np.bool_] = label[:, None] == np.unique(label)
    return withheld


def _by_task(tasks: Sequence[str | None], n_regions: int, seed: int) -> NDArray[np.int64]:
    """[N] tasks in random order, each to the region with the fewest prompts so far."""
    names, codes, counts = np.unique(np.array(tasks, dtype=str), return_inverse=True, return_counts=True)
    region, load = np.zeros(len(names), dtype=np.int64), np.zeros(min(n_regions, len(names)))
    for task in np.random.default_rng(seed).permutation(len(names)):
        region[task] = int(load.argmin())
        load[region[task]] += counts[task]
    return region[codes]


def _by_cluster(text: NDArray[np.float32], n_regions: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import MiniBatchKMeans

    labels: NDArray[np.int64] = (
        MiniBatchKMeans(n_regions, random_state=seed, n_init=3, batch_size=1024).fit_predict(text)
    ).astype(np.int64)
    return labels
