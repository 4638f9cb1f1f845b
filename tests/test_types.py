"""The vocabulary: what its few rules are."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.types import Completion, Decision, Message, Prompt, Usage, normalise


def test_a_system_message_comes_before_the_users() -> None:
    assert Prompt("p", "ask", system="rules").messages == (Message("system", "rules"), Message("user", "ask"))


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_a_propensity_outside_zero_to_one_is_refused(propensity: float) -> None:
    with pytest.raises(ValueError, match=r"propensity of p/m"):
        Decision("p/m", "router", propensity=propensity)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prompt("p", "text").text = "other"  # type: ignore[misc]  # the point of the test


def test_a_model_id_is_provider_and_model() -> None:
    completion = Completion("hi", "a/b", "a/b-2026", "openrouter", Usage(1, 1), 0.1, "stop")
    assert completion.model_id == "openrouter/a/b"


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(
    st.lists(st.sampled_from(["Ab", "c", "Straße"]), min_size=1),
    st.sampled_from([" ", "\t", "\n\n", "\u2003"]),
)
def test_case_and_white_space_do_not_matter(words: list[str], space: str) -> None:
    assert normalise(space.join(words).upper() + space) == normalise(" ".join(words))
