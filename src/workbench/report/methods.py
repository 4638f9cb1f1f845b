"""What was done in this analysis, in sentences that cite their sources; and only what was done."""

from collections.abc import Iterator
from itertools import chain

from workbench.experiment.analysis import Analysis
from workbench.experiment.contrast import CLUSTERED, WELCH
from workbench.experiment.looks import ALWAYS_VALID


def sentences(analysis: Analysis) -> list[str]:
    """The methods paragraph."""
    return list(
        chain(
            _units(analysis),
            _intervals(analysis),
            _tests(analysis),
            _findings(analysis),
            _margins(analysis),
            _others(analysis),
            _arms(analysis),
        )
    )


def level(analysis: Analysis) -> str:
    """
    >>> level(Analysis("?", "quality", 0.05, "a", (), ()))
    '95 %'
    """
    return f"{100 * (1 - analysis.alpha):g} %"


def _units(analysis: Analysis) -> Iterator[str]:
    if analysis.comparisons and analysis.is_randomised:
        yield (
            "Each prompt was asked of one arm, drawn at random, so the difference of an arm from the "
            "control is that of the means of their own prompts."
        )
    elif analysis.comparisons:
        yield (
            "Every arm was asked the same prompts, so arms are compared prompt by prompt: the difference of "
            "an arm from the control is the mean, over the prompts that both have a score for, of the "
            "difference of their scores."
        )
    if any(arm.n_calls > arm.n_prompts + arm.n_unscored for arm in analysis.arms):
        yield "Repeats of a prompt are averaged first: the prompt is the unit, not the call."
    yield "A call that ended in an error counts as quality 0, because a user would have had no answer."
    if any(arm.n_unscored for arm in analysis.arms):
        yield "An answer that was not scored is left out."
    if analysis.sample_ratio is not None:
        yield (
            "Whether the prompts fell to the arms as meant was tested by chi-square "
            f"(p = {analysis.sample_ratio.p_value:.3f})."
        )


def _intervals(analysis: Analysis) -> Iterator[str]:
    kinds = {comparison.interval for comparison in analysis.comparisons}
    if kinds:
        yield f"Differences are in percentage points, with {level(analysis)} intervals."
    if "Tango" in kinds:
        yield "Scores are 0 or 1 and prompts stand alone, so the interval is Tango's (Tango 1998)."
    if "Newcombe" in kinds:
        yield "Where no score varies within an arm, the interval is Newcombe's (Newcombe 1998)."
    if "always-valid" in kinds:
        yield (
            "The run looked while it went on, so intervals and p-values are made for that: they hold at "
            "every look at once, by a mixture of bets against each possible difference, the prompts in the "
            "order in which they were asked (Waudby-Smith & Ramdas 2024; Ramdas et al. 2023)."
        )
    if "Clopper-Pearson share" in kinds:
        yield (
            "Where all prompts had the same difference, the interval has the ends that the share of other "
            "prompts may have (Clopper & Pearson 1934)."
        )


def _tests(analysis: Analysis) -> Iterator[str]:
    tests = {comparison.test for comparison in analysis.comparisons}
    if "exact McNemar" in tests:
        yield (
            "Where two arms differed on fewer than 25 prompts, the p-value is that of McNemar's exact test "
            "on those prompts (McNemar 1947)."
        )
    if "mid-p McNemar" in tests:
        yield "The p-value of 0/1 scores is McNemar's mid-p on those that differ (Fagerland et al. 2013)."
    if "paired t" in tests:
        yield "Intervals and p-values are those of Student's t for paired differences (Student 1908)."
    if WELCH in tests:
        yield "Intervals and p-values are those of Welch's t for two samples (Welch 1947)."
    if CLUSTERED in tests:
        yield (
            "Prompts of one cluster are alike, so standard errors are cluster-robust, with t and the "
            "degrees of freedom of few or unequal clusters (CR2; Bell & McCaffrey 2002)."
        )
    if ALWAYS_VALID in tests and any(comparison.n_clusters for comparison in analysis.comparisons):
        yield "Prompts of one cluster were averaged first: a cluster is one look."
    if "exact sign test" in tests:
        yield "The p-value of equal differences is that of the sign test."


def _findings(analysis: Analysis) -> Iterator[str]:
    n, alpha = len(analysis.comparisons), f"{analysis.alpha:g}"
    if n > 1:
        yield (
            f"An arm is called better or worse only if its p-value is at most {alpha} after Holm's "
            f"correction for {n} comparisons (Holm 1979), so that the chance of any false finding stays at "
            f"most {alpha}; the intervals shown are for one comparison each."
        )
    elif n == 1:
        yield f"An arm is called better or worse if the p-value is at most {alpha}."
    if any(comparison.finding == "undecided" for comparison in analysis.comparisons):
        yield (
            '"No difference shown" does not mean "no difference": it means that none larger than the ends '
            "of the interval is compatible with these prompts."
        )


def _margins(analysis: Analysis) -> Iterator[str]:
    margins = [comparison.margin for comparison in analysis.comparisons if comparison.margin is not None]
    if not margins:
        return
    size = f"{100 * margins[0].margin:g} points"
    corrected = ", Holm-corrected" if len(margins) > 1 else ""
    if margins[0].kind == "non-inferiority":
        yield (
            f"That an arm loses less than the margin of {size} was tested one-sided at "
            f"{analysis.alpha / 2:g}{corrected} (Schuirmann 1987)."
        )
    else:
        yield (
            f"Equivalence within the margin of {size} was tested by two one-sided tests at "
            f"{analysis.alpha:g}{corrected} (Schuirmann 1987)."
        )


def _others(analysis: Analysis) -> Iterator[str]:
    found = analysis.comparisons
    if any(one.tasks for one in found):
        yield "Tasks were compared likewise, with Holm's correction for those of an arm (Holm 1979)."
    if any(one.heterogeneity for one in found):
        yield "Whether an arm's difference is the same on all tasks was tested by Welch's F (Welch 1951)."
    if analysis.factors:
        yield (
            "Effects of factors are contrasts of arms, prompt by prompt, with t intervals, and p-values "
            "that are corrected for all effects together (Holm 1979)."
        )
    if any(one.adjusted for one in found):
        yield "A covariate known beforehand took out what it explains (CUPED; Deng et al. 2013)."
    if any(one.permutation_p is not None for one in found):
        yield (
            "Permutation tests flipped the signs of differences, or exchanged labels; where these were "
            "drawn, 9,999 times (Phipson & Smyth 2010)."
        )
    if any(one.posterior for one in found):
        prior = "two rates" if analysis.is_randomised else "the four kinds of pairs (Altham 1971)"
        yield f"The Bayesian answer has uniform priors on {prior}."
    if any(one.missing for one in found):
        yield (
            "Bounds for missing scores take the worst and the best that each could have been, with an "
            "interval around both (Imbens & Manski 2004)."
        )
    if any(one.errors_p is not None for one in found):
        yield "Whether two arms fail alike was tested on the prompts that one alone failed on (Cochran 1950)."


def _arms(analysis: Analysis) -> Iterator[str]:
    yield (
        "The quality of an arm has Wilson's interval (Wilson 1927) where its scores are 0 or 1 and prompts "
        "stand alone, else one from t, cut at 0 and 1."
    )
    if any(comparison.cost_ratio is not None for comparison in analysis.comparisons):
        yield (
            "The ratio of costs has a t interval on the log scale, whose error allows for prompts, or "
            "clusters of them, that make up much of the cost (CR2; Bell & McCaffrey 2002)."
            if not analysis.is_randomised
            else "The ratio of costs has a t interval on the log scale, of two samples (Welch 1947)."
        )
    if any(arm.usd_per_correct is not None for arm in analysis.arms):
        yield "What a right answer costs has Fieller's interval (Fieller 1954)."
    if any(arm.p_on_front is not None for arm in analysis.arms):
        yield "The probability of being on the front is a share of 2,000 resamples (Efron & Tibshirani 1993)."
    if any(arm.latency_p50_s is not None for arm in analysis.arms):
        yield (
            "Latencies are medians and 95th percentiles of the calls that were answered, with "
            "order-statistic intervals (Conover 1999)."
        )
