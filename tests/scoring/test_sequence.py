"""ROUGE-L, by the examples of its paper and by the textbook's table."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.scoring import rouge_l
from workbench.scoring.sequence import common_subsequence


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ("police kill the gunman", 3 / 4),
        ("the gunman kill police", 2 / 4),
        ("the gunman police killed", 2 / 4),
    ],
    ids=["S2", "S3", "S4"],
)
def test_the_examples_of_the_paper(response: str, quality: float) -> None:
    """Lin (2004), sec. 3.1, with S1 "police killed the gunman" as the reference and beta 1."""
    assert rouge_l(response, "police killed the gunman") == quality


def test_a_large_beta_is_recall() -> None:
    assert rouge_l("the cat", "the cat sat down", beta=1.0) == pytest.approx(2 / 3)
    assert rouge_l("the cat", "the cat sat down", beta=100.0) == pytest.approx(0.5, abs=1e-3)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc"), max_size=40))
def test_the_common_subsequence_is_that_of_the_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first, start=1):
        for j, b in enumerate(second, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if a == b else max(table[i - 1][j], table[i][j - 1])
    assert common_subsequence(first, second) == table[-1][-1]


def test_two_texts_of_twenty_thousand_words_take_seconds() -> None:
    started = time.process_time()
    assert rouge_l("a b c d " * 5_000, "d c b a " * 5_000) > 0.2
    assert time.process_time() - started < 10.0
