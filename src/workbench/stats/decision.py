"""Go on or stop, asked after every prompt: better, worse, equivalent or futile, for one treatment or
several.

Verdicts are read off p-values and intervals that hold at every look, so one may stop whenever one likes.
Power given what was seen so far is a forecast, and binds nobody.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from workbench.errors import DataError
from workbench.stats.always_valid import AlwaysValid
from workbench.stats.e_process import log_e_value
from workbench.stats.multiplicity import holm

Verdict = Literal["continue", "better", "worse", "equivalent", "futile"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of a treatment against the control after `n` units, and the `reason` as a sentence.

    better, worse: there is a difference, `p_adjusted` is at most alpha. equivalent: it lies inside +-
    margin. futile: it is less than the least effect of interest. continue: none of these yet. `low` and
    `high` hold for all treatments at once.
    """

    verdict: Verdict
    reason: str
    estimate: float
    low: float
    high: float
    p_adjusted: float
    n: int

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to find out."""
        return self.verdict != "continue"


def decide(
    result: AlwaysValid, *, margin: float | None = None, least_effect: float | None = None
) -> Decision:
    """The decision on one treatment, as `decide_arms` with `result.alpha` as the level.

    >>> from workbench.stats.always_valid import always_valid
    >>> decide(always_valid(np.ones(30))).verdict
    'better'
    """
    return decide_arms([result], alpha=result.alpha, margin=margin, least_effect=least_effect)[0]


def decide_arms(
    results: Sequence[AlwaysValid],
    *,
    alpha: float = 0.05,
    margin: float | None = None,
    least_effect: float | None = None,
) -> tuple[Decision, ...]:
    """The decisions on several treatments against one control: no false finding with probability 1 -
    `alpha`.

    Differences are found by Holm's procedure on the always-valid p-values. It may be asked at any moment:
    each of these p-values ever falls to x with a probability of at most x, whatever the other arms show, and
    none rises again. So what is found stays found, and a false finding among k true nulls needs one of their
    p-values to fall to alpha / k at some time.

    Equivalence and futility are read off the intervals, of which each has its equal share of `alpha`: these
    too are all right with probability 1 - `alpha`. With one arm, findings and intervals err together.

    Args:
        results: one a treatment, each made with `alpha` / their number, so that the intervals hold together.
        margin: equivalence is a difference within +- this; None: equivalence is not looked for.
        least_effect: futile is a difference below this, the least gain of interest; None: never futile.
    Raises:
        DataError: a margin or least effect that is not positive, or results made with more than their share.
    """
    if any(size is not None and not size > 0.0 for size in (margin, least_effect)):
        raise DataError(f"margin and least_effect must be positive; got {margin} and {least_effect}")
    if any(result.alpha > alpha / len(results) * (1.0 + 1e-9) for result in results):
        raise DataError(
            f"each of {len(results)} results must be made with alpha = {alpha / len(results):.4g}, its equal "
            "share"
        )
    adjusted = holm([result.p_value for result in results])
    return tuple(
        _decision(result, p, alpha=alpha, margin=margin, least_effect=least_effect)
        for result, p in zip(results, adjusted, strict=True)
    )


def conditional_power(
    z: float,
    share: float,
    *,
    drift: float | None = None,
    critical_z: float | None = None,
    alpha: float = 0.05,
) -> float:
    """The chance that the planned size finds a gain, if from now on the effect is as assumed. Not binding.

    >>> round(conditional_power(0.0, 0.5), 4)  # nothing so far, and no trend: Phi(-1.96 / sqrt(1/2))
    0.0028

    Args:
        z: estimate / standard error so far.
        share: of the planned units that are there, in (0, 1).
        drift: the expected z at the planned size under the assumed effect; None: the trend so far.
        critical_z: what z must reach there; None: that of a two-sided test of one look.
    Source: Lan & Wittes (1988), The B-value: a tool for monitoring data, Biometrics 44.
    """
    needed = _critical(critical_z, alpha, share)
    reached = z * math.sqrt(share)
    trend = reached / share if drift is None else drift
    return float(stats.norm.cdf((reached + trend * (1.0 - share) - needed) / math.sqrt(1.0 - share)))


def predictive_power(
    z: float, share: float, *, critical_z: float | None = None, alpha: float = 0.05
) -> float:
    """The same, averaged over the effects that what was seen leaves plausible (flat prior). Not binding.

    Source: Spiegelhalter, Freedman & Blackburn (1986), Monitoring clinical trials: conditional or predictive
        power?, Controlled Clinical Trials 7.
    """
    needed = _critical(critical_z, alpha, share)
    return float(stats.norm.cdf((z - needed * math.sqrt(share)) / math.sqrt(1.0 - share)))


def forecast(result: AlwaysValid, n_planned: int) -> float | None:
    """The predictive power of a run that goes on to `n_planned` units: that it then has found a difference.

    In the direction seen so far, by the exact test, at that size alone: a little less than at all looks up
    to it. None where the differences so far do not vary, or the planned size is reached. Not binding.
    """
    n, mean = result.n, result.trajectory.mean
    differences = np.diff(mean * result.trajectory.n, prepend=0.0)
    variance = float(differences.var())
    if n >= n_planned or variance <= 1e-12:
        return None
    z = abs(result.estimate) * math.sqrt(n / variance)
    needed = critical_z(variance, n_planned, alpha=result.alpha)
    return predictive_power(z, n / n_planned, critical_z=needed)


def critical_z(variance: float, n: int, *, alpha: float = 0.05) -> float:
    """What estimate / standard error must be after `n` units, for the exact test to find a difference there.

    For differences of -1, 0 and 1 with this `variance`; infinite if not even `n` x `variance` pairs that all
    favour one arm suffice.
    """
    n_pairs = n * variance

    def lacking(z: float) -> float:
        excess = z * math.sqrt(n_pairs)
        return float(log_e_value((n_pairs + excess) / 2.0, (n_pairs - excess) / 2.0)) + math.log(alpha)

    most = math.sqrt(n_pairs) * (1.0 - 1e-12)
    return float(optimize.brentq(lacking, 0.0, most)) if lacking(most) > 0.0 else math.inf


def _critical(critical_z: float | None, alpha: float, share: float) -> float:
    if not 0.0 < share < 1.0:
        raise DataError(f"the share of the planned size must be in (0, 1); got {share}")
    return float(stats.norm.isf(alpha / 2.0)) if critical_z is None else critical_z


def _decision(
    result: AlwaysValid, p_adjusted: float, *, alpha: float, margin: float | None, least_effect: float | None
) -> Decision:
    verdict, reason = _verdict(result, p_adjusted, alpha, margin, least_effect)
    return Decision(verdict, reason, result.estimate, result.low, result.high, p_adjusted, result.n)


def _verdict(
    result: AlwaysValid, p_adjusted: float, alpha: float, margin: float | None, least_effect: float | None
) -> tuple[Verdict, str]:
    interval = f"[{100 * result.low:+.1f}, {100 * result.high:+.1f}] points"
    if result.warning is not None:
        return "continue", result.warning
    if p_adjusted <= alpha:
        return _direction(result), f"the always-valid p-value is {p_adjusted:.2g}, at most {alpha:g}"
    if margin is not None and -margin < result.low and result.high < margin:
        return "equivalent", f"the interval {interval} lies within +-{100 * margin:g} points"
    if least_effect is not None and result.high < least_effect:
        return "futile", f"the interval {interval} excludes a gain of {100 * least_effect:g} points"
    return "continue", f"the always-valid p-value is {p_adjusted:.2g}, the interval {interval}"


def _direction(result: AlwaysValid) -> Verdict:
    """Where the mean lay when the evidence was at its strongest."""
    strongest = int(np.argmax(result.trajectory.p_value <= result.p_value))
    return "better" if result.trajectory.mean[strongest] > 0.0 else "worse"
