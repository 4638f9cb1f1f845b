"""Routers: what they choose from, and what follows their choice."""

from collections.abc import Sequence

import pytest

from calling import PROMPT, client_of, serving
from workbench.types import Decision, Prompt

pytestmark = pytest.mark.anyio


class Chooser:
    """Takes the last candidate, and names the others as fallbacks."""

    name = "chooser"

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        *others, last = candidates
        return Decision(last, self.name, fallbacks=tuple(others))


async def test_a_router_chooses_among_the_models_that_are_connected() -> None:
    async with serving("ok", "ok") as servers, client_of(*servers) as client:
        completion = await client.complete(Chooser(), PROMPT)
    assert completion.model_id == "two/small"


async def test_a_router_chooses_among_the_candidates_given_and_its_fallbacks_follow() -> None:
    async with serving("ok", "ok", "500") as servers, client_of(*servers) as client:
        completion = await client.complete(Chooser(), PROMPT, candidates=["two/small", "three/large"])
    assert [attempt.model_id for attempt in completion.attempts] == ["three/large"] * 3 + ["two/small"]
