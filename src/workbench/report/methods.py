"""What was done in this analysis, in sentences that cite where each method is from; and only what was "
"done."""

from collections.abc import Iterator

from workbench.experiment.analysis import Analysis

REFERENCES = {
    "Bell & McCaffrey 2002": "Bell, R. M. & McCaffrey, D. F. (2002). Bias reduction in standard errors for "
    "linear regression with multi-stage samples. Survey Methodology 28.",
    "Clopper & Pearson 1934": "Clopper, C. J. & Pearson, E. S. (1934). The use of confidence or fiducial "
    "limits illustrated in the case of the binomial. Biometrika 26.",
    "Holm 1979": "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian "
    "Journal of Statistics 6.",
    "McNemar 1947": "McNemar, Q. (1947). Note on the sampling error of the difference between correlated "
    "proportions or percentages. Psychometrika 12.",
    "Student 1908": "Student (1908). The probable error of a mean. Biometrika 6.",
    "Wilson 1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical "
    "inference. Journal of the American Statistical Association 22.",
}


def sentences(analysis: Analysis) -> list[str]:
    """The methods paragraph."""
    return [*_units(analysis), *_differences(analysis), *_findings(analysis), *_arms(analysis)]


def references(said: list[str]) -> list[str]:
    """The works that the sentences cite, in order of their authors."""
    return [work for key, work in REFERENCES.items() if any(key in sentence for sentence in said)]


def level(analysis: Analysis) -> str:
    """
    >>> level(Analysis("?", "quality", 0.05, "a", (), ()))
    '95 %'
    """
    return f"{100 * (1 - analysis.alpha):g} %"


def _units(analysis: Analysis) -> Iterator[str]:
    if analysis.comparisons:
        yield (
            "Every arm answered the same prompts, so arms are compared prompt by prompt: the difference of "
            "an arm from the control is the mean, over the prompts that both saw, of the difference of "
            "their scores."
        )
    if any(arm.n_calls > arm.n_prompts for arm in analysis.arms):
        yield "Repeats of a prompt are averaged first: the prompt is the unit, not the call."
    yield "A call that ended in an error counts as quality 0, because a user would have had no answer."


def _differences(analysis: Analysis) -> Iterator[str]:
    tests = {comparison.test for comparison in analysis.comparisons}
    if not tests:
        return
    if any(comparison.n_clusters is not None for comparison in analysis.comparisons):
        yield (
            f"Differences are in percentage points, with a {level(analysis)} interval from a standard error "
            "that allows for prompts of one cluster being alike (CR2; Bell & McCaffrey 2002) and t with "
            "their degrees of freedom, fewer where clusters are few or unequal."
        )
    else:
        yield (
            f"Differences are in percentage points, with a {level(analysis)} interval from Student's t for "
            "paired differences (Student 1908)."
        )
    if "exact McNemar" in tests:
        yield (
            "Where two arms differed on fewer than 25 prompts scored 0 or 1, the p-value is that of "
            "McNemar's exact test on those prompts (McNemar 1947)."
        )
    if "exact sign test" in tests:
        yield (
            "Where all prompts had the same difference, the p-value is that of the sign test, and the "
            "interval has the ends that the share of other prompts may have (Clopper & Pearson 1934)."
        )


def _findings(analysis: Analysis) -> Iterator[str]:
    n = len(analysis.comparisons)
    if n > 1:
        yield (
            f"An arm is called better or worse only if its p-value is at most {analysis.alpha:g} after "
            f"Holm's correction for {n} comparisons (Holm 1979), so that the chance of any false finding "
            f"stays at most {analysis.alpha:g}; the intervals shown are for one comparison each."
        )
    elif n == 1:
        yield f"An arm is called better or worse if the p-value is at most {analysis.alpha:g}."
    if any(comparison.finding == "undecided" for comparison in analysis.comparisons):
        yield (
            '"No difference shown" does not mean "no difference": it means that none larger than the ends '
            "of the interval is compatible with these prompts."
        )


def _arms(analysis: Analysis) -> Iterator[str]:
    yield (
        "The quality of an arm has Wilson's interval (Wilson 1927) where its scores are 0 or 1 and prompts "
        "stand alone, else one from t, cut at 0 and 1."
    )
    if any(comparison.cost_ratio is not None for comparison in analysis.comparisons):
        yield (
            "The ratio of costs has a t interval on the log scale, whose error allows for prompts, or "
            "clusters of them, that make up much of the cost (CR2; Bell & McCaffrey 2002)."
        )
    if any(arm.latency_p50_s is not None for arm in analysis.arms):
        yield "Latencies are medians and 95th percentiles of the calls that were answered."
