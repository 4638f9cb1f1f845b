"""Whether a sequential run knows enough: looked at in the order of the plan, whatever order answers come in.

A decision depends on the first prompts of the plan that are whole, which all arms have answered, and on
nothing else. So a run that was killed and gone on with decides as one that was not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workbench.experiment.calls import Call
from workbench.experiment.journal import Key
from workbench.experiment.spec import ExperimentSpec
from workbench.experiment.stopped import Stopped, StopReason
from workbench.experiment.wording import count, usd
from workbench.stats.always_valid import AlwaysValid, AlwaysValidTest
from workbench.stats.decision import Decision, decide_arms
from workbench.types import Outcome


class StoppingRule:
    """The looks of a sequential run. `look` is asked after every outcome, and costs microseconds."""

    def __init__(self, spec: ExperimentSpec, calls: Sequence[Call]) -> None:
        self._spec = spec
        self._keys: dict[str, list[Key]] = defaultdict(list)
        for call in calls:
            self._keys[call.prompt.prompt_id].append(call.key)
        self._order = list(self._keys)
        self._unit_of = {call.prompt.prompt_id: unit_of(call) for call in calls}
        self._unit_sizes = Counter(self._unit_of.values())
        self._waiting: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._n_seen: Counter[str] = Counter()
        self._arms = [arm.name for arm in spec.arms if arm.name != spec.control_arm]
        self._tests = {
            arm: AlwaysValidTest(alpha=spec.alpha / len(self._arms), n_planned=len(self._order))
            for arm in self._arms
        }
        self._done: dict[Key, Outcome] = {}
        self.n_whole = 0
        """How many of the first prompts all arms have answered."""
        self.reason: StopReason | None = None
        self.n_decided = 0
        self.decisions: tuple[Decision, ...] = ()

    @property
    def order(self) -> Sequence[str]:
        """The ids of the prompts, in the order of the plan."""
        return self._order

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take outcomes into account, and look, if it is time for it."""
        for outcome in outcomes:
            self._done[outcome.prompt_id, outcome.arm, outcome.repeat] = outcome
        while self.n_whole < len(self._order) and self._is_whole(self._order[self.n_whole]):
            self._count(self._order[self.n_whole])
            self.n_whole += 1
            if self.reason is None and self._is_time():
                self._look()

    def results(self) -> dict[str, AlwaysValid]:
        """What is known of each arm against the control; an arm that has no pair yet is left out."""
        return {arm: test.result() for arm, test in self._tests.items() if test.n}

    def _is_whole(self, prompt_id: str) -> bool:
        return all(key in self._done for key in self._keys[prompt_id])

    def _is_time(self) -> bool:
        after = self.n_whole - self._spec.stopping.min_prompts
        return after >= 0 and (
            after % self._spec.stopping.look_every == 0 or self.n_whole == len(self._order)
        )

    def _look(self) -> None:
        results = self.results()
        if len(results) < len(self._arms):
            return
        margin = self._spec.stopping.futility_margin
        self.decisions = decide_arms(
            list(results.values()), alpha=self._spec.alpha, margin=margin, least_effect=margin
        )
        if all(decision.is_final for decision in self.decisions):
            is_found = all(decision.verdict in ("better", "worse") for decision in self.decisions)
            self.reason, self.n_decided = "decided" if is_found else "futile", self.n_whole

    def _count(self, prompt_id: str) -> None:
        """Add the prompt's differences to those of its unit, which counts once it is complete."""
        unit = self._unit_of[prompt_id]
        for arm, difference in self._differences(prompt_id):
            self._waiting[unit][arm].append(difference)
        self._n_seen[unit] += 1
        if self._n_seen[unit] == self._unit_sizes[unit]:
            for arm, differences in self._waiting.pop(unit, {}).items():
                self._tests[arm].add([sum(differences) / len(differences)])

    def _differences(self, prompt_id: str) -> Iterator[tuple[str, float]]:
        """Each arm's mean quality over the repeats less the control's; none where one was never scored."""
        qualities: dict[str, list[float]] = defaultdict(list)
        for key in self._keys[prompt_id]:
            outcome = self._done[key]
            quality = 0.0 if outcome.error is not None else outcome.quality
            if quality is not None:
                qualities[outcome.arm].append(quality)
        means = {arm: sum(values) / len(values) for arm, values in qualities.items()}
        for arm in self._arms:
            if arm in means and self._spec.control_arm in means:
                yield arm, means[arm] - means[self._spec.control_arm]


def unit_of(call: Call) -> str:
    """What is independent of all others: a prompt, or the cluster that it is of."""
    prompt = call.prompt
    return f"prompt {prompt.prompt_id}" if prompt.cluster is None else f"cluster {prompt.cluster}"


@dataclass(frozen=True, slots=True)
class Stopping:
    """How far a sequential run is: `n_prompts` looked at, of `n_planned`.

    `reason` None: it goes on, or ended at the planned size or its budget. `n_saved` prompts were not begun;
    `saved_usd` is what they would have cost at the mean cost so far, None where a cost is not known.
    """

    n_prompts: int
    n_planned: int
    reason: StopReason | None = None
    n_saved: int = 0
    saved_usd: float | None = None

    def __str__(self) -> str:
        if self.reason is None:
            return f"{count(self.n_prompts, 'prompt')} of {self.n_planned:,} looked at, not decided yet"
        why = "decided" if self.reason == "decided" else "no difference of interest is left to find"
        money = f", about {usd(self.saved_usd)}" if self.saved_usd else ""
        saved = f"{count(self.n_saved, 'prompt')} of {self.n_planned:,} were not asked{money} saved"
        return f"stopped early, {why} after {count(self.n_prompts, 'prompt')}: {saved}"


def stopping(rule: StoppingRule, stopped: Stopped | None, outcomes: Iterable[Outcome]) -> Stopping:
    """What `rule` has seen, and what stopping saved."""
    n_planned = len(rule.order)
    if stopped is None:
        return Stopping(rule.n_whole, n_planned)
    n_saved = n_planned - stopped.n_begun
    costs = [outcome.cost_usd for outcome in outcomes]
    known = [cost for cost in costs if cost is not None]
    saved_usd = sum(known) / stopped.n_begun * n_saved if len(known) == len(costs) else None
    return Stopping(stopped.n_prompts, n_planned, stopped.reason, n_saved, saved_usd)
