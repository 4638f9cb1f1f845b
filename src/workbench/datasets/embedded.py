"""The embedded prompt set, `data/tasks.jsonl`: 720 prompts with computed answers, made by this project."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from workbench.errors import DataError
from workbench.settings import data_dir
from workbench.storage import read_bytes
from workbench.types import Prompt


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


def _parsed(row: Mapping[str, str | int]) -> Task:
    prompt = Prompt(
        prompt_id=str(row["prompt_id"]),
        text=str(row["text"]),
        task=str(row["task"]),
        reference=str(row["reference"]),
    )
    return Task(prompt, int(row["difficulty"]), str(row["split"]))
