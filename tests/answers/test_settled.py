"""When two responses settle on the same."""

import pytest

from workbench.answers import is_refusal, settled


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("64", "$64"),
        ("1,250.00", "1250 dollars"),
        ("3/4", "0.75"),
        ("Six sevens.\nAnswer: 42", "42"),
        ("so that \\boxed{-7}", "-7"),
        ("(B)", "B. Rome"),
        ("B", "B)"),
        ("{'a': [1, 2]}", '{"a":[1,2]}'),
        ('"Paris"', "Paris."),
        ("First, we halve the sum. " * 12 + "\nThat makes 12 in all.", "12"),
    ],
)
def test_the_same_answer_in_other_dress_agrees(one: str, other: str) -> None:
    assert settled(one) == settled(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "-42"),
        ("2", "2 5"),
        ("007", "7"),
        ("B", "C"),
        ("A dog", "A cat"),
        ("[1, 2]", "[2, 1]"),
        ("", "0"),
    ],
)
def test_other_answers_do_not(one: str, other: str) -> None:
    assert settled(one) != settled(other)


def test_a_refusal_is_told_by_how_it_begins() -> None:
    assert is_refusal("I'm sorry, but I can't help with that.")
    assert not is_refusal("The answer is 4. I'm sorry for the delay.")


def test_a_response_of_a_million_characters_settles_on_what_it_ends_with() -> None:
    assert settled("word " * 200_000 + "\nAnswer: 42") == "42"
    assert settled("12 " * 300_000) == "12"
