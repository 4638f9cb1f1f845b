"""The scores of a run that are given after the answer was kept, so that neither is bought twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench import outcomes
from workbench.client import Client
from workbench.errors import BudgetError
from workbench.experiment.grading import Grading, judging_secret
from workbench.experiment.journal import Journal, JournalContent, Key
from workbench.experiment.plan import Plan
from workbench.experiment.wording import count
from workbench.scoring.score import Score
from workbench.types import Outcome

COST = "scorer_cost_usd"
AS_FIRST, AS_SECOND = "as_first", "as_second"


class LaterScores:
    """The answers of a run that have a score, and those that wait for one.

    Args:
        done: the outcomes so far, which others add to; what is scored gets its quality there.
        content: what the journal holds.
        tell: is told of each outcome that was scored.
    """

    def __init__(
        self,
        plan: Plan,
        done: dict[Key, Outcome],
        content: JournalContent,
        tell: Callable[[Outcome], None],
    ) -> None:
        self._plan = plan
        self._done = done
        self._tell = tell
        self._prompts = {prompt.prompt_id: prompt for prompt in plan.prompts}
        self.scores: dict[Key, Score] = {key: score for key, score in content.scores.items() if key in done}
        self._lost_usd = content.unscored_usd
        self._grading: Grading | None = None
        self._being_scored: set[Key] = set()
        self._n_failed = 0
        self.is_out_of_budget = False
        for key, score in self.scores.items():
            done[key] = replace(done[key], quality=score.quality)

    @property
    def cost_usd(self) -> float:
        """What scoring has cost, beside the answers."""
        return self._lost_usd + sum(score.cost_usd or 0.0 for score in self.scores.values())

    @asynccontextmanager
    async def at_work(self, client: Client | None) -> AsyncIterator[None]:
        """Answers are scored while the block runs; by a model, `client` is connected to it."""
        plan = self._plan
        secret = judging_secret(plan.secret_dir) if plan.judging_ids else b""
        async with Grading(plan.spec.scorer, local=plan.scorer, client=client, secret=secret) as grading:
            self._grading = grading
            yield
        self._grading = None

    def waiting(self) -> list[Key]:
        """The answers that can be scored now, and are not."""
        return [key for key in self._done if self._can_be_scored(key)]

    async def score_since(self, key: Key, journal: Journal) -> None:
        """Have scored what can be, now that the answer of `key` is there."""
        prompt_id, arm, repeat = key
        keys = [key]
        if arm == self._plan.against:
            keys = [(prompt_id, other.name, repeat) for other in self._plan.arms]
        for one in keys:
            if one in self._done and self._can_be_scored(one):
                await self._score(one, journal)

    async def score_rest(self, journal: Journal) -> None:
        """Have scored what an earlier session, or a batch, left without a score."""
        waiting = iter(self.waiting())

        async def work() -> None:
            for key in waiting:
                await self._score(key, journal)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.spec.concurrency):
                group.create_task(work())

    def notes(self) -> Iterator[str]:
        """What a reader must know of how answers were scored."""
        model_id = next(iter(self._plan.judging_ids), None)
        yield from score_notes(model_id, list(self.scores.values()), self._lost_usd)
        if self._n_failed:
            yield f"{count(self._n_failed, 'answer')} not scored yet, as the judge failed: run again to go on"

    def _can_be_scored(self, key: Key) -> bool:
        """Whether there is an answer without a score, and, for a pairwise judge, one to hold it against."""
        against = self._plan.against
        if not self._plan.scores_later or key in self.scores or key in self._being_scored:
            return False
        if self.is_out_of_budget or self._done[key].error is not None or key[1] == against:
            return False
        return against is None or (key[0], against, key[2]) in self._done

    async def _score(self, key: Key, journal: Journal) -> None:
        """Have an answer scored, and keep the score; one that was not found out is left for a later run."""
        if self._grading is None or not self._can_be_scored(key):
            return
        self._being_scored.add(key)
        outcome, prompt = self._done[key], self._prompts[key[0]]
        against = self._plan.against
        other = None if against is None else self._done[key[0], against, key[2]]
        if self._plan.judging_ids:
            journal.scoring(key, bound_usd=self._grading.bound_usd(outcome, prompt, other))
        judged = await self._grading.grade(outcome, prompt, other)
        journal.scored(key, judged.score, is_final=judged.failure is None)
        if judged.failure is not None:
            self.is_out_of_budget |= isinstance(judged.failure, BudgetError)
            self._n_failed += 1
            self._lost_usd += judged.score.cost_usd or 0.0
            return
        self.scores[key] = judged.score
        self._done[key] = replace(outcome, quality=judged.score.quality)
        self._tell(self._done[key])


def score_notes(model_id: str | None, given: Sequence[Score], lost_usd: float) -> Iterator[str]:
    """What a reader must know of how answers were scored. `model_id` is the model that did; None: none."""
    if model_id is not None:
        cost_usd = lost_usd + sum(score.cost_usd or 0.0 for score in given)
        yield (
            f"{model_id} scored {count(len(given), 'answer')}, which cost {cost_usd:.6f} USD beside what the "
            "arms cost"
        )
    reasons = [score.note for score in given if score.quality is None]
    for reason in dict.fromkeys(reasons):
        yield f"{count(reasons.count(reason), 'answer')} not scored: {reason}"
    paired = [score for score in given if score.as_first is not None and score.as_second is not None]
    if paired:
        n_flipped = sum(score.is_flipped for score in paired)
        yield f"in the other order, {n_flipped} of {count(len(paired), 'verdict')} came out otherwise"


def with_scores(table: pd.DataFrame, scores: Mapping[Key, Score]) -> pd.DataFrame:
    """The table with what each score cost (`scorer_cost_usd`), where any did.

    A pairwise judge's verdicts in either order are in `as_first` and `as_second`, as in `Score`.
    """
    keys = zip(table["prompt_id"], table["arm"], table["repeat"], strict=True)
    found = [scores.get((str(prompt_id), str(arm), int(repeat))) for prompt_id, arm, repeat in keys]
    added = {
        COST: [np.nan if score is None else score.cost_usd for score in found],
        AS_FIRST: [np.nan if score is None else score.as_first for score in found],
        AS_SECOND: [np.nan if score is None else score.as_second for score in found],
    }
    columns = {name: pd.Series(values, index=table.index, dtype="float64") for name, values in added.items()}
    is_told = {
        COST: bool((columns[COST] > 0.0).any()),
        AS_FIRST: bool(columns[AS_FIRST].notna().any()),
        AS_SECOND: bool(columns[AS_SECOND].notna().any()),
    }
    kept = {name: column for name, column in columns.items() if is_told[name]}
    return outcomes.validate(table.assign(**kept)) if kept else table
