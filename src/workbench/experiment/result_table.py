"""The result table as text: the same rows in the terminal, the report and the notebooks."""

from typing import TYPE_CHECKING

from workbench.experiment.wording import ABSENT, percent, printable, seconds, usd

if TYPE_CHECKING:
    from workbench.experiment.analysis import Analysis, ArmSummary

HEADER = ("arm", "prompts", "quality", "USD per 1,000 prompts", "latency p50 / p95", "errors")


def rows(analysis: "Analysis") -> list[tuple[str, ...]]:
    """One row of text an arm, under `HEADER`; control characters of names are taken out.

    The text may hold brackets: rich must be told not to read it as markup.
    """
    return [_row(summary, is_control=summary.arm == analysis.control) for summary in analysis.arms]


def _row(summary: "ArmSummary", *, is_control: bool) -> tuple[str, ...]:
    return (
        printable(summary.arm) + (" (control)" if is_control else ""),
        f"{summary.n_prompts:,}",
        percent(summary.quality),
        usd(summary.usd_per_1k_prompts),
        _latency(summary),
        f"{summary.n_errors:,} of {summary.n_calls:,}" if summary.n_errors else "0",
    )


def _latency(summary: "ArmSummary") -> str:
    if summary.latency_p50_s is None:
        return ABSENT
    return f"{seconds(summary.latency_p50_s)} / {seconds(summary.latency_p95_s)}"
