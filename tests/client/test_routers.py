"""Routers: what they choose from, and what follows their choice."""

from collections.abc import Sequence

import pytest

from calling import COST_USD, PRICE, PROMPT, QUICK, client_of, serving
from workbench.catalog import Catalog, ModelSpec
from workbench.client import Client
from workbench.providers.chat_completions import ChatCompletions
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


class Noting:
    """Takes the first candidate, and notes what there was to choose from."""

    name = "noting"

    def __init__(self) -> None:
        self.candidates: tuple[str, ...] = ()

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        self.candidates = tuple(candidates)
        return Decision(candidates[0], self.name)


async def test_a_router_sees_the_models_of_another_address_and_none_that_only_embed() -> None:
    catalog = Catalog(
        [
            ModelSpec("google", "flash", PRICE),
            ModelSpec("google", "vectors", PRICE, capabilities=frozenset({"embeddings"})),
            ModelSpec("openai", "small", PRICE),
            ModelSpec("gemini", "pro", PRICE),
        ]
    )
    router = Noting()
    async with serving("ok") as [server]:
        provider = ChatCompletions("gemini", server.url)
        async with Client([provider], catalog=catalog, limits=QUICK) as client:
            completion = await client.complete(router, PROMPT)
    assert router.candidates == ("gemini/flash", "gemini/pro")
    assert (completion.model_id, completion.cost_usd) == ("gemini/flash", pytest.approx(COST_USD))


async def test_a_router_chooses_among_the_candidates_given_and_its_fallbacks_follow() -> None:
    async with serving("ok", "ok", "500") as servers, client_of(*servers) as client:
        completion = await client.complete(Chooser(), PROMPT, candidates=["two/small", "three/large"])
    assert [attempt.model_id for attempt in completion.attempts] == ["three/large"] * 3 + ["two/small"]
