"""A client of fault servers, ready to be called: what the tests of the client share."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date

import pytest

from faults import FaultServer, Script
from workbench import errors
from workbench.budget import Budget
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Client, Limits
from workbench.providers.chat_completions import ChatCompletions
from workbench.types import Completion, Prompt

PROMPT = Prompt("p1", "2 + 2?")
PRICE = Price(1.0, 2.0, "made up for tests", date(2026, 11, 1))
COST_USD = (10 * 1.0 + 5 * 2.0) / 1e6
"""What the good answer of the fault server costs at `PRICE`: 10 tokens in, 5 out."""

CATALOG = Catalog(
    [
        ModelSpec("one", "small", PRICE, context_tokens=8_000),
        ModelSpec("two", "small", PRICE, context_tokens=8_000),
        ModelSpec("three", "large", PRICE, context_tokens=64_000),
        ModelSpec("free", "unpriced"),
    ]
)
QUICK = Limits(deadline_s=5.0, backoff_s=0.01, max_backoff_s=0.02)


@asynccontextmanager
async def client_of(
    *servers: FaultServer, limits: Limits = QUICK, budget: Budget | None = None, catalog: Catalog = CATALOG
) -> AsyncIterator[Client]:
    """A client of providers `one`, `two`, `three` at `servers`."""
    names = ("one", "two", "three")
    providers = [ChatCompletions(name, server.url) for name, server in zip(names, servers, strict=False)]
    client = Client(providers, catalog=catalog, limits=limits, budget=budget, rng=random.Random(0))
    async with client:
        yield client


@asynccontextmanager
async def serving(*scripts: str | Script | Sequence[str | Script]) -> AsyncIterator[list[FaultServer]]:
    """A server for each script, or sequence of scripts."""
    async with AsyncExitStack() as stack:
        each = [[s] if isinstance(s, str) or callable(s) else s for s in scripts]
        yield [await stack.enter_async_context(FaultServer(*script)) for script in each]


async def failure(
    client: Client, target: str = "one/small", **settings: Sequence[str]
) -> errors.ProviderError:
    with pytest.raises(errors.ProviderError) as caught:
        await client.complete(target, PROMPT, **settings)
    return caught.value


async def streamed(client: Client, fallbacks: Sequence[str] = ()) -> Completion:
    pieces = [one async for one in client.stream("one/small", PROMPT, fallbacks=fallbacks)]
    completion = pieces[-1].completion
    assert completion is not None
    assert "".join(piece.text for piece in pieces) == completion.text
    return completion
