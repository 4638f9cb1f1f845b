"""Scores by the closeness of two texts as embeddings see it."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workbench.features.sentence import sentence_embedding

_MOST_REFERENCES = 4_096


def similarity(response: str, reference: str) -> float:
    """The cosine of the sentence embeddings of both, of which the first 256 tokens are read; see `cosine`.

    Raises:
        MissingExtraError: the extra `embeddings` is not installed.
    """
    if not response.strip():
        return 0.0
    return cosine(sentence_embedding([response])[0], _kept(reference))


def cosine(one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    """The cosine of two vectors, in [0, 1]: what points away counts as 0.

    >>> cosine(np.array([1.0, 0.0]), np.array([3.0, 4.0])), cosine(np.array([1.0]), np.array([-1.0]))
    (0.6, 0.0)
    """
    norm = float(np.linalg.norm(one) * np.linalg.norm(two))
    return min(1.0, max(0.0, float(one @ two) / norm)) if norm > 0.0 else 0.0


@lru_cache(maxsize=_MOST_REFERENCES)
def _kept(reference: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = sentence_embedding([reference])[0]
    return vector
