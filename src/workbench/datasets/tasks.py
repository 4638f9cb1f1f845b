"""The embedded prompt set, `data/tasks.jsonl`: 720 prompts with computed answers, made by this module.

`python -m workbench.datasets` writes the file anew; the same seed gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from workbench.datasets.families import FAMILIES, Problem
from workbench.errors import DataError
from workbench.outcomes import normalise
from workbench.settings import data_dir
from workbench.storage import read_bytes
from workbench.types import Prompt

SEED = 20261123
PER_CELL = 40
"""Prompts of one task and one difficulty; half of them train, half test."""

_CLOSINGS = (
    "Give the final answer on the last line as `Answer: {form}`.",
    "Finish with a line that reads `Answer: {form}`.",
    "You may think step by step. The last line must be `Answer: {form}`.",
    "End your reply with one line in this form: `Answer: {form}`.",
)


@dataclass(frozen=True, slots=True)
class Task:
    """An embedded prompt with what is known about it: its difficulty (1, 2 or 3) and its split."""

    prompt: Prompt
    difficulty: int
    split: str


@lru_cache(maxsize=1)
def tasks() -> tuple[Task, ...]:
    """The embedded prompts in file order.

    Raises:
        StorageError: the file that comes with the package is missing.
        DataError: it is damaged.
    """
    path = data_dir() / "tasks.jsonl"
    lines = read_bytes(path, purpose="embedded prompt set").decode().splitlines()
    try:
        return tuple(_parsed(json.loads(line)) for line in lines)
    except (ValueError, KeyError) as exc:
        raise DataError(f"{path} is damaged ({exc}); run `python -m workbench.datasets`") from exc


def generate(*, seed: int = SEED, per_cell: int = PER_CELL) -> tuple[Task, ...]:
    """Draw `per_cell` prompts for each task and difficulty; no two have the same text after folding."""
    seen: set[str] = set()
    return tuple(
        task
        for family in FAMILIES
        for difficulty in (1, 2, 3)
        for task in _cell(family, difficulty, seed=seed, size=per_cell, seen=seen)
    )


def to_jsonl(drawn: Sequence[Task]) -> str:
    """One JSON object a line, in a fixed order of keys."""
    return "".join(
        json.dumps(
            {
                "prompt_id": task.prompt.prompt_id,
                "text": task.prompt.text,
                "task": task.prompt.task,
                "difficulty": task.difficulty,
                "reference": task.prompt.reference,
                "split": task.split,
            },
            ensure_ascii=False,
        )
        + "\n"
        for task in drawn
    )


def _cell(family: str, difficulty: int, *, seed: int, size: int, seen: set[str]) -> Iterator[Task]:
    """The prompts of one task and difficulty, templates taking turns, adding their texts to `seen`."""
    rng = Random(f"{seed}/{family}/{difficulty}")
    templates = FAMILIES[family]
    splits = ["train"] * (size - size // 2) + ["test"] * (size // 2)
    rng.shuffle(splits)
    for number, split in enumerate(splits, start=1):
        template = templates[number % len(templates)]
        problem = template(rng, difficulty)
        while normalise(problem.question) in seen:
            problem = template(rng, difficulty)
        seen.add(normalise(problem.question))
        prompt_id = f"{family}-{difficulty}-{number:03d}"
        text = _text(problem, closing=rng.choice(_CLOSINGS))
        yield Task(Prompt(prompt_id, text, family, reference=problem.reference), difficulty, split)


def _text(problem: Problem, *, closing: str) -> str:
    separator = "\n\n" if "\n" in problem.question else " "
    return f"{problem.question}{separator}{closing.format(form=problem.form)}"


def _parsed(row: Mapping[str, str | int]) -> Task:
    prompt = Prompt(
        prompt_id=str(row["prompt_id"]),
        text=str(row["text"]),
        task=str(row["task"]),
        reference=str(row["reference"]),
    )
    return Task(prompt, int(row["difficulty"]), str(row["split"]))
