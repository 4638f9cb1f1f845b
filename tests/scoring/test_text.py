"""Scores by text and by multiple choice."""

import pytest

from workbench.scoring import choice, contains, exact, normalised, token_f1


@pytest.mark.parametrize(
    ("response", "reference", "quality"),
    [
        ("**Paris**", "paris", 1.0),
        ("“Paris.”", "Paris", 1.0),
        ("red,  green , blue", "Red, green, blue", 1.0),
        ("\u2212 5", "- 5", 1.0),
        ("\uff21\uff22\uff23", "abc", 1.0),
        ("Paris, France", "Paris", 0.0),
        ("red green", "red, green", 0.0),
    ],
    ids=["emphasis", "quotes", "list", "minus", "full-width", "more", "no-comma"],
)
def test_normalised_looks_past_dress_but_not_past_content(
    response: str, reference: str, quality: float
) -> None:
    assert normalised(response, reference) == quality


def test_exact_minds_case_and_inner_space() -> None:
    assert [exact("Paris\n", "Paris"), exact("paris", "Paris"), exact("a  b", "a b")] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ("It is Paris, of course.", 1.0),
        ("PARIS", 1.0),
        ("Parisians", 0.0),
        ("comparis", 0.0),
        ("comparis Paris", 1.0),
    ],
)
def test_contains_wants_whole_words(response: str, quality: float) -> None:
    assert contains(response, "Paris") == quality


@pytest.mark.parametrize(
    ("response", "reference", "quality"),
    [
        ("the cat sat", "the cat sat down", 2 * (3 / 3) * (3 / 4) / (3 / 3 + 3 / 4)),
        ("a a a", "a", 2 * (1 / 3) * 1 / (1 / 3 + 1)),
        ("dog", "cat", 0.0),
        ("", "", 1.0),
        ("!", "cat", 0.0),
    ],
    ids=["missing-word", "repeated", "disjoint", "both-empty", "no-words"],
)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(
    response: str, reference: str, quality: float
) -> None:
    assert token_f1(response, reference) == pytest.approx(quality)


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("B. Rome", "B"),
        ("B) Rome, since A) is in France", "B"),
        ("**Answer:** C", "C"),
        ("Answer: c", "C"),
        ("The answer is (D).", "D"),
        ("The correct answer is **E**, not A.", "E"),
        ("The answer is option F", "F"),
        ("I think A is wrong and B too, so the answer is C", "C"),
        ("First I thought the answer is A. No: the answer is B.", "B"),
        ("so we get $\\boxed{G}$", "G"),
        ("so we get \\boxed{\\text{(H)}}", "H"),
        ("Of the four, only (C) fits.", "C"),
        ("Well,\nD) Oslo", "D"),
        ("It must be J", "J"),
    ],
)
def test_the_letter_that_a_response_settles_on_is_found(response: str, letter: str) -> None:
    assert {name: choice(response, name) for name in "ABCDEFGHIJ"} == {
        n: float(n == letter) for n in "ABCDEFGHIJ"
    }


@pytest.mark.parametrize(
    "response",
    [
        "I do not know.",
        "A hard question, I fear.",
        "The answer is a bit unclear.",
        "K",
        "Answer: I'm not sure",
    ],
)
def test_a_word_is_not_taken_for_a_letter(response: str) -> None:
    assert all(choice(response, letter) == 0.0 for letter in "ABCDEFGHIJ")


@pytest.mark.parametrize("reference", ["B", "b", "(B)", "B. Rome", "Answer: B"])
def test_a_reference_may_be_dressed(reference: str) -> None:
    assert choice("The answer is B", reference) == 1.0
