"""Tokens and cost of a source that recorded neither: 4 characters a token, at a stated price."""

from workbench.datasets.recorded import Benchmark
from workbench.errors import DataError

CHARACTERS_PER_TOKEN = 4
"""Against sets with recorded tokens, within 0.91 to 1.27 of them per model."""


def tokens(text: str) -> int:
    """An estimate, at least 1.

    >>> tokens("a robe takes 2 bolts")
    5
    """
    return max(round(len(text) / CHARACTERS_PER_TOKEN), 1)


def cost_usd(benchmark: Benchmark, model: str, *, input_tokens: int, output_tokens: int) -> float:
    """What the call costs at the prices of `data/benchmarks.json`.

    Raises:
        DataError: the model has no price there.
    """
    prices = benchmark.usd_per_mtok or {}
    if model not in prices:
        raise DataError(
            f"the benchmark {benchmark.name!r} has no price for {model!r} in data/benchmarks.json"
        )
    per_input, per_output = prices[model]
    return (input_tokens * per_input + output_tokens * per_output) / 1e6
