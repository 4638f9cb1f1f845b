"""The 1 % sample of RouterBench that comes with Frontier-CS: 11 models, with recorded cost and response."""

import ast
from pathlib import Path

import pandas as pd

from workbench.datasets.recorded import Benchmark

_FILE = Path("research/problems/llm_router/resources/reference_data.csv")
_COST = "|total_cost"
_RESPONSE = "|model_response"


def convert(benchmark: Benchmark, folder: Path) -> pd.DataFrame:
    """One row per prompt and model. Prompts and responses are Python lists of text in the source.

    The turns of a prompt are joined by line ends; a response is kept as the source writes it.
    """
    wide = pd.read_csv(folder / _FILE, dtype=str, keep_default_na=False)
    columns = [str(column) for column in wide]
    models = sorted(column.removesuffix(_COST) for column in columns if column.endswith(_COST))
    rows = [
        {
            "prompt_id": record["sample_id"],
            "prompt": "\n".join(_texts(record["prompt"])),
            "benchmark": "routerbench",
            "task": record["eval_name"],
            "arm": model,
            "model": model,
            "quality": float(record[model]),
            "cost_usd": float(record[model + _COST]),
            "response": record[model + _RESPONSE],
        }
        for record in wide.to_dict("records")
        for model in models
    ]
    return pd.DataFrame(rows)


def _texts(shown: str) -> list[str]:
    """The texts of a list that was written with `repr`; `shown` itself where it is not one."""
    try:
        value = ast.literal_eval(shown)
    except (ValueError, SyntaxError):
        return [shown]
    return [str(text) for text in value] if isinstance(value, list) else [shown]
