"""What a policy would have earned, from a log of choices that another policy drew at random.

A policy chooses one action for each row; the log has the choice that was made, the probability with which
it was drawn (its propensity), and the reward of that choice alone. Each estimate is the mean of one number
per row, so that two policies on one log are compared row by row.

Dimensions: N rows of the log, M actions.
Source: Owen (2013), Monte Carlo theory, methods and examples, ch. 9, artowen.su.domains/mc.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from workbench.errors import DataError, InsufficientDataError
from workbench.stats.bootstrap import bootstrap_ratio
from workbench.stats.estimate import Estimate
from workbench.stats.paired import PairedMean, paired_mean
from workbench.stats.policy_log import (
    Floats,
    PolicyLog,
    Target,
    expected_reward,
    importance_weights,
    unsupported_share,
)

MIN_EFFECTIVE_ROWS = 100.0
MIN_EFFECTIVE_SHARE = 0.05
MIN_CLUSTERS = 20
_ROUNDING = 1e-6
_MAX_DEVIATION = 4.0
"""Standard errors by which the mean weight may miss 1: beyond it chance is no explanation."""


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """The mean reward that a policy would have had, sum(`numerator`) / sum(`denominator`), with its interval.

    `effective_rows` is (sum w)^2 / sum w^2: how many rows drawn from the policy itself would say as much.
    `mean_weight` is 1 but for chance where the log can speak of the policy. `unsupported` is the share of the
    policy's choices that the log never has. `warning` says why the number should not be trusted; None:
    nothing speaks against it. `standard_error` is the delta method's, robust to clusters; `reliance` [N] is
    how much the value moves with each row's reward.
    """

    estimate: Estimate
    standard_error: float
    n: int
    n_clusters: int
    effective_rows: float
    mean_weight: float
    unsupported: float
    warning: str | None
    log: PolicyLog = field(repr=False, compare=False)
    numerator: Floats = field(repr=False, compare=False)
    denominator: Floats = field(repr=False, compare=False)
    reliance: Floats = field(repr=False, compare=False)

    @property
    def influence(self) -> Floats:
        """[N] what each row says of the value; the mean is the value (for a ratio: linearised)."""
        return _influence(self.numerator, self.denominator)

    def bootstrap(self, *, alpha: float = 0.05, n_resamples: int = 2000, seed: int = 0) -> Estimate:
        """The same value with a percentile bootstrap interval, by row or by cluster."""
        return bootstrap_ratio(
            self.numerator,
            self.denominator,
            self.log.clusters,
            alpha=alpha,
            n_resamples=n_resamples,
            seed=seed,
        )


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """Challenger minus champion, both on one log. `warning` is what speaks against either of them."""

    estimate: Estimate
    standard_error: float
    p_value: float
    warning: str | None


def ips(log: PolicyLog, target: Target, *, alpha: float = 0.05) -> PolicyValue:
    """Inverse propensity score: the mean of w x reward. Unbiased; its variance grows with the weights.

    >>> log = PolicyLog(np.array([0, 1]), np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    >>> ips(log, np.array([0, 0])).estimate.value
    1.0

    Args:
        target: [N, M] the probability with which the policy would take each action, or [N] its action.
        alpha: 1 - the interval's level. The interval is t's, with one more effective row at either end of the
            reward's range: few effective rows may all agree, and say little.
    Raises:
        DataError: the target does not fit the log, or its probabilities do not add up to 1; names the row.
        InsufficientDataError: no logged choice is one that the target would make.
    Source: Horvitz & Thompson (1952), JASA 47, 663-685.
    """
    weights = importance_weights(log, target)
    return _value(log, target, weights, weights * log.reward, np.ones(len(log)), alpha)


def snips(log: PolicyLog, target: Target, *, alpha: float = 0.05) -> PolicyValue:
    """Self-normalised: sum(w x reward) / sum(w). A little biased, never out of bounds, and often much closer.

    Propensities that are all wrong by one factor change nothing.

    Args and errors as in `ips`.
    Source: Swaminathan & Joachims (2015), The Self-Normalized Estimator for Counterfactual Learning, NeurIPS;
        Owen (2013), section 9.2.
    """
    weights = importance_weights(log, target)
    return _value(log, target, weights, weights * log.reward, weights, alpha)


def doubly_robust(
    log: PolicyLog,
    target: Target,
    *,
    model: Floats,
    max_weight: float = np.inf,
    alpha: float = 0.05,
) -> PolicyValue:
    """A model's prediction of the target's reward, corrected by what the log says of the model's errors.

    Unbiased where either the propensities or the model are right, and closer than IPS where the model
    explains some of the reward. `model` must not have been fitted on the row that it predicts.

    Args:
        model: [N, M] predicted reward of each action; NaN only where the target never goes.
        max_weight: rows of a larger weight are left to the model (SWITCH): less variance, for a bias that the
            interval does not cover.
    Errors as in `ips`.
    Source: Dudik, Langford & Li (2011), Doubly Robust Policy Evaluation and Learning, ICML, arXiv 1103.4601;
        Wang, Agarwal & Dudik (2017), Optimal and Adaptive Off-policy Evaluation, arXiv 1612.01205 (SWITCH).
    """
    weights = importance_weights(log, target)
    trusted = np.where(weights <= max_weight, weights, 0.0)
    terms = expected_reward(target, model) + trusted * (log.reward - _of_logged(log, model, weights))
    return _value(log, target, trusted, terms, np.ones(len(log)), alpha)


def policy_difference(
    challenger: PolicyValue, champion: PolicyValue, *, alpha: float = 0.05
) -> PolicyDifference:
    """What the challenger would earn more than the champion, paired: what the two share cancels.

    Raises:
        DataError: the two were not estimated on one and the same log.
    """
    if challenger.log is not champion.log:
        raise DataError("two policies can be compared only on one log; estimate both on the same PolicyLog")
    log, (low, high) = champion.log, champion.log.bounds
    limits = (low - high, high - low)
    mean = _mean(challenger.influence - champion.influence, log)
    error = _steadied(mean.standard_error, challenger.reliance - champion.reliance, log)
    warnings = [text for text in (challenger.warning, champion.warning) if text]
    return PolicyDifference(
        estimate=_interval(mean, error, limits, alpha),
        standard_error=mean.standard_error,
        p_value=float(2.0 * stats.t.sf(abs(mean.estimate) / error, mean.df)) if error > 0.0 else 1.0,
        warning="; ".join(dict.fromkeys(warnings)) or None,
    )


def _of_logged(log: PolicyLog, model: Floats, weights: Floats) -> Floats:
    """[N] the model's reward of the logged action; 0 where it does not count, known or not."""
    predicted: Floats = np.zeros(len(log))
    rows = np.flatnonzero(weights > 0.0)
    predicted[rows] = model[rows, log.action[rows]]
    return predicted


def _value(
    log: PolicyLog,
    target: Target,
    trusted: Floats,
    numerator: Floats,
    denominator: Floats,
    alpha: float,
) -> PolicyValue:
    """`trusted` [N]: the weights that rewards were given, which may leave out some of the target's."""
    weights = importance_weights(log, target)
    if not weights.any():
        raise InsufficientDataError(
            f"none of the {len(log)} logged choices is one that the policy would make; log some of them"
        )
    mean = _mean(_influence(numerator, denominator), log)
    reliance = trusted / denominator.mean()
    error = _steadied(mean.standard_error, reliance, log)
    effective_rows = float(weights.sum() ** 2 / (weights @ weights))
    unsupported = unsupported_share(log, target)
    return PolicyValue(
        estimate=_interval(mean, error, log.bounds, alpha),
        standard_error=mean.standard_error,
        n=len(log),
        n_clusters=mean.n_clusters,
        effective_rows=effective_rows,
        mean_weight=float(weights.mean()),
        unsupported=unsupported,
        warning=_warning(log, weights, effective_rows, unsupported, mean.n_clusters),
        log=log,
        numerator=numerator,
        denominator=denominator,
        reliance=reliance,
    )


def _influence(numerator: Floats, denominator: Floats) -> Floats:
    value = numerator.sum() / denominator.sum()
    influence: Floats = value + (numerator - value * denominator) / denominator.mean()
    return influence


def _mean(terms: Floats, log: PolicyLog) -> PairedMean:
    """Only the mean and its standard error: what bounds the reward does not bound the terms."""
    return paired_mean(
        terms, log.clusters, bounds=(min(float(terms.min()), 0.0), max(float(terms.max()), 0.0))
    )


def _steadied(standard_error: float, reliance: Floats, log: PolicyLog) -> float:
    """The standard error as if one more effective row had the least reward and one the greatest.

    With n effective rows this adds 2 h^2 / n^2 to its square, h half the range, as `sequential.steadied`: of
    ten rows that all succeeded, the plain one would be 0. Without bounds, the rewards' standard deviation
    stands for h.
    """
    units = np.arange(len(log)) if log.clusters is None else np.unique(log.clusters, return_inverse=True)[1]
    moved = np.bincount(units, weights=np.abs(reliance))
    if not moved.any():
        return standard_error
    half_range = (log.bounds[1] - log.bounds[0]) / 2.0
    if not math.isfinite(half_range):
        half_range = float(log.reward.std())
    largest = half_range * float(moved @ moved) / (len(log) * float(moved.sum()))
    return math.sqrt(standard_error**2 + 2.0 * largest**2)


def _interval(mean: PairedMean, error: float, bounds: tuple[float, float], alpha: float) -> Estimate:
    """What is possible of value +- t x error; it has the value, also where that is out of bounds."""
    margin = float(stats.t.isf(alpha / 2.0, mean.df)) * error
    low, high = max(mean.estimate - margin, bounds[0]), min(mean.estimate + margin, bounds[1])
    return Estimate(mean.estimate, min(low, mean.estimate), max(high, mean.estimate))


def _warning(
    log: PolicyLog, weights: Floats, effective_rows: float, unsupported: float, n_clusters: int
) -> str | None:
    found = []
    if unsupported > _ROUNDING:
        found.append(f"{unsupported:.1%} of the policy's choices are of actions that the log never has")
    spread = _mean(weights, log).standard_error
    if abs(weights.mean() - 1.0) > _MAX_DEVIATION * spread + _ROUNDING:
        found.append(
            f"the mean weight is {weights.mean():.3g} and should be 1: the propensities are wrong, or the "
            "log lacks choices that the policy would make"
        )
    if effective_rows < MIN_EFFECTIVE_ROWS or effective_rows < MIN_EFFECTIVE_SHARE * len(log):
        found.append(f"the {len(log)} rows say as much as {effective_rows:.0f} of the policy's own would")
    if n_clusters < MIN_CLUSTERS and log.clusters is not None:
        found.append(f"only {n_clusters} clusters: the interval is rough")
    return "; ".join(found) or None
