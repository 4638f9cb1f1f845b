"""OmnisBench's two recorded runs: code and arithmetic, with cost and latency as they were measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.datasets.recorded import Benchmark

_RUNS = (Path("runs/2026-08-19/results.json"), Path("runs/fresh-16k-2026-08-20/results.json"))
_PROMPTS = (Path("data/humaneval.jsonl"), Path("data/gsm8k.jsonl"))


def convert(benchmark: Benchmark, folder: Path) -> pd.DataFrame:
    """One row per prompt and model: the first call that either run recorded for them.

    The source repeats a cached answer under each routing policy. It does not publish the prompts of
    LiveCodeBench: there `prompt` is absent.
    """
    prompts = dict(_prompts(folder))
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}  # Any: JSON at the border
    for run in _RUNS:
        for item in json.loads((folder / run).read_text(encoding="utf-8"))["items"]:
            rows.setdefault((item["item_id"], item["chosen_model"]), item)
    return pd.DataFrame(
        [
            {
                "prompt_id": item["item_id"],
                "prompt": prompts.get(item["item_id"]),
                "benchmark": "omnisbench",
                "task": item["dataset"],
                "arm": item["chosen_model"],
                "model": item["chosen_model"],
                "quality": float(item["passed"]),
                "cost_usd": float(item["cost_usd"]),
                "latency_s": float(item["latency_ms"]) / 1000.0,
                "input_tokens": int(item["input_tokens"]),
                "output_tokens": int(item["output_tokens"]),
                "response": item["response_text"],
            }
            for item in rows.values()
        ]
    )


def _prompts(folder: Path) -> list[tuple[str, str]]:
    lines = [line for path in _PROMPTS for line in (folder / path).read_text(encoding="utf-8").split("\n")]
    records = [json.loads(line) for line in lines if line.strip()]
    return [(str(record["id"]), str(record["prompt"])) for record in records]
