"""Scores by number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.answers.number import numbers
from workbench.scoring import numeric


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234,567.89", [1234567.89]),
        ("-3 and +4 and \u22125", [-3, 4, -5]),
        ("$2.50, £ 3 and -$4", [2.5, 3, -4]),
        ("10-5", [10, 5]),
        ("1, 2,3", [1, 2, 3]),
        ("1,2345", [1, 2345]),
        ("3/4 and 1 1/2", [0.75, 1.5]),
        ("\\frac{1}{4}", [0.25]),
        ("3/4/2024", [3]),
        ("5/0", []),
        ("1e3 and 2.5E-2", [1000, 0.025]),
        (".5", [0.5]),
        ("v1.2.3 of x2 at m^2", []),
        ("5km and 7 kg.", [5, 7]),
        ("9" * 200, []),
        ("1e999", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, values: list[float]) -> None:
    assert [number.value for number in numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("response", "reference", "quality"),
    [
        ("First 3, then 4, so 7.", "7", 1.0),
        ("It is 7, from 3 and 4.", "7", 0.0),
        ("Answer: 7\nThis took 3 steps.", "7", 1.0),
        ("\\boxed{7} after 3 steps", "7", 1.0),
        ("She has 18 left.\n#### 18", "16 - 3 = 13 ... #### 18", 1.0),
        ("50%", "50", 1.0),
        ("50%", "0.5", 1.0),
        ("0.5", "50%", 1.0),
        ("0.5%", "50%", 0.0),
        ("0.5", "50", 0.0),
        ("33.3333333", "100/3", 1.0),
        ("33.33", "100/3", 0.0),
        ("none", "0", 0.0),
    ],
)
def test_the_number_that_a_response_ends_with_counts(response: str, reference: str, quality: float) -> None:
    assert numeric(response, reference) == quality


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_two_whole_numbers_score_one_only_if_they_are_close(given_number: int, wanted: int) -> None:
    close = abs(given_number - wanted) <= 1e-6 * max(abs(given_number), abs(wanted))
    assert numeric(f"So it is {given_number:,}.", str(wanted)) == float(close)
