"""Scoring a finished run once more, by another scorer: its answers are read, and no arm is asked again."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench import outcomes
from workbench.budget import Budget
from workbench.client import Client, Limits, connect
from workbench.errors import BudgetError, ConfigError, InsufficientDataError, StorageError
from workbench.experiment.analyse import Analysis, analyse
from workbench.experiment.grading import Grading, judging_secret
from workbench.experiment.journal import Journal, JournalContent, Key, read_journal
from workbench.experiment.labels import HUMAN_QUALITY, read_labels, with_labels
from workbench.experiment.later_scores import score_notes
from workbench.experiment.plan import prompts_of_spec
from workbench.experiment.spec import ExperimentSpec
from workbench.providers.registry import SIMULATOR
from workbench.providers.simulator import Simulator
from workbench.scoring import LocalScorer, ScorerOptions, local_scorer
from workbench.scoring.options import Embedding, Human, Judge, PairwiseJudge
from workbench.scoring.score import TIE, Score
from workbench.settings import Settings
from workbench.storage import folder_inside, locked, safe_name
from workbench.types import Outcome, Prompt

FOLDER = "scored"
_TABLE = "outcomes.parquet"


@dataclass(frozen=True, slots=True)
class Rescored:
    """A run's table with one more column, where it is kept, and what it says. `notes` as those of a run."""

    table: pd.DataFrame
    column: str
    path: Path
    analysis: Analysis
    notes: tuple[str, ...]


def run_table(spec: ExperimentSpec, settings: Settings) -> tuple[Path, pd.DataFrame]:
    """The folder of a run and its outcomes.

    Raises:
        StorageError: it was not run, or not to its end.
    """
    folder = folder_inside(settings.runs_dir, spec.name, what="experiment")
    if not (folder / _TABLE).exists():
        raise StorageError(
            f"{folder} has no {_TABLE}; run the experiment first: workbench run {spec.file.name}"
        )
    return folder, outcomes.read(folder / _TABLE)


async def rescore(
    spec: ExperimentSpec,
    options: ScorerOptions,
    *,
    settings: Settings,
    column: str | None = None,
    budget_usd: float | None = None,
) -> Rescored:
    """Score the answers of a run of `spec`, and keep them as `scored/<column>.parquet` in its folder.

    The run's own files stay as they are. What a judge was paid for is in a journal beside the new table, so
    that the same command goes on after a kill without paying twice.

    Args:
        column: `quality_<kind>` by default, and `human_quality` for labels.

    Raises:
        ConfigError, DataError, StorageError: found before anything is paid for.
        FingerprintError: the column is there, by another scorer.
        BudgetError: the budget ended it; what was scored is kept.
    """
    folder, table = run_table(spec, settings)
    name = _column(table, options, column)
    path = folder / FOLDER / f"{name}.parquet"
    if isinstance(options, Human):
        labelled = with_labels(table, read_labels(spec.folder / options.labels, table))
        scored, notes = labelled.rename(columns={HUMAN_QUALITY: name}), list[str]()
    else:
        scorer = _Rescoring(spec, options, table, settings=settings)
        busy = f"another process is scoring {spec.name!r}; wait for it to end, or stop it"
        with locked(settings.runs_dir / f".{spec.name}.lock", busy=busy):
            scores, notes = await scorer.scores(path.with_suffix(".jsonl"), budget_usd=budget_usd)
        scored = table.assign(**{name: scorer.column(scores)})
    outcomes.write(scored, path)
    return Rescored(scored, name, path, _analysed(scored, spec, name, notes), tuple(notes))


def _analysed(table: pd.DataFrame, spec: ExperimentSpec, column: str, notes: Sequence[str]) -> Analysis:
    """What the new column says of the arms, in the order of the spec."""
    present, written = [str(arm) for arm in table["arm"].unique()], [arm.name for arm in spec.arms]
    arms = [name for name in written if name in present] + [name for name in present if name not in written]
    question, control = spec.question, spec.control_arm
    try:
        return analyse(table, question=question, control=control, alpha=spec.alpha, metric=column, arms=arms)
    except InsufficientDataError as exc:
        raise InsufficientDataError("; ".join([str(exc), *notes])) from exc


class _Rescoring:
    """The answers of a table, and a scorer for them."""

    def __init__(
        self, spec: ExperimentSpec, options: ScorerOptions, table: pd.DataFrame, *, settings: Settings
    ) -> None:
        self._spec = spec
        self._options = options
        self._settings = settings
        self._prompts = {prompt.prompt_id: prompt for prompt in prompts_of_spec(spec, settings)}
        self._answers = {_key(row): row for row in _outcomes(table)}
        self._local = local_scorer(options, folder=spec.folder)
        self._against = self._reference_arm()
        self._check()

    async def scores(
        self, journal_path: Path, *, budget_usd: float | None
    ) -> tuple[dict[Key, Score], list[str]]:
        """A score for each answer that has none in the journal, and all of them."""
        content = read_journal(journal_path)
        budget = None if budget_usd is None else Budget(budget_usd, spent_usd=content.spent_usd)
        sha256 = "" if self._local is None else self._local.sha256
        fingerprint = {"scorer": self._options.written, "scorer_sha256": sha256}
        async with AsyncExitStack() as stack:
            client = await self._connected(stack, budget)
            secret = judging_secret(self._settings.cache_dir) if client is not None else b""
            grading = await stack.enter_async_context(
                Grading(self._options, local=self._local, client=client, secret=secret)
            )
            journal_path.parent.mkdir(mode=0o700, exist_ok=True)
            journal = stack.enter_context(
                Journal.open(journal_path, fingerprint=fingerprint, content=content)
            )
            await self._score_all(grading, journal, content, is_paid=client is not None)
        told = score_notes(self._model_id, list(content.scores.values()), content.unscored_usd)
        return content.scores, list(told)

    @property
    def _model_id(self) -> str | None:
        """The model that scores; None: none does."""
        options = self._options
        if isinstance(options, Judge | PairwiseJudge | Embedding) and "/" in options.model:
            return options.model
        return None

    def column(self, scores: dict[Key, Score]) -> pd.Series:
        """[N] the quality of each row of the table; absent: an error, or not scored."""
        found = [self._quality(key, scores.get(key)) for key in self._answers]
        return pd.Series(found, dtype="float64")

    def _quality(self, key: Key, score: Score | None) -> float | None:
        if self._answers[key].error is None and key[1] == self._against:
            return TIE
        return None if score is None else score.quality

    async def _score_all(
        self, grading: Grading, journal: Journal, content: JournalContent, *, is_paid: bool
    ) -> None:
        left = [key for key in self._answers if key not in content.scores]
        waiting = iter([key for key in left if self._can_be_scored(key)])
        failures: list[Exception] = []

        async def work() -> None:
            for key in waiting:
                if failures:
                    return
                outcome, prompt = self._answers[key], self._prompts[key[0]]
                other = None if self._against is None else self._answers[key[0], self._against, key[2]]
                if is_paid:
                    journal.scoring(key, bound_usd=grading.bound_usd(outcome, prompt, other))
                judged = await grading.grade(outcome, prompt, other)
                journal.scored(key, judged.score, is_final=judged.failure is None)
                if judged.failure is None:
                    content.scores[key] = judged.score
                else:
                    content.unscored_usd += judged.score.cost_usd or 0.0
                    if isinstance(judged.failure, BudgetError):
                        failures.append(judged.failure)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._spec.concurrency):
                group.create_task(work())
        if failures:
            raise failures[0]

    def _can_be_scored(self, key: Key) -> bool:
        outcome = self._answers[key]
        if outcome.error is not None or outcome.response is None or key[1] == self._against:
            return False
        return self._against is None or (key[0], self._against, key[2]) in self._answers

    async def _connected(self, stack: AsyncExitStack, budget: Budget | None) -> Client | None:
        """A client for the model that scores; None where none does."""
        model_id = self._model_id
        if model_id is None:
            return None
        url = self._settings.simulator_url
        if url is None and model_id.startswith(f"{SIMULATOR}/"):
            url = (await stack.enter_async_context(Simulator())).base_url
        limits = Limits(concurrency=self._spec.concurrency, deadline_s=self._spec.deadline_s)
        client = connect([model_id], limits=limits, budget=budget, simulator_url=url)
        return await stack.enter_async_context(client)

    def _reference_arm(self) -> str | None:
        if not isinstance(self._options, PairwiseJudge):
            return None
        against = self._options.against
        return self._spec.control_arm if against == "control" else against

    def _check(self) -> None:
        arms = {arm for _, arm, _ in self._answers}
        if self._against is not None and self._against not in arms:
            raise ConfigError(f"the scorer pairwise_judge is against {self._against!r}, which is not an arm")
        unknown = [key[0] for key in self._answers if key[0] not in self._prompts]
        if unknown:
            raise ConfigError(f"prompt {unknown[0]!r} of the run is not in the prompts of {self._spec.file}")
        local = self._local
        is_compared = isinstance(self._options, Embedding) or (local is not None and local.needs_reference)
        for prompt in self._prompts.values() if is_compared else ():
            _check_reference(self._options, local, prompt)


def _check_reference(options: ScorerOptions, local: LocalScorer | None, prompt: Prompt) -> None:
    if prompt.reference is None:
        raise ConfigError(
            f"scorer {options.kind!r} compares with a reference; prompt {prompt.prompt_id!r} has none"
        )
    if local is not None:
        local.check_reference(prompt.reference)


def _column(table: pd.DataFrame, options: ScorerOptions, column: str | None) -> str:
    default = HUMAN_QUALITY if isinstance(options, Human) else f"quality_{options.kind}"
    name = safe_name(column or default, what="column")
    if options.kind == "recorded":
        raise ConfigError("the scorer 'recorded' looks at no answer; name another")
    if name in table:
        raise ConfigError(f"the run has a column {name!r} already; name another with --column")
    return name


def _outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    """The rows as outcomes, with what scoring needs."""
    response, error = (_texts(table, name) for name in ("response", "error"))
    keys = zip(*(table[name] for name in outcomes.KEY), strict=True)
    for (prompt_id, arm, repeat), text, failure in zip(keys, response, error, strict=True):
        yield Outcome(str(prompt_id), str(arm), "", "", response=text, error=failure, repeat=int(repeat))


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    cells = table[name] if name in table else [None] * len(table)
    return [None if pd.isna(cell) else str(cell) for cell in cells]


def _key(outcome: Outcome) -> Key:
    return (outcome.prompt_id, outcome.arm, outcome.repeat)
