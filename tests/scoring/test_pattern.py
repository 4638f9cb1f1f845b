"""Regular expressions of the user on texts of a model: right, and ended when they take too long."""

import time

import pytest

from workbench.errors import ConfigError
from workbench.scoring.pattern import SEARCHER, Searcher, check_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "response", "quality"),
    [
        (r"\bParis\b", "It is Paris.", 1.0),
        (r"\bParis\b", "Parisian", 0.0),
        (r"^\d{4}$", "1984", 1.0),
        (r"(?i)the answer is (?P<answer>\w+)", "The answer is London. No: the answer is Paris", 1.0),
        (r"(?i)the answer is (?P<answer>\w+)", "The answer is Paris. No: the answer is London", 0.0),
        (r"(?P<answer>x)?", "", 0.0),
        ("\u00e9+", "caf\u00e9\ud800", 1.0),
    ],
)
def test_a_pattern_is_found_and_its_answer_is_compared(pattern: str, response: str, quality: float) -> None:
    assert matches(response, "Paris", pattern=pattern) == quality


def test_a_pattern_that_needs_exponential_time_is_given_up_and_the_next_one_is_searched() -> None:
    searcher = Searcher(limit_s=0.3)
    started = time.monotonic()
    assert searcher.search(r"(a|a)*$", "a" * 40 + "b") is None
    assert time.monotonic() - started < 5.0
    found = searcher.search("b", "ab")
    assert found is not None
    assert found.is_match
    searcher.close()


def test_only_the_end_of_a_long_text_is_searched() -> None:
    assert matches("x" + "y" * 200_000, "", pattern="x") == 0.0
    assert matches("y" * 200_000 + "x", "", pattern="x") == 1.0


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(?<=a+)b", "x" * 1001])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        check_pattern(pattern)


def test_a_thousand_searches_take_one_process() -> None:
    SEARCHER.search("a", "a")
    started = time.process_time()
    assert all(matches(f"answer {n}", "", pattern=rf"\b{n}\b") for n in range(1000))
    assert time.process_time() - started < 5.0
