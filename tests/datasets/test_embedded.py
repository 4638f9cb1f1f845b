"""The embedded prompt set as a file: reproducible, balanced, without duplicates."""

import subprocess
import sys
from collections import Counter

import pytest

from workbench.datasets import tasks
from workbench.datasets.embedded import to_jsonl
from workbench.datasets.families import FAMILIES
from workbench.datasets.families.problem import Problem
from workbench.datasets.generate import generate
from workbench.outcomes import normalise
from workbench.settings import data_dir


def test_the_generator_gives_the_very_bytes_of_the_file() -> None:
    assert to_jsonl(generate()).encode() == (data_dir() / "tasks.jsonl").read_bytes()


def test_the_file_holds_what_the_generator_drew() -> None:
    assert tasks() == generate()


def test_every_task_and_difficulty_is_half_train_half_test() -> None:
    counts = Counter((task.prompt.task, task.difficulty, task.split) for task in tasks())
    cells = {(name, level, split) for name in FAMILIES for level in (1, 2, 3) for split in ("train", "test")}
    assert counts == dict.fromkeys(cells, 20)


def test_no_two_prompts_are_the_same_after_folding() -> None:
    texts = [normalise(task.prompt.text.rsplit("Answer:", 1)[0]) for task in tasks()]
    ids = [task.prompt.prompt_id for task in tasks()]
    assert len(set(texts)) == len(set(ids)) == len(tasks()) == 720


def test_every_prompt_says_how_its_last_line_must_look() -> None:
    assert all("`Answer: <" in task.prompt.text.splitlines()[-1] for task in tasks())


def test_no_task_can_be_answered_by_one_guess() -> None:
    for name in FAMILIES:
        references = Counter(task.prompt.reference for task in tasks() if task.prompt.task == name)
        assert references.most_common(1)[0][1] <= 20


@pytest.mark.parametrize("name", FAMILIES)
def test_a_task_uses_every_template_at_every_difficulty(name: str) -> None:
    assert len(FAMILIES[name]) >= 5
    assert len({template.__name__ for template in FAMILIES[name]}) == len(FAMILIES[name])


def test_another_seed_gives_other_prompts() -> None:
    mine, other = generate(seed=1, per_cell=6), generate(seed=2, per_cell=6)
    assert len(mine) == len(other) == 108
    assert not {task.prompt.text for task in mine} & {task.prompt.text for task in other}


def test_a_problem_says_what_its_answer_looks_like() -> None:
    assert Problem("2 + 2?", "4").form == "<number>"


def test_the_embedded_prompts_load_neither_pandas_nor_httpx() -> None:
    code = (
        "import sys; from workbench.datasets import tasks; tasks(); "
        "print({'pandas', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
