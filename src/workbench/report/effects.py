"""The tables of a report that say how arms differ: comparisons, tasks, factors, and other methods."""

from collections.abc import Iterator

from workbench.experiment.analysis import Analysis, Comparison, FactorEffect, TaskEffect
from workbench.experiment.wording import ABSENT, p_value, points, printable, seconds_interval, times
from workbench.report.methods import level
from workbench.report.parts import Table


def comparisons(analysis: Analysis) -> Table:
    """One row an arm besides the control."""
    is_adjusted = len(analysis.comparisons) > 1
    header = ("against the control", "prompts", "difference", "p, corrected" if is_adjusted else "p")
    return Table(
        (*header, "cost", "better / worse on", "finding"),
        [
            (
                printable(found.arm),
                f"{found.n_prompts:,}",
                points(found.difference),
                _p(found.p_adjusted),
                ABSENT if found.cost_ratio is None else times(found.cost_ratio),
                f"{found.n_better:,} / {found.n_worse:,}" if found.n_better + found.n_worse else ABSENT,
                found.finding,
            )
            for found in analysis.comparisons
        ],
        note=f"Brackets hold {level(analysis)} intervals of one comparison each; the finding is by p"
        + (", corrected for all of them (Holm)." if is_adjusted else "."),
    )


def tasks(analysis: Analysis) -> Table:
    """The difference on each task: a row a task, a column an arm."""
    shown = [found for found in analysis.comparisons if found.tasks]
    names = sorted({effect.task for found in shown for effect in found.tasks})
    note = (
        "p is corrected for the tasks of an arm (Holm): it says on which task the arm differs from the "
        "control, not whether tasks differ from each other."
    )
    different = [_heterogeneity(found) for found in shown if found.heterogeneity is not None]
    return Table(
        ("difference from the control", *(printable(found.arm) for found in shown)),
        [(printable(name), *(_task(found, name) for found in shown)) for name in names],
        note=" ".join([note, *different]),
    )


def factors(analysis: Analysis) -> Table:
    """Main effects, then interactions."""
    return Table(
        ("factor", "difference", "p, corrected", "finding"),
        [_factor(effect) for effect in analysis.factors],
        note="A main effect is averaged over the other factors. An interaction (x) is how much the effect of "
        "one level changes with another: where it is found, read the arms, not the averages.",
    )


def second_opinions(analysis: Analysis) -> Table:
    """What other methods say of each comparison."""
    return Table(
        ("arm", "asked otherwise", "difference", "answer"),
        [
            (printable(found.arm), *line)
            for found in analysis.comparisons
            for line in _opinions(found, analysis)
        ],
        note="These do not change the verdict. Where one disagrees with it, the evidence is thin.",
    )


def _opinions(found: Comparison, analysis: Analysis) -> Iterator[tuple[str, str, str]]:
    if found.margin is not None:
        margin = found.margin
        shown = "shown" if margin.is_shown else "not shown"
        name = f"{margin.kind}, margin {100 * margin.margin:g} points"
        yield name, points(margin.interval), f"{shown}, {p_value(margin.p_adjusted)}"
    if found.adjusted is not None:
        name = f"less what {printable(found.adjusted.covariate)} explains (CUPED)"
        saved = f"{100 * found.adjusted.variance_reduction:.0f} % less variance"
        yield name, points(found.adjusted.difference), f"{p_value(found.adjusted.p_value)}, {saved}"
    if found.mcnemar_p is not None and found.test != "exact McNemar":
        yield "McNemar's exact test", ABSENT, p_value(found.mcnemar_p)
    if found.permutation_p is not None:
        yield "permutation test", ABSENT, p_value(found.permutation_p)
    if found.posterior is not None:
        chance = f"better: {_percent(found.posterior.probability_better)} probable"
        yield "Bayesian, uniform priors", points(found.posterior.estimate), chance
    if found.missing is not None:
        missing = found.missing
        n_missing = f"{missing.n_arm:,} and {missing.n_control:,} of {missing.n_prompts:,} missing"
        yield "whatever the missing scores are", points(missing.interval), n_missing
    if found.errors_p is not None:
        yield "do both fail as often?", ABSENT, p_value(found.errors_p)
    if found.latency_difference_s is not None:
        yield "mean latency", seconds_interval(found.latency_difference_s), ABSENT


def _task(found: Comparison, name: str) -> str:
    effect = next((effect for effect in found.tasks if effect.task == name), None)
    return ABSENT if effect is None else f"{points(effect.difference)} {_mark(effect)}"


def _mark(effect: TaskEffect) -> str:
    return _p(effect.p_adjusted, name="p ")


def _heterogeneity(found: Comparison) -> str:
    """One sentence on whether the tasks differ."""
    if found.heterogeneity is None:
        return ""
    return f"That {printable(found.arm)} differs alike on all tasks: {p_value(found.heterogeneity.p_value)}."


def _factor(effect: FactorEffect) -> tuple[str, str, str, str]:
    return printable(effect.name), points(effect.difference), _p(effect.p_adjusted), effect.finding


def _p(p: float, *, name: str = "") -> str:
    """
    >>> _p(0.0004), _p(0.0312)
    ('< 0.001', '0.031')
    """
    return f"{name}< 0.001" if p < 0.001 else f"{name}{'= ' if name else ''}{p:.3f}"


def _percent(share: float) -> str:
    """
    >>> _percent(0.9998), _percent(0.31), _percent(0.0001)
    ('> 99.9 %', '31.0 %', '< 0.1 %')
    """
    if share > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
