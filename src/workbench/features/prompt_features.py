"""All that is known of prompts before anyone answers them, made once and shared by every router.

Dimensions: N prompts, D n-gram buckets, S structure features, E embedding.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import DataError, StorageError
from workbench.features.embedding_store import EmbeddingStore
from workbench.features.ngrams import FeatureConfig, clip, encodable, hashed
from workbench.features.surface import structure
from workbench.settings import Settings

FEATURES_VERSION = "prompt-features-3"
MINILM = "minilm"

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""[N] texts -> [N, E] float32; a row of NaN for a text whose vector is not known."""


@dataclass(frozen=True, slots=True)
class PromptFeatures:
    """N prompts as numbers.

    `ngrams` [N, D] as `hashed` makes them, `structure` [N, S] float32, `embedding` [N, E] float32 with rows
    of length 1, or of NaN where a prompt's vector is not known; None where none was asked for.
    """

    ngrams: csr_array
    structure: NDArray[np.float32]
    embedding: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """N, the number of prompts."""
        return len(self.structure)

    def rows(self, index: NDArray[np.int64] | slice) -> "PromptFeatures":
        """Some of the prompts, by position."""
        embedding = None if self.embedding is None else self.embedding[index]
        return PromptFeatures(self.ngrams[index], self.structure[index], embedding)


def extract(
    texts: Sequence[str], config: FeatureConfig | None = None, *, embed: Embed | None = None
) -> PromptFeatures:
    """The features of `texts`; `embed` goes before the embedding that `config` names.

    >>> extract(["What is 2 + 2?"]).embedding is None
    True

    Raises:
        MissingExtraError: `config` names "minilm", and the extra `embeddings` is not installed.
        StorageError: the store of vectors fetched ahead of time cannot be read.
        DataError: `embed` did not give one vector for each text, or an infinite one; NaN is none.
    """
    config = config or FeatureConfig()
    embed = embed or _embedder(config)
    return PromptFeatures(
        ngrams=hashed(texts, config),
        structure=structure(texts, max_chars=config.max_chars),
        embedding=None if embed is None else _unit_rows(embed(texts), len(texts)),
    )


def _embedder(config: FeatureConfig) -> Embed | None:
    name = config.embedding
    if name is None:
        return None
    store = EmbeddingStore.default(Settings())
    if name == MINILM:
        return lambda texts: _minilm([clip(encodable(text), config.max_chars) for text in texts], store)
    return lambda texts: store.get(name, texts)


def _minilm(texts: Sequence[str], store: EmbeddingStore) -> NDArray[np.float32]:
    """From the store where it has them; what it cannot read or keep costs time, and nothing else."""
    from workbench.features import sentence  # an extra, and takes seconds to import

    vectors = np.full((len(texts), sentence.N_DIMENSIONS), np.nan, dtype=np.float32)
    with suppress(StorageError):
        known = store.get(MINILM, texts)
        vectors = known if known.shape == vectors.shape else vectors
    missing = np.flatnonzero(np.isnan(vectors).any(axis=1)).tolist()
    if missing:
        new = [texts[i] for i in missing]
        vectors[missing] = sentence.sentence_embedding(new)
        with suppress(StorageError):
            store.put(MINILM, new, vectors[missing])
    return vectors


def _unit_rows(vectors: NDArray[np.float32], n_texts: int) -> NDArray[np.float32]:
    if vectors.ndim != 2 or len(vectors) != n_texts:
        raise DataError(f"an embedding of {n_texts} texts has shape {vectors.shape}; it needs a row for each")
    is_infinite = np.isinf(vectors).any(axis=1)
    if is_infinite.any():
        raise DataError(f"the embedding of text {int(is_infinite.argmax())} (from 0) is infinite")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms != 0.0)
    return unit.astype(np.float32)
