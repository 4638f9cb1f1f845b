"""Ballots: which answers agree, and which are no answer."""

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.routing.ballots import ballots_of, count
from workbench.routing.training_data import TrainingData

MEMBERS = ("acme/a", "acme/b", "acme/c")


def last_word(text: str) -> str:
    return text.split()[-1] if text.split() else ""


def test_answers_agree_by_what_is_final_in_them() -> None:
    ballots = count([["It is 4", "2 + 2 = 4", "5"]], MEMBERS, final_answer=last_word)
    assert ballots.final.tolist() == [[0, 0, 1]]
    assert ballots.agrees_with(1).tolist() == [[True, True, False]]


def test_a_text_without_a_final_answer_agrees_with_nothing_not_even_itself() -> None:
    ballots = count([["", "", "4"]], MEMBERS, final_answer=last_word)
    assert ballots.is_answered.all()
    assert not ballots.agrees_with(0).any()


def test_what_did_not_answer_is_told_from_what_answered_nothing() -> None:
    ballots = count([[None, "", "4"]], MEMBERS, final_answer=last_word)
    assert ballots.is_answered.tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("text", "is_refusal"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot answer this: 4", True),
        ("As an AI, I have no opinion", True),
        ("I cannot be certain, but it is 4", False),
        ("The clerk said: I'm sorry. Answer: 4", False),
    ],
)
def test_a_refusal_is_known_by_how_it_opens_and_has_no_vote(text: str, is_refusal: bool) -> None:
    ballots = count([[text]], MEMBERS[:1], final_answer=last_word)
    assert ballots.is_refusal.tolist() == [[is_refusal]]
    assert (ballots.final[0, 0] == -1) == is_refusal


def test_columns_follow_the_members_asked_for() -> None:
    ballots = count([["1", "2", "2"], ["1", "1", None]], MEMBERS, final_answer=last_word)
    some = ballots.of(["acme/c", "acme/a"])
    assert some.final.tolist() == [[1, 0], [-1, 0]]
    assert some.rows(np.array([1])).is_answered.tolist() == [[False, True]]


def test_a_stranger_is_no_column() -> None:
    with pytest.raises(DataError, match="acme/z is not among"):
        count([["1"]], MEMBERS[:1], final_answer=last_word).of(["acme/z"])


def test_a_table_without_responses_has_no_ballots(data: TrainingData) -> None:
    with pytest.raises(DataError, match="response"):
        ballots_of(data, final_answer=last_word)
