"""RouteLLM's evaluation files: GPT-4 and Mixtral on MMLU and GSM8K, and the judged MT-Bench questions.

A prompt is `contaminated` where its authors list it as close to the training data of their routers. Only the
others reproduce their figures.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from workbench.datasets.originals.estimate import cost_usd, tokens
from workbench.datasets.recorded import Benchmark

_EVALS = Path("routellm/evals")
_MODELS = ("gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1")
_Row = dict[str, str | float | int | bool | None]


def convert(benchmark: Benchmark, folder: Path) -> pd.DataFrame:
    """One row per prompt and model; quality is 0 or 1, for MT-Bench the mean judgement from 1..10 as 0..1."""
    evals = folder / _EVALS
    rows = [
        *_mmlu(benchmark, evals / "mmlu"),
        *_gsm8k(benchmark, evals / "gsm8k"),
        *_mt_bench(evals / "mt_bench"),
    ]
    table = pd.DataFrame(rows)
    return table.assign(arm=table["model"])


def _mmlu(benchmark: Benchmark, folder: Path) -> Iterator[_Row]:
    contaminated, number = _contaminated(folder), 0
    for path in sorted((folder / "responses").glob("mmlu_*.csv")):
        task = path.stem.removeprefix("mmlu_")
        for record in _records(path):
            prompt_id, prompt = f"mmlu-{task}-{number:05d}", record["prompt"]
            number += 1
            for model in _MODELS:
                yield {
                    "prompt_id": prompt_id,
                    "prompt": prompt,
                    "benchmark": "mmlu",
                    "task": task,
                    "model": model,
                    "quality": float(record[model] == "True"),
                    **_estimated(benchmark, model, prompt=prompt, output_tokens=1),
                    "response": None,
                    "contaminated": prompt in contaminated,
                }


def _gsm8k(benchmark: Benchmark, folder: Path) -> Iterator[_Row]:
    contaminated = _contaminated(folder)
    for number, record in enumerate(_records(folder / "gsm8k_responses.csv")):
        for model in _MODELS:
            response = record[f"{model}_response"]
            yield {
                "prompt_id": f"gsm8k-gsm8k-{number:05d}",
                "prompt": record["prompt"],
                "benchmark": "gsm8k",
                "task": "gsm8k",
                "model": model,
                "quality": float(record[model] == "True"),
                **_estimated(benchmark, model, prompt=record["prompt"], output_tokens=tokens(response)),
                "response": response,
                "contaminated": record["prompt"] in contaminated,
            }


def _mt_bench(folder: Path) -> Iterator[_Row]:
    contaminated = _contaminated(folder)
    scores: dict[tuple[int, str], list[float]] = {}
    for judgement in _lines(folder / "judgements.jsonl"):
        key = (int(judgement["question_id"]), str(judgement["model"]))
        scores.setdefault(key, []).append(float(judgement["score"]))
    for question in _lines(folder / "question.jsonl"):
        turns = list(question["turns"])
        for model in _MODELS:
            yield {
                "prompt_id": f"mtbench-{question['question_id']}",
                "prompt": turns[0],
                "benchmark": "mt_bench",
                "task": str(question["category"]),
                "model": model,
                "quality": (fmean(scores[int(question["question_id"]), model]) - 1.0) / 9.0,
                "input_tokens": tokens(turns[0]),
                "contaminated": not contaminated.isdisjoint(turns),
            }


def _estimated(benchmark: Benchmark, model: str, *, prompt: str, output_tokens: int) -> _Row:
    n = tokens(prompt)
    cost = cost_usd(benchmark, model, input_tokens=n, output_tokens=output_tokens)
    return {"cost_usd": cost, "input_tokens": n, "output_tokens": output_tokens}


def _contaminated(folder: Path) -> set[str]:
    return {str(line["eval_prompt"]) for line in _lines(folder / "contaminated_prompts.jsonl")}


def _records(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:  # Any: JSON at the border
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())
