"""Plans for scores that are 0 or 1: the same prompts for both arms (McNemar), or different ones; and looking
early."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from workbench.errors import DataError
from workbench.stats.e_process import log_e_value


@dataclass(frozen=True, slots=True)
class PairedProportions:
    """Both arms answer the same prompts, and differ on a share `discordant` of them: McNemar's test.

    `is_exact` is for its exact form, which needs a few prompts more than the normal one.
    Source: Connor (1987), Sample size for testing differences in proportions for the paired-sample design,
        Biometrics 43 (normal form); exact: the conditional test's power, averaged over the number of
        discordant pairs.
    """

    discordant: float
    is_exact: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.discordant <= 1.0:
            raise DataError(f"the share of discordant prompts must be in (0, 1]; got {self.discordant}")

    @property
    def largest_effect(self) -> float:
        return self.discordant

    def power(self, effect: float, n: int, *, alpha: float) -> float:
        return self._exact(effect, n, alpha) if self.is_exact else self._normal(effect, n, alpha)

    def _normal(self, effect: float, n: int, alpha: float) -> float:
        z = float(stats.norm.isf(alpha / 2.0)) * math.sqrt(self.discordant)
        sd = math.sqrt(max(self.discordant - effect**2, 1e-300))
        shift = effect * math.sqrt(n)
        return float(stats.norm.cdf((shift - z) / sd) + stats.norm.cdf((-shift - z) / sd))

    def _exact(self, effect: float, n: int, alpha: float) -> float:
        spread = 12.0 * math.sqrt(n * self.discordant) + 20.0
        least, most = max(0, int(n * self.discordant - spread)), min(n, int(n * self.discordant + spread))
        pairs = np.arange(least, most + 1)
        share = (1.0 + effect / self.discordant) / 2.0
        # The largest count of the rarer kind that is still a finding; -1 where none is.
        quantile = np.asarray(stats.binom.ppf(alpha / 2.0, pairs, 0.5))
        critical = quantile - (stats.binom.cdf(quantile, pairs, 0.5) > alpha / 2.0)
        found = stats.binom.cdf(critical, pairs, share) + stats.binom.cdf(critical, pairs, 1.0 - share)
        return min(1.0, float(stats.binom.pmf(pairs, n, self.discordant) @ found))


def discordant_share(treatment: float, control: float, *, correlation: float = 0.0) -> float:
    """On how many prompts arms of these accuracies differ, if their being right correlates by `correlation`.

    >>> round(discordant_share(0.85, 0.75, correlation=0.6), 4)
    0.1395

    Raises:
        DataError: an accuracy outside [0, 1], or a correlation that these accuracies cannot have.
    Source: the covariance of two 0/1 variables.
    """
    if not (0.0 <= treatment <= 1.0 and 0.0 <= control <= 1.0):
        raise DataError(f"accuracies must be in [0, 1]; got {treatment} and {control}")
    covariance = correlation * math.sqrt(treatment * (1 - treatment) * control * (1 - control))
    share = treatment * (1.0 - control) + control * (1.0 - treatment) - 2.0 * covariance
    most = min(treatment + control, 2.0 - treatment - control)
    if not abs(treatment - control) - 1e-12 <= share <= most + 1e-12:
        raise DataError(f"accuracies of {treatment} and {control} cannot correlate by {correlation}")
    return share


@dataclass(frozen=True, slots=True)
class TwoProportions:
    """The arms answer different prompts: z test, the control right on `control`, `n` prompts in the
    treatment.

    The control has `n` x `ratio`. Under the null the variance is that of both arms pooled. The treatment is
    the better one if `control` can be exceeded by the effect, else the worse.
    Source: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, sec. 4.2 (no
        correction).
    """

    control: float
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.control <= 1.0 or self.ratio <= 0.0:
            raise DataError(f"the control's accuracy must be in [0, 1] and the ratio positive: {self}")

    @property
    def largest_effect(self) -> float:
        return max(self.control, 1.0 - self.control)

    def power(self, effect: float, n: int, *, alpha: float) -> float:
        treatment = self.control + effect if self.control + effect <= 1.0 else self.control - effect
        pooled = (treatment + self.ratio * self.control) / (1.0 + self.ratio)
        null_sd = math.sqrt(pooled * (1.0 - pooled) * (1.0 + 1.0 / self.ratio))
        control_variance = self.control * (1.0 - self.control) / self.ratio
        sd = math.sqrt(max(treatment * (1.0 - treatment) + control_variance, 1e-300))
        z, shift = float(stats.norm.isf(alpha / 2.0)) * null_sd, effect * math.sqrt(n)
        return float(stats.norm.cdf((shift - z) / sd) + stats.norm.cdf((-shift - z) / sd))


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """What looking after every prompt brings, over simulated runs: prompts used, and the chance of a
    finding.

    `mean_n` counts a run without a finding with its planned size; `n_quantiles` are at 10, 50 and 90 %.
    """

    mean_n: float
    n_quantiles: tuple[float, float, float]
    power: float
    n_planned: int
    n_runs: int


def early_stop(
    effect: float,
    discordant: float,
    n_planned: int,
    *,
    alpha: float = 0.05,
    n_comparisons: int = 1,
    n_runs: int = 1000,
    seed: int = 0,
) -> EarlyStop:
    """How soon the exact e-process finds `effect`, by simulation of its discordant pairs alone.

    For scores that are not 0 or 1, take sd^2 + effect^2 of the differences as `discordant`: the bets depend
    on little more than mean and variance, where the effect is well below the variance.

    Raises:
        DataError: an effect larger than the share of discordant prompts, or a size or share that cannot be.
    """
    if not (abs(effect) <= discordant <= 1.0 and discordant > 0.0 and n_planned >= 1 and n_runs >= 1):
        raise DataError(
            f"an effect of {effect} with a share {discordant} of discordant prompts, {n_planned} prompts "
            f"and {n_runs} runs cannot be simulated"
        )
    random = np.random.default_rng(seed)
    expected = n_planned * discordant
    n_pairs = min(n_planned, int(expected + 6.0 * math.sqrt(expected) + 10.0))
    prompt = np.cumsum(random.geometric(discordant, size=(n_runs, n_pairs)), axis=1)
    is_better = random.random((n_runs, n_pairs)) < (1.0 + effect / discordant) / 2.0
    better = np.cumsum(is_better, axis=1)
    worse = np.arange(1, n_pairs + 1) - better
    is_out = (log_e_value(better, worse) >= math.log(n_comparisons / alpha)) & (prompt <= n_planned)
    is_found = is_out.any(axis=1)
    stop = np.where(is_found, prompt[np.arange(n_runs), is_out.argmax(axis=1)], n_planned)
    low, middle, high = (float(number) for number in np.quantile(stop, [0.1, 0.5, 0.9]))
    return EarlyStop(float(stop.mean()), (low, middle, high), float(is_found.mean()), n_planned, n_runs)
