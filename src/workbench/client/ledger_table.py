"""The ledger as a table, for whoever wants to see where the money and the time went."""

from collections.abc import Iterable

import pandas as pd

from workbench.types import Attempt

COLUMNS = {
    "prompt_id": "string",
    "provider": "string",
    "model": "string",
    "account": "string",
    "number": "int64",
    "started_s": "float64",
    "latency_s": "float64",
    "first_token_s": "float64",
    "cost_usd": "float64",
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "is_estimated": "boolean",
    "error": "string",
    "is_fallback": "bool",
    "fallback_reason": "string",
}
"""Columns and their types, named as in an outcome table; what is not known is absent."""


def table_of(attempts: Iterable[Attempt]) -> pd.DataFrame:
    """One row an attempt, in the order in which they ended."""
    rows = [_row(attempt) for attempt in attempts]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(attempt: Attempt) -> dict[str, object]:
    provider, _, model = attempt.model_id.partition("/")
    usage = attempt.usage
    return {
        "prompt_id": attempt.prompt_id,
        "provider": provider,
        "model": model,
        "account": attempt.account,
        "number": attempt.number,
        "started_s": attempt.started_s,
        "latency_s": attempt.latency_s,
        "first_token_s": attempt.first_token_s,
        "cost_usd": attempt.cost_usd,
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "is_estimated": None if usage is None else usage.is_estimated,
        "error": attempt.error,
        "is_fallback": attempt.is_fallback,
        "fallback_reason": attempt.fallback_reason,
    }
