"""Asking a model to judge: by the client, under its budget and limits, and once more after a bad form."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.client.client import Client
from workbench.errors import BudgetError, ProviderError
from workbench.scoring.judge import (
    Question,
    Winner,
    pairwise_question,
    read_score,
    read_winner,
    rubric_question,
)
from workbench.scoring.options import Judge, PairwiseJudge
from workbench.scoring.score import Score
from workbench.types import Completion, Decoding, Prompt

MOST_TRIES = 2
"""Of one question; the second is asked where the first verdict could not be read."""
_RESULT = {"first": 1.0, "tie": 0.5, "second": 0.0}
UNREADABLE = "the judge's verdict was not in the form asked for"


Failure = ProviderError | BudgetError


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of judging one answer.

    `failure` None: `score` is final. Otherwise the judge was not asked, or did not answer: nothing was found
    out, and the score has only what was paid all the same.
    """

    score: Score
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came of one question: the verdict, None where it could not be read, and what all tries cost."""

    verdict: int | Winner | None
    cost_usd: float | None
    failure: Failure | None = None


async def judge(client: Client, options: Judge, prompt: Prompt, response: str, *, secret: bytes) -> Judged:
    """One answer graded by a rubric: 0 for the worst of the scale, 1 for the best."""
    low, high = options.bounds
    shown = prompt if options.with_reference else replace(prompt, reference=None)

    def question(attempt: int) -> Question:
        return rubric_question(
            shown, response, rubric=options.rubric, bounds=options.bounds, secret=secret, attempt=attempt
        )

    def read(text: str, asked: Question) -> int | None:
        return read_score(text, asked.seal, bounds=options.bounds)

    asked = await _asked(client, options, question, read)
    if not isinstance(asked.verdict, int):
        return Judged(Score(None, asked.cost_usd, UNREADABLE), asked.failure)
    return Judged(Score((asked.verdict - low) / (high - low), asked.cost_usd))


async def judge_pair(
    client: Client, options: PairwiseJudge, prompt: Prompt, response: str, other: str, *, secret: bytes
) -> Judged:
    """An answer held against another, in both orders: 1 for a win in both, 0.5 for a tie or one win each.

    Two equal answers are a tie, and nobody is asked.
    """
    if response.strip() == other.strip():
        return Judged(Score(0.5, 0.0, "equal answers", 0.5, 0.5))
    shown = prompt if options.with_reference else replace(prompt, reference=None)
    one = await _compared(client, options, shown, response, other, secret=secret)
    if one.failure is not None:
        return Judged(Score(None, one.cost_usd), one.failure)
    two = await _compared(client, options, shown, other, response, secret=secret)
    cost_usd = _sum(one.cost_usd, two.cost_usd)
    first = None if one.verdict is None else _RESULT[str(one.verdict)]
    second = None if two.verdict is None else 1.0 - _RESULT[str(two.verdict)]
    if first is None or second is None:
        return Judged(Score(None, cost_usd, UNREADABLE, first, second), two.failure)
    return Judged(Score((first + second) / 2.0, cost_usd, "", first, second))


async def _compared(
    client: Client, options: PairwiseJudge, prompt: Prompt, first: str, second: str, *, secret: bytes
) -> _Asked:
    def question(attempt: int) -> Question:
        return pairwise_question(prompt, first, second, rubric=options.rubric, secret=secret, attempt=attempt)

    return await _asked(client, options, question, lambda text, asked: read_winner(text, asked.seal))


async def _asked(
    client: Client,
    options: Judge | PairwiseJudge,
    question: Callable[[int], Question],
    read: Callable[[str, Question], int | Winner | None],
) -> _Asked:
    """Ask until a verdict can be read, at most twice."""
    paid_usd: float | None = 0.0
    for attempt in range(MOST_TRIES):
        asked = question(attempt)
        try:
            decoding = judge_decoding(client, options, asked)
            completion = await client.complete(options.model, asked.prompt, decoding=decoding)
        except BudgetError as exc:
            return _Asked(None, paid_usd, exc)
        except ProviderError as exc:
            return _Asked(None, _sum(paid_usd, exc.cost_usd), exc)
        paid_usd = _sum(paid_usd, _cost_usd(completion))
        verdict = read(completion.text, asked) if completion.finish_reason == "stop" else None
        if verdict is not None:
            return _Asked(verdict, paid_usd)
    return _Asked(None, paid_usd)


def judge_decoding(client: Client, options: Judge | PairwiseJudge, question: Question) -> Decoding:
    """How a judge is asked: without chance, and for structured output where the model is known to have it."""
    known = client.catalog.get(options.model)
    is_structured = known is not None and "json_schema" in known.capabilities
    return Decoding(
        max_output_tokens=options.max_output_tokens,
        temperature=0.0,
        json_schema=question.json_schema if is_structured else None,
    )


def _cost_usd(completion: Completion) -> float | None:
    return completion.cost_usd or 0.0 if completion.is_cached else completion.cost_usd


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
