"""The scorer of the embedded prompts, and scores by JSON fields."""

import time

import pytest

from workbench.datasets import Task, tasks
from workbench.scoring import answer, json_fields

SAMPLE = tasks()[::7]


@pytest.mark.parametrize("task", SAMPLE, ids=lambda task: task.prompt.prompt_id)
def test_an_embedded_reference_is_right_in_any_dress_and_its_prompt_alone_is_not(task: Task) -> None:
    prompt, reference = task.prompt, str(task.prompt.reference)
    assert answer(f"Let me see.\n\nAnswer: {reference}", reference) == 1.0
    assert answer(f"Well ...\n**Answer:** `{reference}`\n\nI hope this helps!", reference) == 1.0
    assert answer(prompt.text, reference) == 0.0
    assert answer(f"Answer: {reference}\nNo, wait.\nAnswer: 17.25", reference) == 0.0


@pytest.mark.parametrize(
    ("response", "reference", "quality"),
    [
        ("Answer: 42", "42", 1.0),
        ("answer : $42.00", "42", 1.0),
        ("Answer:\n\n42", "42", 1.0),
        ("Answer: 42 km", "42", 1.0),
        ("Answer: x = 42", "42", 1.0),
        ("Answer: 41\nWait.\nAnswer: 42", "42", 1.0),
        ("Answer: 42\nWait.\nAnswer: 41", "42", 0.0),
        ("Answer: 41 or 42", "42", 0.0),
        ("It is 42, as 6 * 7 is.", "42", 0.0),
        ("42", "42", 1.0),
        ("The day is Monday.", "Monday", 0.0),
        ("Answer: Monday.", "Monday", 1.0),
        ("Answer: <Monday>", "Monday", 1.0),
        ("Answer: [ann, Bob]", "Ann, Bob", 1.0),
        ("Answer: Bob, Ann", "Ann, Bob", 0.0),
        ("Answer: 2024-05-01", "2024-05-01", 1.0),
        ("Answer: 2024-05-02", "2024-05-01", 0.0),
        ('Answer: {"a": "1", "b": "X y"}', '{"b": "x  Y", "a": 1}', 1.0),
        ('Answer:\n```json\n{\n "a": 1,\n "b": 2\n}\n```', '{"a": 1, "b": 2}', 1.0),
        ('Answer: {"a": 1}', '{"a": 1, "b": 2}', 0.0),
        ('Answer: {"a": 1, "b": 2, "c": 3}', '{"a": 1, "b": 2}', 0.0),
        ('I would say {"a": 1}\nAnswer: {"a": 2}', '{"a": 1}', 0.0),
        ('Answer: {"a": true}', '{"a": 1}', 0.0),
    ],
)
def test_the_final_answer_decides(response: str, reference: str, quality: float) -> None:
    assert answer(response, reference) == quality


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ('{"name": "Ann", "age": 30, "tags": ["x", "y"]}', 1.0),
        ('{"name": "ann ", "age": "30", "tags": ["X", "y"]}', 1.0),
        ('As \\frac{1}{2} shows: {"name": "Ann", "age": 30}', 2 * 2 / (2 + 3)),
        ('{"name": "Ann", "age": 31, "tags": ["y", "x"]}', 2 * 1 / (3 + 3)),
        ('first {"name": "Bob"}, then {"name": "Ann"}', 2 * 1 / (1 + 3)),
        ('{"name": "Ann", "age": 30, "tags": ["x", "y"], "more": 1}', 2 * 3 / (4 + 3)),
        ("{}", 0.0),
        ("no object", 0.0),
        ('{"name": "Ann"', 0.0),
    ],
    ids=[
        "equal",
        "dressed",
        "two-of-three",
        "one-of-three",
        "last-object",
        "one-more",
        "empty",
        "none",
        "torn",
    ],
)
def test_json_fields_is_the_f1_of_equal_fields(response: str, quality: float) -> None:
    assert json_fields(response, '{"name": "Ann", "age": 30, "tags": ["x", "y"]}') == pytest.approx(quality)


def test_a_deep_and_long_object_that_never_closes_takes_bounded_time() -> None:
    started = time.process_time()
    assert json_fields('{"a":[' * 200 + "1," * 400_000, '{"a": 1}') == 0.0
    assert time.process_time() - started < 10.0
