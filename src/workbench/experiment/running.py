"""How the arms of an unfinished run compare, kept up to date call by call."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench.experiment.progress import RunningComparison
from workbench.stats.estimate import Estimate
from workbench.stats.sequential import mixture_scale, sequence_margin, steadied
from workbench.types import Outcome


class RunningComparisons:
    """Every arm against the control, as outcomes arrive in any order; adding one costs microseconds.

    The intervals are always valid: one may look after every call and stop at will, and the chance
    that any of them ever misses is about `alpha` for all arms together (each has its equal share).
    They assume that prompts come in random order. A prompt counts once both arms have answered it;
    an error counts as quality 0; repeats are averaged; clusters are respected.
    """

    def __init__(self, arms: Sequence[str], control: str, *, n_prompts: int, alpha: float = 0.05) -> None:
        """`n_prompts` is how many are planned: there the intervals are at their best."""
        treatments = [arm for arm in arms if arm != control]
        self._control = control
        self._alpha = alpha / max(1, len(treatments))
        self._rho = mixture_scale(max(2, n_prompts), alpha=self._alpha)
        self._means: defaultdict[tuple[str, str], _Mean] = defaultdict(_Mean)
        self._differences = {arm: _Differences() for arm in treatments}

    def add(self, outcome: Outcome) -> None:
        """Take one more call into account; one that was answered but not scored changes nothing."""
        quality = 0.0 if outcome.error is not None else outcome.quality
        if quality is None or (outcome.arm != self._control and outcome.arm not in self._differences):
            return
        self._means[outcome.arm, outcome.prompt_id].add(quality)
        changed = self._differences if outcome.arm == self._control else [outcome.arm]
        for arm in changed:
            self._pair(arm, outcome)

    def snapshot(self) -> tuple[RunningComparison, ...]:
        """The comparisons so far, in the order of the arms; no interval before two prompts (clusters)."""
        return tuple(
            RunningComparison(arm, self._control, differences.n, self._estimate(differences))
            for arm, differences in self._differences.items()
        )

    def _pair(self, arm: str, outcome: Outcome) -> None:
        treatment = self._means.get((arm, outcome.prompt_id))
        baseline = self._means.get((self._control, outcome.prompt_id))
        if treatment is None or baseline is None:
            return
        unit = ("cluster", outcome.cluster) if outcome.cluster is not None else ("prompt", outcome.prompt_id)
        self._differences[arm].put(outcome.prompt_id, treatment.value - baseline.value, unit=unit)

    def _estimate(self, differences: "_Differences") -> Estimate | None:
        n_units = len(differences.units)
        if n_units < 2:
            return None
        variance = steadied(differences.variance, n_units)
        margin = float(sequence_margin(n_units, variance, rho=self._rho, alpha=self._alpha))
        mean = differences.total / differences.n
        return Estimate(mean, max(mean - margin, -1.0), min(mean + margin, 1.0))


@dataclass(slots=True)
class _Mean:
    total: float = 0.0
    n: int = 0

    def add(self, number: float) -> None:
        self.total += number
        self.n += 1

    @property
    def value(self) -> float:
        return self.total / self.n


@dataclass(slots=True)
class _Differences:
    """Paired differences in [-1, 1] by prompt, and the sums over units that their variance needs."""

    by_prompt: dict[str, float] = field(default_factory=dict)
    units: dict[tuple[str, str], _Mean] = field(default_factory=dict)
    total: float = 0.0
    squares: float = 0.0  # of the units' sums
    products: float = 0.0  # of the units' sums and sizes
    sizes: float = 0.0  # squared

    @property
    def n(self) -> int:
        return len(self.by_prompt)

    @property
    def variance(self) -> float:
        """Of a unit's contribution to the mean, around that mean."""
        mean, n_units = self.total / self.n, len(self.units)
        residual = max(0.0, self.squares - 2.0 * mean * self.products + mean**2 * self.sizes)
        return residual * n_units / self.n**2

    def put(self, prompt_id: str, difference: float, *, unit: tuple[str, str]) -> None:
        """Set the difference of a prompt, new or already there."""
        members = self.units.setdefault(unit, _Mean())
        self._count(members, sign=-1)
        change = difference - self.by_prompt.get(prompt_id, 0.0)
        members.total += change
        members.n += prompt_id not in self.by_prompt
        self.total += change
        self.by_prompt[prompt_id] = difference
        self._count(members, sign=1)

    def _count(self, members: _Mean, *, sign: int) -> None:
        self.squares += sign * members.total**2
        self.products += sign * members.total * members.n
        self.sizes += sign * members.n**2
