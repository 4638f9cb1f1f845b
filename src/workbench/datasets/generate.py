"""Drawing the embedded prompt set from its families; `python -m workbench.datasets` writes it to its file."""

from collections.abc import Iterator
from random import Random

from workbench.datasets.embedded import Task
from workbench.datasets.families import FAMILIES, Problem
from workbench.outcomes import normalise
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


def generate(*, seed: int = SEED, per_cell: int = PER_CELL) -> tuple[Task, ...]:
    """Draw `per_cell` prompts for each task and difficulty; no two have the same text after folding."""
    seen: set[str] = set()
    return tuple(
        task
        for family in FAMILIES
        for difficulty in (1, 2, 3)
        for task in _cell(family, difficulty, seed=seed, size=per_cell, seen=seen)
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
