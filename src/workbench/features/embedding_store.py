"""Vectors of texts kept on disk, by the name of the embedder and the SHA-256 of the text.

One SQLite file that any number of processes may use at once. The texts themselves are not kept.

Dimensions: N texts, E numbers of a vector.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, StorageError
from workbench.settings import Settings
from workbench.storage import writable_folder

FILE = "embeddings.sqlite"
_PATIENCE_S = 10.0
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    embedder TEXT NOT NULL, text_sha256 BLOB NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text_sha256)
) WITHOUT ROWID
"""
_ANY = "SELECT vector FROM vectors WHERE embedder = ? LIMIT 1"
_FIND = "SELECT vector FROM vectors WHERE embedder = ? AND text_sha256 = ?"
_PUT = "INSERT OR REPLACE INTO vectors (embedder, text_sha256, vector) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class EmbeddingStore:
    """The vectors in the file `path`; its folder is made where it is missing."""

    path: Path

    @classmethod
    def default(cls, settings: Settings) -> "EmbeddingStore":
        """The store that features are taken from, in the folder of caches."""
        return cls(settings.cache_dir / FILE)

    def get(self, embedder: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """[N, E] float32, a row of NaN for a text that is not there; [N, 0] where nothing of `embedder` is.

        Raises:
            StorageError: the file cannot be read, or is damaged.
        """
        if not self.path.exists():
            return np.empty((len(texts), 0), dtype=np.float32)
        with self._opened() as database:
            n_dimensions = _n_dimensions(database, embedder)
            vectors = np.full((len(texts), n_dimensions), np.nan, dtype=np.float32)
            for row, text in enumerate(texts):
                found = database.execute(_FIND, (embedder, _sha256(text))).fetchone()
                if found is not None and len(found[0]) == 4 * n_dimensions:
                    vectors[row] = np.frombuffer(found[0], dtype="<f4")
        return vectors

    def put(self, embedder: str, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep a vector [N, E] for each text, all of them or none.

        Raises:
            DataError: there is not a finite vector for each text, or E is not that of the vectors there.
            StorageError: the file cannot be written.
        """
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise DataError(f"{len(texts)} texts need as many finite vectors; got shape {vectors.shape}")
        writable_folder(self.path.parent)
        with self._opened() as database:
            n_dimensions = _n_dimensions(database, embedder)
            if n_dimensions not in (0, vectors.shape[1]):
                raise DataError(
                    f"{self.path} has {n_dimensions} numbers a vector of {embedder}, not {vectors.shape[1]}"
                )
            rows = [
                (embedder, _sha256(text), vector.astype("<f4").tobytes())
                for text, vector in zip(texts, vectors, strict=True)
            ]
            database.executemany(_PUT, rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE_S)) as database, database:
                database.execute(_TABLE)
                yield database
        except sqlite3.Error as exc:
            raise StorageError(f"the embeddings in {self.path} cannot be used ({exc}); delete it") from exc


def _n_dimensions(database: sqlite3.Connection, embedder: str) -> int:
    """E of the vectors of `embedder`; 0 where there are none."""
    found = database.execute(_ANY, (embedder,)).fetchone()
    return 0 if found is None else len(found[0]) // 4


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
