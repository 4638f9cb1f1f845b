"""Requests that wait at the same moment are decided together, each as if it were alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from workbench.errors import RoutingError
from workbench.server.decisions import Decisions
from workbench.server.targets import Target
from workbench.types import Decision, Prompt

pytestmark = pytest.mark.anyio


@dataclass
class Lengths:
    """Sends short prompts to the first candidate, others to the second; `sizes` are those of its batches."""

    name: str = "lengths"
    sizes: list[int] = field(default_factory=list)

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        if not prompt.text:
            raise RoutingError("nothing was asked")
        return Decision(candidates[len(prompt.text) > 3], self.name)

    def route_all(self, prompts: Sequence[Prompt], candidates: Sequence[str]) -> list[Decision]:
        self.sizes.append(len(prompts))
        return [self.route(prompt, candidates) for prompt in prompts]


async def test_those_that_wait_together_are_decided_together_and_each_for_itself() -> None:
    router, decisions = Lengths(), Decisions()
    target = Target(router, ("a/short", "a/long"))
    texts = ["yes", "a long one", "no"] * 40
    made = await asyncio.gather(*(decisions.made(target, Prompt(text, text)) for text in texts))
    assert [one.model_id for one in made] == ["a/short", "a/long", "a/short"] * 40
    assert router.sizes == [64, 56]


async def test_a_failure_reaches_all_that_waited_and_the_next_is_decided_anew() -> None:
    decisions, target = Decisions(), Target(Lengths(), ("a/short", "a/long"))
    ends = await asyncio.gather(
        *(decisions.made(target, Prompt("p", text)) for text in ("", "no")), return_exceptions=True
    )
    assert [type(end) for end in ends] == [RoutingError, RoutingError]
    assert (await decisions.made(target, Prompt("p", "no"))).model_id == "a/short"


async def test_one_that_left_is_not_decided_and_keeps_nobody_waiting() -> None:
    router, decisions = Lengths(), Decisions()
    target = Target(router, ("a/short", "a/long"))
    leaving = asyncio.create_task(decisions.made(target, Prompt("p", "no")))
    staying = asyncio.create_task(decisions.made(target, Prompt("q", "yes")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).model_id == "a/short"
    assert router.sizes == [1]


async def test_turns_that_bring_more_are_waited_for_and_no_other() -> None:
    router, decisions = Lengths(), Decisions()
    target = Target(router, ("a/short", "a/long"))

    async def ask(n_turns: int) -> None:
        for _ in range(n_turns):
            await asyncio.sleep(0)
        await decisions.made(target, Prompt("p", "no"))

    await asyncio.gather(*(ask(n_turns) for n_turns in (0, 0, 1, 2, 9)))
    assert router.sizes == [4, 1]
