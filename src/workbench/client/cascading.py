"""Answering a prompt by a cascade: ask, look at the answers so far, and stop or ask another model."""

from collections.abc import Sequence
from dataclasses import replace

from workbench.client.asking import Asker
from workbench.client.client import DECODING
from workbench.errors import AllProvidersFailedError, ProviderError
from workbench.routing.cascade import Answered, Ask, Cascade
from workbench.types import Completion, Decoding, Prompt


async def cascade(
    client: Asker,
    policy: Cascade,
    prompt: Prompt,
    *,
    decoding: Decoding = DECODING,
    candidates: Sequence[str] | None = None,
    worded: Prompt | None = None,
) -> Completion:
    """The answer that `policy` gives; its attempts and its cost are those of every model that was asked.

    A model that fails is asked no more; what its requests may have cost is counted, and they are in the
    client's ledger. `latency_s` is the sum over the models that answered, as each waits for the one before.
    `candidates` are the models that may be asked; None: all that the policy knows. `worded` is the prompt as
    it is sent, where a template words it otherwise than the policy is to read it.

    Raises:
        RoutingError: the policy knows none of the candidates.
        ConfigError, BudgetError: as `Client.complete`.
        AllProvidersFailedError: no model that may be asked answered.
    """
    left = [name for name in policy.models.model_ids if candidates is None or name in candidates]
    answers: dict[str, Completion] = {}
    failures: list[ProviderError] = []
    while True:
        if not left and not answers and failures:
            failure = AllProvidersFailedError(failures)
            failure.cost_usd = _total_usd(failures)
            raise failure
        asked = [Answered(name, each.text, each.cost_usd) for name, each in answers.items()]
        step = policy.next(prompt, asked, candidates=left)
        if not isinstance(step, Ask):
            return _with_all_costs(list(answers.values()), step.answer, failures)
        try:
            answers[step.model_id] = await client.complete(step.model_id, worded or prompt, decoding=decoding)
        except ProviderError as failure:
            failures.append(failure)
        left.remove(step.model_id)


def _with_all_costs(
    answers: Sequence[Completion], given: int, failures: Sequence[ProviderError]
) -> Completion:
    """The answer at `given`, with what all of them took; a cost that is not known makes the sum unknown."""
    return replace(
        answers[given],
        cost_usd=_total_usd([*answers, *failures]),
        latency_s=sum(each.latency_s for each in answers),
        first_token_s=None,
        attempts=tuple(attempt for each in answers for attempt in each.attempts),
        is_cached=all(each.is_cached for each in answers),
    )


def _total_usd(asked: Sequence[Completion | ProviderError]) -> float | None:
    known = [each.cost_usd for each in asked if each.cost_usd is not None]
    return sum(known) if len(known) == len(asked) else None
