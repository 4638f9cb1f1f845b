"""A scorer that takes time, at work: in a thread, or as a model that is paid."""

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

from workbench.client import Client
from workbench.client.judging import MOST_TRIES, Judged, judge, judge_decoding, judge_pair
from workbench.errors import BudgetError, ProviderError, StorageError
from workbench.scoring import LocalScorer, ScorerOptions
from workbench.scoring.judge import pairwise_question, rubric_question
from workbench.scoring.meaning import cosine
from workbench.scoring.options import Embedding, Judge, PairwiseJudge
from workbench.scoring.score import TIE, Score
from workbench.storage import read_bytes, write_bytes
from workbench.types import Outcome, Prompt

_SECRET_BYTES = 32
_SEALS = "judging.key"


class Grading:
    """A scorer at work, as an async context manager, which ends its threads.

    Args:
        client: connected to the model that scores; None where none does.
        secret: what the seals of a judge's questions are made with.
    """

    def __init__(
        self,
        options: ScorerOptions,
        *,
        local: LocalScorer | None,
        client: Client | None,
        secret: bytes = b"",
    ) -> None:
        self._options = options
        self._local = local
        self._client = client
        self._secret = secret
        # A program that is run uses a processor, and more of them at once would only run out of time.
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="workbench-scorer")

    async def __aenter__(self) -> "Grading":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=True)

    async def grade(self, outcome: Outcome, prompt: Prompt, other: Outcome | None = None) -> Judged:
        """The score of an answer; `other` is the one that a pairwise judge holds it against.

        An answer that is alone, as the other failed, is not judged: it has the tie that the other would have
        had, so that the difference to that failure is the same as that of a win.
        """
        response = outcome.response or ""
        match self._options:
            case Judge() if self._client is not None:
                return await judge(self._client, self._options, prompt, response, secret=self._secret)
            case PairwiseJudge() if self._client is not None and other is not None:
                if other.error is not None:
                    return Judged(Score(TIE, 0.0, "the other answer failed"))
                shown = other.response or ""
                return await judge_pair(
                    self._client, self._options, prompt, response, shown, secret=self._secret
                )
            case Embedding() if self._client is not None:
                return await self._similarity(self._client, self._options.model, prompt, response)
        if self._local is None:
            raise AssertionError(f"the scorer {self._options.kind} was asked to grade")
        loop = asyncio.get_running_loop()
        quality = await loop.run_in_executor(
            self._threads, self._local.score, response, prompt.reference or ""
        )
        return Judged(Score(quality, note="" if quality is not None else "scoring took too long"))

    def bound_usd(self, outcome: Outcome, prompt: Prompt, other: Outcome | None = None) -> float:
        """The most that scoring an answer can cost, at one request a try; 0.0 where it is not known."""
        options, response = self._options, outcome.response or ""
        if isinstance(options, Judge):
            question = rubric_question(
                prompt, response, rubric=options.rubric, bounds=options.bounds, secret=self._secret
            )
            n_requests = MOST_TRIES
        elif isinstance(options, PairwiseJudge) and other is not None:
            shown = other.response or ""
            question = pairwise_question(prompt, response, shown, rubric=options.rubric, secret=self._secret)
            n_requests = 2 * MOST_TRIES
        else:
            return 0.0
        known = None if self._client is None else self._client.catalog.get(options.model)
        if self._client is None or known is None or known.price is None:
            return 0.0
        decoding = judge_decoding(self._client, options, question)
        return n_requests * known.cost_bound_usd(question.prompt, decoding)

    async def _similarity(self, client: Client, model_id: str, prompt: Prompt, response: str) -> Judged:
        if not response.strip():
            return Judged(Score(0.0))
        try:
            embedded = await client.embed(model_id, [response, prompt.reference or ""])
        except (BudgetError, ProviderError) as exc:
            paid_usd = exc.cost_usd if isinstance(exc, ProviderError) else 0.0
            return Judged(Score(None, paid_usd), exc)
        one, two = (np.asarray(vector) for vector in embedded.vectors)
        return Judged(Score(cosine(one, two), embedded.cost_usd))


def judging_secret(folder: Path) -> bytes:
    """The secret of this user's judges, in `folder`, made when it is first asked for.

    It is kept, so that a judge that is asked the same again is found in the cache.
    """
    path = folder / _SEALS
    if not path.exists():
        write_bytes(path, secrets.token_bytes(_SECRET_BYTES))
    secret = read_bytes(path, purpose="secret of the judges", max_bytes=1_000)
    if len(secret) != _SECRET_BYTES:
        raise StorageError(f"{path} is damaged; delete it, and a new one is made")
    return secret
