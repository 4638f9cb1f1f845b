"""ZeroEval's answers of 19 models to CRUX, GSM8K and the hardest MATH problems, scored by its rules.

The source keeps the whole answers, as JSON that the models wrote and sometimes spoiled. `response` is the
final answer found in it. CRUX compares text without its outer quotes, the others compare the first number
once `$` and commas are gone and a plain fraction is worked out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from workbench.datasets.originals.estimate import cost_usd, tokens
from workbench.datasets.recorded import Benchmark

_RESULTS = Path("result_dirs")
_TASKS = {"crux": "question", "gsm": "question", "math-l5": "problem"}
_QUOTED = re.compile(r'"answer"\s*:\s*"([^"]*)"')
_BARE = re.compile(r'"?answer"?\s*:\s*([^,\s]*)')
_BOXED = re.compile(r"\\boxed\{(\w+)\}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FRACTION = re.compile(r"(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)")


def convert(benchmark: Benchmark, folder: Path) -> pd.DataFrame:
    """One row per prompt and model; quality is 1 for the right final answer, 0 for another or none."""
    rows = [row for file in benchmark.files for row in _rows(benchmark, folder / file.path)]
    return pd.DataFrame(rows)


def final_answer(output: str) -> str | None:
    """The answer in a model's JSON; None where there is none.

    >>> final_answer('Sure! {"reasoning": "6 * 7", "answer": 42}')
    '42'
    """
    parsed = _first_object(output)
    if "answer" in parsed:
        return str(parsed["answer"])
    found = _QUOTED.search(output) or _BARE.search(output) or _BOXED.search(output[-30:])
    return found.group(1) if found else None


def is_right(task: str, answer: str | None, reference: str) -> bool:
    """Whether `answer` is the reference by the rule of its task."""
    if answer is None:
        return False
    if task == "crux":
        return answer.strip("'\"").replace("\n", "\\n") == reference.strip("'\"")
    given, wanted = _first_number(answer), _first_number(reference)
    return given is not None and given == wanted


def _rows(benchmark: Benchmark, path: Path) -> Iterator[dict[str, str | float | int]]:
    task, model = path.parent.name, path.stem
    for item in json.loads(path.read_text(encoding="utf-8")):
        output, answer = str(item["output"][0]), final_answer(str(item["output"][0]))
        sent, received = tokens(item["chat_history"][0]), tokens(output)
        yield {
            "prompt_id": f"{task}-{item['id']}",
            "prompt": str(item[_TASKS[task]]),
            "benchmark": task,
            "task": task,
            "arm": model,
            "model": model,
            "quality": float(is_right(task, answer, str(item["answer"]))),
            "cost_usd": cost_usd(benchmark, model, input_tokens=sent, output_tokens=received),
            "input_tokens": sent,
            "output_tokens": received,
            "response": answer or "",
        }


def _first_object(text: str) -> dict[str, object]:
    """The first JSON object in `text`, line ends inside its texts forgiven; {} where there is none."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text, start) if start >= 0 else ({}, 0)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _first_number(text: str) -> float | None:
    plain = text.replace("#", "").replace("$", "").replace(",", "").strip()
    fraction = _FRACTION.fullmatch(plain)
    if fraction and float(fraction.group(2)):
        return float(fraction.group(1)) / float(fraction.group(2))
    found = _NUMBER.search(plain)
    return float(found.group()) if found else None
