"""How long the n-grams of prompts take, beside scikit-learn's hashing of the same n-grams.

    python benchmarks/features.py [PARQUET]

PARQUET is an outcome table, of which the first 10,000 different prompts are taken; without one, prompts are
made of random words. Times are CPU time of the process, the least of all rounds: a busy machine only adds to
it. Both hash in turn, so that they meet the same load.
"""

import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import HashingVectorizer

from workbench.features import FeatureConfig, hashed

N_PROMPTS, N_ONE_BY_ONE, N_ROUNDS = 10_000, 500, 3
BATCH_GATE_S, ONE_GATE_MS, GROWTH_GATE = 0.8, 0.25, 1.2
CONFIG = FeatureConfig()
SHARED = {"norm": None, "alternate_sign": False, "dtype": np.float32}


def main() -> None:
    prompts = recorded(sys.argv[1]) if len(sys.argv) > 1 else made()
    n_chars = sum(map(len, prompts))
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    print(
        f"{len(prompts):,} prompts of {n_chars / len(prompts):.0f} characters, least of {N_ROUNDS} rounds\n"
    )
    ours_s, theirs_s = in_turn(lambda: hashed(prompts), lambda: by_scikit_learn(prompts))
    some = prompts[:N_ONE_BY_ONE]
    one_s, their_one_s = in_turn(
        lambda: [hashed([prompt]) for prompt in some], lambda: [by_scikit_learn([prompt]) for prompt in some]
    )
    one_ms, their_one_ms = (1e3 * took_s / len(some) for took_s in (one_s, their_one_s))
    print(f"{'':<22} {'workbench':>12} {'scikit-learn':>13} {'ratio':>7}")
    print(f"{'all prompts, CPU':<22} {ours_s:>10.3f} s {theirs_s:>11.3f} s {theirs_s / ours_s:>7.1f}")
    print(
        f"{'one prompt, CPU':<22} {one_ms:>9.3f} ms {their_one_ms:>10.3f} ms {their_one_ms / one_ms:>7.1f}\n"
    )
    once_mb, twice_mb = at_work_mb(prompts), at_work_mb(prompts * 2)
    gate("10,000 prompts, CPU s", ours_s * N_PROMPTS / len(prompts), BATCH_GATE_S)
    gate("one prompt, CPU ms", one_ms, ONE_GATE_MS)
    gate("peak memory of twice the prompts, / 2", twice_mb / once_mb / 2, GROWTH_GATE)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """The least CPU seconds of each; the first round fills caches and does not count."""
    rounds = [(cpu_s(ours), cpu_s(theirs)) for _ in range(1 + N_ROUNDS)][1:]
    return min(one for one, _ in rounds), min(one for _, one in rounds)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of the process, over all its threads."""
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


def by_scikit_learn(texts: Sequence[str]) -> csr_array:
    """The same n-grams in as many buckets, with the same weights."""
    words = HashingVectorizer(
        ngram_range=(1, CONFIG.max_word_ngram),
        n_features=CONFIG.n_word_buckets,
        token_pattern=r"(?u)\b\w+\b",
        **SHARED,
    )
    chars = HashingVectorizer(
        analyzer="char_wb", ngram_range=CONFIG.char_ngrams, n_features=CONFIG.n_char_buckets, **SHARED
    )
    views = [words.transform(texts), chars.transform(texts)]
    for view, weight in zip(views, (1.0, CONFIG.char_weight), strict=True):
        view.data = weight * (1.0 + np.log(view.data))
    return csr_array(hstack(views, format="csr"))


def at_work_mb(prompts: Sequence[str]) -> float:
    """Most megabytes held at once, the rows among them."""
    tracemalloc.start()
    rows = hashed(prompts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes
    print(f"{len(prompts):>6,} prompts: rows of {kept / 1e6:.0f} MB, {peak / 1e6:.0f} MB at most")
    return peak / 1e6


def recorded(path: str) -> list[str]:
    """The first different prompts of an outcome table."""
    return pd.read_parquet(path, columns=["prompt"])["prompt"].drop_duplicates().tolist()[:N_PROMPTS]


def made() -> list[str]:
    """Prompts as long as those of MMLU, of words that are as unequal as those of a language."""
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(20_000)]
    shares = [1.0 / (rank + 1) for rank in range(len(words))]
    return [" ".join(draw.choices(words, shares, k=draw.randint(20, 130))) for _ in range(N_PROMPTS)]


def gate(name: str, value: float, most: float) -> None:
    print(f"{'met   ' if value <= most else 'MISSED'}  {name:<42} {value:9.3f}  (<= {most:g})")


if __name__ == "__main__":
    main()
