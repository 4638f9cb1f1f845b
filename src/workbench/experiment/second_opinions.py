"""What other methods say of a comparison: beside its verdict, never instead of it."""

import numpy as np
import pandas as pd

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import AdjustedDifference, MissingScores
from workbench.experiment.analysis_plan import AnalysisPlan
from workbench.experiment.contrast import Contrast
from workbench.experiment.scores import Scores
from workbench.stats.beta_binomial import PosteriorDifference, beta_binomial, paired_beta_binomial
from workbench.stats.cuped import Cuped, paired_cuped, two_sample_cuped
from workbench.stats.estimate import Estimate
from workbench.stats.missing import manski_bounds, missingness
from workbench.stats.paired import paired_mean
from workbench.stats.permutation import sign_flip, two_sample_permutation
from workbench.stats.two_sample import two_sample_mean

_MOST_FLIPPED, _MOST_SHUFFLED = 5000, 1000
"""Units beyond which permutations take longer than all else; the t-test is then as good."""
_UNBOUNDED = (float("-inf"), float("inf"))


def permutation_p(contrast: Contrast) -> float | None:
    """Of a permutation test; None where it takes too long, or is McNemar's test again."""
    n = len(contrast.treatment) + len(contrast.control)
    if contrast.is_paired:
        if contrast.is_proportion or len(contrast.treatment) > _MOST_FLIPPED:
            return None
        return sign_flip(contrast.differences, contrast.treatment_clusters).p_value
    if contrast.treatment_clusters is not None or (n > _MOST_SHUFFLED and not contrast.is_binary):
        return None
    return two_sample_permutation(contrast.treatment, contrast.control).p_value


def posterior(contrast: Contrast, *, alpha: float) -> PosteriorDifference | None:
    """The Bayesian answer for 0/1 scores of prompts that stand alone, from uniform priors; else None."""
    if not contrast.is_proportion:
        return None
    if contrast.is_paired:
        return paired_beta_binomial(*contrast.discordant, len(contrast.treatment), alpha=alpha)
    treatment, control = contrast.treatment, contrast.control
    return beta_binomial(int(treatment.sum()), len(treatment), int(control.sum()), len(control), alpha=alpha)


def adjusted(
    observed: Scores, contrast: Contrast, *, plan: AnalysisPlan, alpha: float
) -> AdjustedDifference | None:
    """The difference less what the plan's covariate explains (CUPED); None where it can explain nothing.

    For pairs that needs the covariate's mean over the pool of prompts; over those asked it is balanced.
    """
    if plan.covariate is None or observed.covariate is None:
        return None
    try:
        found = (
            _of_pairs(contrast, observed.covariate, plan)
            if contrast.is_paired
            else _of_samples(contrast, observed.covariate)
        )
    except InsufficientDataError:  # it is the same for all prompts
        return None
    if found is None:
        return None
    return AdjustedDifference(plan.covariate, found.interval(alpha), found.p_value, found.variance_reduction)


def latency_difference_s(
    observed: Scores, arm: str, control: str, *, is_paired: bool, alpha: float
) -> Estimate | None:
    """Mean seconds, treatment minus control: of the prompts that both answered, or of each arm's own."""
    if observed.latency_s is None:
        return None
    both = observed.latency_s[[arm, control]]
    try:
        if not is_paired:
            first, second = both[arm].dropna(), both[control].dropna()
            return two_sample_mean(first.to_numpy(), second.to_numpy()).interval(alpha)
        shared = both.dropna()
        clusters = None if observed.clusters is None else observed.clusters[shared.index].to_numpy()
        difference = (shared[arm] - shared[control]).to_numpy()
        found = paired_mean(difference, clusters, bounds=_UNBOUNDED)
    except InsufficientDataError:
        return None
    return None if found.t is None else found.interval(alpha)


def missing(observed: Scores, arm: str, control: str, *, alpha: float) -> MissingScores | None:
    """Prompts that one of them has no score for, and how far these could move the difference; None: none."""
    both = observed.quality[[arm, control]].dropna(how="all")
    lacks = both.isna().to_numpy()
    if not lacks.any():
        return None
    clusters = None if observed.clusters is None else observed.clusters[both.index].to_numpy()
    bounds = manski_bounds(both[arm].to_numpy(), both[control].to_numpy(), clusters, alpha=alpha)
    n_arm, n_control = (int(n) for n in lacks.sum(axis=0))
    p_value = missingness(lacks).p_value
    return MissingScores(len(both), n_arm, n_control, p_value, bounds.lower, bounds.upper, bounds.interval)


def errors_p(observed: Scores, contrast: Contrast, arm: str, control: str) -> float | None:
    """Of the test that both fail on as many of the prompts that they were asked; None: no errors."""
    if observed.errors is None or not contrast.is_paired:
        return None
    failed = observed.errors[[arm, control]].to_numpy()[contrast.treatment_rows] > 0.0
    return missingness(failed).p_value if failed.any() else None


def _of_pairs(contrast: Contrast, covariate: pd.Series, plan: AnalysisPlan) -> Cuped | None:
    known = covariate.to_numpy()[contrast.treatment_rows]
    if plan.covariate_mean is None or np.isnan(known).any():
        return None
    return paired_cuped(
        contrast.differences,
        known,
        contrast.treatment_clusters,
        covariate_mean=plan.covariate_mean,
    )


def _of_samples(contrast: Contrast, covariate: pd.Series) -> Cuped | None:
    first, second = (covariate.to_numpy()[rows] for rows in (contrast.treatment_rows, contrast.control_rows))
    if np.isnan(first).any() or np.isnan(second).any():
        return None
    return two_sample_cuped(
        contrast.treatment,
        contrast.control,
        first,
        second,
        treatment_clusters=contrast.treatment_clusters,
        control_clusters=contrast.control_clusters,
    )
