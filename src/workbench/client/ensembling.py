"""Asking an ensemble: all members at once, then one of their answers, or one written from them.

The members are calls like any others, under the limits and the budget of the client, which reserves for
each before it is sent, first for the first. One that fails, or that the budget does not allow, is left out.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.client.asking import Asker
from workbench.client.client import DECODING
from workbench.errors import AllProvidersFailedError, BudgetError, ProviderError
from workbench.routing.ballots import Ballots, FinalAnswer, count
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import Ensemble
from workbench.routing.forecast import Floats
from workbench.routing.fusion import Fusion, fusion_prompt
from workbench.types import Completion, Decoding, Prompt

Failure = ProviderError | BudgetError


@dataclass(frozen=True, slots=True)
class EnsembleAnswer:
    """What an ensemble answered, and what its members did.

    `completion` has the text and the usage of the answer that was taken. Its cost is that of all calls, those
    that failed included (None: one of them has no known price), its latency that of the slowest member, after
    which a fusing model's own comes, and its attempts are those of every call that was answered.
    `answers` are the members', in their order; `failures` are the models that did not answer, and why, a
    fusing model last.
    """

    completion: Completion
    answers: tuple[Completion, ...]
    failures: tuple[tuple[str, Failure], ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What became of one member. `latency_s` of a failure is from the time that it was asked."""

    model_id: str
    answer: Completion | Failure
    latency_s: float

    @property
    def text(self) -> str | None:
        return self.answer.text if isinstance(self.answer, Completion) else None

    @property
    def completion(self) -> Completion:
        """The answer.

        Raises:
            ProviderError, BudgetError: why there is none.
        """
        if isinstance(self.answer, Completion):
            return self.answer
        raise self.answer

    @property
    def cost_usd(self) -> float | None:
        return 0.0 if isinstance(self.answer, BudgetError) else self.answer.cost_usd


async def ask_ensemble(
    client: Asker,
    ensemble: Ensemble,
    prompt: Prompt,
    *,
    final_answer: FinalAnswer,
    predictor: Predictor | None = None,
    decoding: Decoding = DECODING,
    worded: Prompt | None = None,
) -> EnsembleAnswer:
    """Ask every member, and take the answer that the ensemble's rule chooses.

    Args:
        final_answer: what of an answer is compared, as when the ensemble was fitted.
        predictor: forecasts the members' qualities, where a rule was fitted with such a forecast.
        worded: the prompt as it is sent, where a template words it otherwise than the forecast is to read it.

    Raises:
        ConfigError: a member cannot be called; nothing was sent.
        BudgetError: the budget allowed no member.
        AllProvidersFailedError: every member that the budget allowed failed.
    """
    asked = await _ask(client, ensemble.model_ids, worded or prompt, decoding)
    predicted = None if predictor is None else _predicted(predictor, ensemble.model_ids, prompt)
    [chosen] = ensemble.choose(_ballots(asked, final_answer), predicted=predicted)
    return _answer(asked[chosen].completion, asked)


async def fuse(
    client: Asker,
    fusion: Fusion,
    prompt: Prompt,
    *,
    final_answer: FinalAnswer,
    decoding: Decoding = DECODING,
) -> EnsembleAnswer:
    """Ask every member, and have a model write the answer from theirs.

    Nothing is fused where one member answered or all gave the same final answer. Where the fusing model
    fails, or the budget does not allow it, the vote of `fusion` answers, and `failures` tells of it.

    Raises:
        ConfigError, BudgetError, AllProvidersFailedError: as `ask_ensemble`.
    """
    client.check([fusion.fuser])
    asked = await _ask(client, fusion.model_ids, prompt, decoding)
    ballots = _ballots(asked, final_answer)
    [chosen] = fusion.vote.choose(ballots)
    voted = _answer(asked[chosen].completion, asked)
    if _is_unanimous(ballots):
        return voted
    candidates = fusion_prompt(prompt, [member.text for member in asked if member.text is not None])
    fused = await _asked(client, fusion.fuser, candidates, decoding)
    taken = asked[chosen] if fused.text is None else fused
    answer = _answer(taken.completion, [*asked, fused])
    latency_s = voted.completion.latency_s + fused.latency_s
    return replace(answer, completion=replace(answer.completion, latency_s=latency_s), answers=voted.answers)


async def _ask(
    client: Asker, model_ids: Sequence[str], prompt: Prompt, decoding: Decoding
) -> Sequence[_Asked]:
    client.check(model_ids)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_asked(client, model_id, prompt, decoding), name=f"member {model_id}")
            for model_id in model_ids
        ]
    asked = [task.result() for task in tasks]
    if all(member.text is None for member in asked):
        raise _all_failed([member.answer for member in asked if not isinstance(member.answer, Completion)])
    return asked


async def _asked(client: Asker, model_id: str, prompt: Prompt, decoding: Decoding) -> _Asked:
    started_s = time.monotonic()
    try:
        completion = await client.complete(model_id, prompt, decoding=decoding)
    except (ProviderError, BudgetError) as exc:
        return _Asked(model_id, exc, time.monotonic() - started_s)
    return _Asked(model_id, completion, completion.latency_s)


def _all_failed(failures: Sequence[Failure]) -> Failure:
    causes = [failure for failure in failures if isinstance(failure, ProviderError)]
    if not causes:
        return failures[0]
    failure = AllProvidersFailedError(causes)
    failure.cost_usd = _total_usd(cause.cost_usd for cause in causes)
    return failure


def _answer(taken: Completion, asked: Sequence[_Asked]) -> EnsembleAnswer:
    """`taken` with the costs of all and the latency of the slowest."""
    answers = tuple(member.answer for member in asked if isinstance(member.answer, Completion))
    completion = replace(
        taken,
        cost_usd=_total_usd(member.cost_usd for member in asked),
        latency_s=max(member.latency_s for member in asked),
        first_token_s=None,
        attempts=tuple(attempt for answer in answers for attempt in answer.attempts),
        is_cached=all(answer.is_cached for answer in answers),
    )
    failures = tuple(
        (member.model_id, member.answer) for member in asked if not isinstance(member.answer, Completion)
    )
    return EnsembleAnswer(completion, answers, failures)


def _total_usd(costs: Iterable[float | None]) -> float | None:
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def _ballots(asked: Sequence[_Asked], final_answer: FinalAnswer) -> Ballots:
    return count(
        [[member.text for member in asked]],
        [member.model_id for member in asked],
        final_answer=final_answer,
    )


def _is_unanimous(ballots: Ballots) -> bool:
    """Whether one member answered, or all that answered gave the same final answer."""
    given = ballots.final[ballots.is_answered]
    return len(given) == 1 or bool(given.min() == given.max() >= 0)


def _predicted(predictor: Predictor, model_ids: Sequence[str], prompt: Prompt) -> Floats:
    """[1, K] the forecast for the members; NaN for one that the predictor does not know."""
    quality = dict(zip(predictor.models.model_ids, predictor.forecast([prompt]).quality[0], strict=True))
    return np.array([[quality.get(model_id, np.nan) for model_id in model_ids]])
