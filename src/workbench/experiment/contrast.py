"""The scores that a comparison rests on, pairs or two samples; and the test that fits them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from workbench.errors import InsufficientDataError
from workbench.experiment.scores import Scores
from workbench.experiment.wording import printable
from workbench.stats.estimate import Estimate
from workbench.stats.paired import PairedMean, paired_mean
from workbench.stats.paired_proportions import tango
from workbench.stats.permutation import two_sample_permutation
from workbench.stats.proportions import mcnemar, mcnemar_midp, newcombe
from workbench.stats.two_sample import two_sample_mean

FEW_DISCORDANT = 25
"""Below so many discordant pairs the exact McNemar test is used: Fleiss, Levin & Paik (2003), sec. 13.1."""

CLUSTERED = "cluster-robust t"
WELCH = "Welch's t"


class Tested(Protocol):
    """A difference with its interval and one-sided tests, as the results of `stats` are."""

    def interval(self, alpha: float = 0.05) -> Estimate: ...
    def p_at_most(self, value: float) -> float: ...
    def p_at_least(self, value: float) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """[N] scores of the arm and [M] of the control; of the same prompts where paired.

    `treatment_rows` [N] and `control_rows` [M] say which of the prompts they are of. `treatment_clusters` and
    `control_clusters` are None where prompts stand alone. `is_binary`: all scores are 0 or 1, of one call.
    """

    treatment: np.ndarray
    control: np.ndarray
    treatment_rows: np.ndarray
    control_rows: np.ndarray
    treatment_clusters: np.ndarray | None
    control_clusters: np.ndarray | None
    is_paired: bool
    is_binary: bool

    @property
    def differences(self) -> np.ndarray:
        """[N] of one prompt each, where these are pairs."""
        return np.asarray(self.treatment - self.control)

    @property
    def is_proportion(self) -> bool:
        """Whether counts of right answers say all."""
        return self.is_binary and self.treatment_clusters is None

    @property
    def discordant(self) -> tuple[int, int]:
        """Pairs on which the arm is better, and worse; no pairs, none."""
        if not self.is_paired:
            return 0, 0
        return int((self.differences > 0.0).sum()), int((self.differences < 0.0).sum())

    def on(self, is_kept: np.ndarray) -> "Contrast":
        """The same on some prompts alone: [prompts] whether each is kept."""
        first, second = is_kept[self.treatment_rows], is_kept[self.control_rows]
        return Contrast(
            self.treatment[first],
            self.control[second],
            self.treatment_rows[first],
            self.control_rows[second],
            None if self.treatment_clusters is None else self.treatment_clusters[first],
            None if self.control_clusters is None else self.control_clusters[second],
            self.is_paired,
            self.is_binary,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What a contrast says at level 1 - alpha, and by which test and interval.

    `n_clusters` is None where prompts stand alone, `tested` where no margin can be tested.
    """

    difference: Estimate
    p_value: float
    test: str
    interval: str
    n_clusters: int | None
    tested: Tested | None


def contrast_of(observed: Scores, arm: str, control: str, *, is_randomised: bool) -> Contrast:
    """The scores of `arm` and `control`: on the prompts that both saw, or on its own for each."""
    treatment, baseline = observed.quality[arm].to_numpy(), observed.quality[control].to_numpy()
    first, second = ~np.isnan(treatment), ~np.isnan(baseline)
    if not is_randomised:
        first = second = first & second
    clusters = None if observed.clusters is None else observed.clusters.to_numpy()
    return Contrast(
        treatment[first],
        baseline[second],
        np.flatnonzero(first),
        np.flatnonzero(second),
        None if clusters is None else clusters[first],
        None if clusters is None else clusters[second],
        not is_randomised,
        observed.is_binary,
    )


def effect_of(contrast: Contrast, *, alpha: float) -> Effect:
    """The difference with the test that fits: counts of pairs, paired t, or Welch's t.

    Raises:
        InsufficientDataError: fewer than two prompts or clusters.
    """
    if not contrast.is_paired:
        return _unpaired(contrast, alpha=alpha)
    if contrast.is_proportion and len(contrast.treatment) > 1:
        return _of_counts(contrast, alpha=alpha)
    mean = paired_mean(contrast.differences, contrast.treatment_clusters)
    is_clustered = contrast.treatment_clusters is not None
    return Effect(
        difference=mean.interval(alpha),
        p_value=mean.p_value,
        test=_name_of(mean, is_clustered=is_clustered),
        interval="Clopper-Pearson share" if mean.t is None else "t",
        n_clusters=mean.n_clusters if is_clustered else None,
        tested=mean,
    )


def not_comparable(arm: str, control: str, exc: InsufficientDataError) -> InsufficientDataError:
    """The same error with the names of the arms."""
    names = f"{printable(arm)} and {printable(control)}"
    return InsufficientDataError(f"{names} cannot be compared on the prompts that both saw: {exc}")


def _of_counts(contrast: Contrast, *, alpha: float) -> Effect:
    """Tango's interval, which is the score test turned round; McNemar's test of the discordant pairs."""
    n_better, n_worse = contrast.discordant
    pairs = tango(n_better, n_worse, len(contrast.treatment))
    is_few = n_better + n_worse < FEW_DISCORDANT
    p_value = mcnemar(n_better, n_worse) if is_few else mcnemar_midp(n_better, n_worse)
    test = "exact McNemar" if is_few else "mid-p McNemar"
    return Effect(pairs.interval(alpha), p_value, test, "Tango", None, pairs)


def _unpaired(contrast: Contrast, *, alpha: float) -> Effect:
    treatment, control = contrast.treatment, contrast.control
    if not (len(treatment) and len(control)):
        raise InsufficientDataError("two samples need a prompt of each arm")
    if contrast.is_proportion and not (np.ptp(treatment) or np.ptp(control)):
        return _without_variance(treatment, control, alpha=alpha)
    mean = two_sample_mean(treatment, control, contrast.treatment_clusters, contrast.control_clusters)
    is_clustered = contrast.treatment_clusters is not None
    inside = mean.interval(alpha)
    return Effect(
        Estimate(inside.value, max(inside.low, -1.0), min(inside.high, 1.0)),
        mean.p_value,
        CLUSTERED if is_clustered else WELCH,
        "t",
        mean.n_clusters if is_clustered else None,
        mean,
    )


def _without_variance(treatment: np.ndarray, control: np.ndarray, *, alpha: float) -> Effect:
    """All right or all wrong on both sides: t has no error to go by, counts have."""
    counts = (int(treatment.sum()), len(treatment), int(control.sum()), len(control))
    p_value = two_sample_permutation(treatment, control).p_value
    return Effect(newcombe(*counts, alpha=alpha), p_value, "exact permutation", "Newcombe", None, None)


def _name_of(mean: PairedMean, *, is_clustered: bool) -> str:
    if mean.t is None:
        return "exact sign test"
    return CLUSTERED if is_clustered else "paired t"
