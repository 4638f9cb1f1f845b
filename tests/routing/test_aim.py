"""Aims: what people say, what is refused, and the same aim in words and in numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ConfigError
from workbench.routing.aim import FORMS, Aim, parse_aim, read_aim

positive = st.floats(1e-9, 1e9)


@pytest.mark.parametrize(
    ("text", "aim"),
    [
        ("at most 2 USD per 1,000 prompts", Aim(max_usd_per_1000=2.0)),
        ("under $0.5 per 100 prompts", Aim(max_usd_per_1000=5.0)),
        ("at most 0.002 USD per prompt", Aim(max_usd_per_1000=2.0)),
        (
            "no worse than the best single model by more than 0.5 points",
            Aim(max_quality_loss_points=0.5),
        ),
        ("No worse than best single", Aim(max_quality_loss_points=0.0)),
        ("at most 1 point below the best single model", Aim(max_quality_loss_points=1.0)),
        ("p95 under 3 s", Aim(max_p95_s=3.0)),
        ("p95 latency at most 800 ms", Aim(max_p95_s=0.8)),
        ("as good as possible", Aim(prefer="quality")),
        ("as cheap as possible", Aim(prefer="cost")),
        ("as good as possible, p95 < 3 seconds", Aim(max_p95_s=3.0, prefer="quality")),
        (
            "at most 2 USD per 1,000 prompts; p95 under 3 s and as cheap as possible",
            Aim(max_usd_per_1000=2.0, max_p95_s=3.0, prefer="cost"),
        ),
    ],
)
def test_words_become_limits(text: str, aim: Aim) -> None:
    assert parse_aim(text) == aim


@pytest.mark.parametrize("text", FORMS)
def test_every_form_that_an_error_lists_is_understood(text: str) -> None:
    assert str(parse_aim(text)) == text


@given(
    st.builds(
        Aim,
        max_usd_per_1000=st.none() | positive,
        max_quality_loss_points=st.just(0.0) | positive,
        max_p95_s=st.none() | positive,
        prefer=st.sampled_from([None, "quality", "cost"]),
    )
)
def test_an_aim_in_words_is_the_same_aim(aim: Aim) -> None:
    assert parse_aim(str(aim)) == aim


@pytest.mark.parametrize(
    "text",
    ["", "cheap", "at most 2 EUR per prompt", "p95 under 3", "p95 under 3 s;", "at most -1 USD per prompt"],
)  # fmt: skip
def test_what_is_not_understood_is_told_with_all_forms(text: str) -> None:
    with pytest.raises(ConfigError, match="is not understood") as caught:
        parse_aim(text)
    assert all(form in str(caught.value) for form in FORMS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p95 under 3 s and p95 under 4 s", "says twice what the latency may be"),
        ("as good as possible and as cheap as possible", "says twice what is preferred"),
        ("at most 0 USD per 1,000 prompts", "max_usd_per_1000 is 0.0; it must be a number > 0"),
        ("at most 2 USD per 0 prompts", "not for 0"),
        ("p95 under 0 s", "max_p95_s is 0.0; it must be a number > 0"),
    ],
)
def test_a_contradiction_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_aim(text)


def test_a_mapping_is_read_as_the_fields() -> None:
    written = {"max_usd_per_1000": 2, "prefer": "cost"}
    assert read_aim(written) == parse_aim("at most 2 USD per 1,000 prompts; as cheap as possible")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"max_usd": 2}, "an aim has no 'max_usd'; it has max_usd_per_1000"),
        ({"max_p95_s": "3"}, "max_p95_s is '3'"),
        ({"max_p95_s": True}, "max_p95_s is True"),
        ({"max_quality_loss_points": float("nan")}, "max_quality_loss_points is nan"),
        ({"prefer": "speed"}, "prefer is 'speed'; it must be one of quality, cost"),
        ({}, "an aim says something"),
        (2.0, "a text or a mapping, not 2.0"),
    ],
)
def test_a_mapping_that_cannot_be_an_aim_is_refused(written: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_aim(written)


@pytest.mark.parametrize(
    ("aim", "is_cheapest"),
    [
        (Aim(max_quality_loss_points=0.5), True),
        (Aim(max_quality_loss_points=0.5, prefer="quality"), False),
        (Aim(max_usd_per_1000=2.0), False),
        (Aim(max_usd_per_1000=2.0, prefer="cost"), True),
    ],
)
def test_where_quality_is_limited_the_cheapest_is_wanted_unless_said_otherwise(
    aim: Aim, is_cheapest: bool
) -> None:
    assert aim.is_cheapest is is_cheapest
