"""What the heads of the controller learn from, and from which part which prompts are withheld.

Dimensions: N prompts, A active n-gram buckets, D dense features, M models, P parts, R patterns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.routing.forecast import Floats
from workbench.routing.model_space import ModelSpace

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesson:
    """The training prompts as the heads see them.

    `rows` [N, A] weighted n-grams, `dense` [N, D], `text` [N, columns] of length 1, `tasks` [N] their codes,
    `quality` [N, M], its `scores` [N, R] in `space`, and `withheld` [N, P], of which the first `n_random`
    parts are random.
    """

    rows: csr_array
    dense: Singles
    text: Singles
    tasks: NDArray[np.int64]
    quality: Floats
    scores: Floats
    space: ModelSpace
    withheld: NDArray[np.bool_]
    n_random: int
