"""What a prompt becomes before a router sees it: hashed n-grams, its structure, a sentence embedding.

The meaning of the numbers is frozen by `FEATURES_VERSION`: what was trained on one version must not be used
with another.
"""

from workbench.features.embedding_store import EmbeddingStore
from workbench.features.ngrams import (
    FeatureConfig,
    clip,
    hashed,
    inverse_document_frequency,
    positions,
    select,
    select_weighted,
    weighted,
)
from workbench.features.prompt_features import FEATURES_VERSION, MINILM, Embed, PromptFeatures, extract
from workbench.features.surface import STRUCTURE_NAMES, structure

__all__ = [
    "FEATURES_VERSION",
    "MINILM",
    "STRUCTURE_NAMES",
    "Embed",
    "EmbeddingStore",
    "FeatureConfig",
    "PromptFeatures",
    "clip",
    "extract",
    "hashed",
    "inverse_document_frequency",
    "positions",
    "select",
    "select_weighted",
    "structure",
    "weighted",
]
