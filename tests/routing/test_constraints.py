"""Hard constraints: who may be asked what, and what is said of those who may not."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog import Catalog, ModelSpec, Price, token_bound
from workbench.errors import ConfigError, RoutingError
from workbench.routing.constraints import Constraints, Now
from workbench.types import Decoding, Image, Prompt, Tool


def spec(model: str, *, usd: float = 1.0, window: int | None = 10_000, can: str = "") -> ModelSpec:
    price = Price(usd, usd, "here", date(2026, 1, 1))
    return ModelSpec("acme", model, price, window, None, frozenset(can.split()))


CATALOG = Catalog(
    [
        spec("small", usd=1.0, window=1_000),
        spec("able", usd=10.0, can="tools images json_schema"),
        replace(spec("short", usd=5.0), max_output_tokens=100),
        ModelSpec("acme", "unpriced"),
    ]
)
ALL = ("acme/small", "acme/able", "acme/short", "acme/unpriced", "other/unlisted")
BRIEF = Decoding(max_output_tokens=50)
PROMPT = Prompt("p", "2 + 2?")


def possible(prompt: Prompt = PROMPT, now: Now | None = None, **constraints: Any) -> list[str]:
    given: dict[str, Any] = {"catalog": CATALOG, "decoding": BRIEF} | constraints
    return Constraints(**given).possible(prompt, ALL, now or Now())


def test_without_limits_every_candidate_may_be_asked() -> None:
    assert possible() == list(ALL)


@pytest.mark.parametrize(
    ("constraints", "left"),
    [
        ({"allowed": frozenset({"acme/able", "acme/small"})}, ["acme/small", "acme/able"]),
        ({"needs": frozenset({"images"})}, ["acme/able"]),
        ({"decoding": replace(BRIEF, tools=(Tool("add"),))}, ["acme/able"]),
        ({"decoding": replace(BRIEF, json_schema="{}")}, ["acme/able"]),
        ({"decoding": Decoding(max_output_tokens=101)}, [m for m in ALL if m != "acme/short"]),
    ],
    ids=["allowed", "needs", "tools", "schema", "long-answer"],
)
def test_what_is_asked_rules_models_out(constraints: dict[str, Any], left: list[str]) -> None:
    assert possible(**constraints) == left


def test_a_picture_needs_a_model_that_sees() -> None:
    seeing = Catalog([spec("able", window=None, can="images"), spec("small", window=None)])
    assert possible(replace(PROMPT, images=(Image(b"x"),)), catalog=seeing) == ["acme/able"]


def test_a_prompt_fits_a_window_up_to_its_last_token() -> None:
    room = 1_000 - BRIEF.max_output_tokens - token_bound(Prompt("p", ""))
    assert "acme/small" in possible(Prompt("p", "x" * room))
    assert "acme/small" not in possible(Prompt("p", "x" * (room + 1)))


def test_the_budget_that_is_left_keeps_the_dear_and_the_unpriced_out() -> None:
    bound = CATALOG["acme/small"].cost_bound_usd(PROMPT, BRIEF)
    assert possible(now=Now(budget_left_usd=bound)) == ["acme/small"]


def test_a_model_at_its_rate_limit_is_not_asked() -> None:
    assert possible(now=Now(available=frozenset({"acme/short"}))) == ["acme/short"]


def test_where_nobody_may_be_asked_each_reason_is_told() -> None:
    with pytest.raises(RoutingError) as caught:
        possible(Prompt("p7", "x" * 20_000), Now(budget_left_usd=1e-9), needs=frozenset({"tools"}))
    told = str(caught.value)
    assert "prompt 'p7'" in told
    assert "acme/small is not known to have tools" in told
    assert "acme/able has a window of 10,000 tokens, and up to 20,066 may be needed" in told


def test_a_capability_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no capability 'telepathy'; there are streaming"):
        Constraints(needs=frozenset({"telepathy"}))


@given(
    text=st.text(max_size=3_000),
    allowed=st.none() | st.frozensets(st.sampled_from(ALL), min_size=1),
    available=st.none() | st.frozensets(st.sampled_from(ALL), min_size=1),
    left_usd=st.none() | st.floats(0.0, 0.1),
    needs=st.frozensets(st.sampled_from(["tools", "images", "reasoning"])),
)
def test_no_constraint_is_ever_violated(
    text: str,
    allowed: frozenset[str] | None,
    available: frozenset[str] | None,
    left_usd: float | None,
    needs: frozenset[str],
) -> None:
    prompt = Prompt("p", text)
    try:
        names = possible(prompt, Now(left_usd, available), allowed=allowed, needs=needs)
    except RoutingError:
        names = []
    for name in names:
        found = CATALOG.get(name) or ModelSpec("other", "unlisted")
        assert allowed is None or name in allowed
        assert available is None or name in available
        assert needs <= found.capabilities
        n_tokens = token_bound(prompt) + BRIEF.max_output_tokens
        assert found.context_tokens is None or n_tokens <= found.context_tokens
        assert left_usd is None or found.cost_bound_usd(prompt, BRIEF) <= left_usd
