"""What a tracking store is told about an experiment, as plain data that fits in a file."""

import hashlib
import html
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from workbench import outcomes
from workbench.errors import ConfigError, DataError
from workbench.experiment.analysis import Analysis, ArmSummary, Comparison
from workbench.experiment.result_table import HEADER, rows
from workbench.redaction import refuse_secrets
from workbench.stats.estimate import Estimate

_NOTE_ROWS = 40
_GIT_LIMIT_S = 5
_DIGEST = 16
"""Characters of a SHA-256: enough to tell tables apart, and MLflow takes at most 36."""
_KEY_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /:")
_MAX_KEY, _MAX_VALUE = 250, 6000


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """The outcome table as MLflow lists it: not its rows, which are an artifact."""

    name: str
    digest: str
    columns: dict[str, str]
    n_rows: int


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """A child run: one arm."""

    arm: str
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A parent run and its arms. `record_id` names the run for good: it is sent once, however often asked."""

    record_id: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    dataset: DatasetRecord
    arms: tuple[ArmRecord, ...]

    def to_json(self) -> dict[str, object]:
        """As `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "RunRecord":
        """The record that `to_json` wrote.

        Raises:
            DataError: something is missing.
        """
        fields = json.loads(json.dumps(content))
        try:
            arms = tuple(ArmRecord(**arm) for arm in fields.pop("arms"))
            return cls(**fields | {"arms": arms, "dataset": DatasetRecord(**fields.pop("dataset"))})
        except (KeyError, TypeError) as exc:
            raise DataError(f"this is not the record of a run: {exc}") from exc


def make_record(
    folder: Path,
    *,
    record_id: str,
    name: str,
    params: Mapping[str, str | int | float],
    analysis: Analysis,
    table: pd.DataFrame,
) -> RunRecord:
    """Everything a tracking store is told about the run in `folder`.

    Raises:
        ConfigError: a parameter, name or text looks like a secret, or a parameter's name cannot be one.
    """
    checked = checked_params(params)
    texts = {"name": name, "question": analysis.question} | {
        f"arm {n}": a.arm for n, a in enumerate(analysis.arms)
    }
    refuse_secrets(texts, what="tracked")
    dataset = DatasetRecord(
        name=f"{name} outcomes",
        digest=outcomes.digest(table)[:_DIGEST],
        columns={str(column): str(dtype) for column, dtype in table.dtypes.items()},
        n_rows=len(table),
    )
    shared = {"question": analysis.question, "workbench.experiment": name} | _provenance(folder, dataset)
    metrics, skipped = finite(
        {
            "n_prompts": float(table["prompt_id"].nunique()),
            "n_calls": float(sum(arm.n_calls for arm in analysis.arms)),
            "n_errors": float(sum(arm.n_errors for arm in analysis.arms)),
            "total_cost_usd": _total(analysis),
        }
    )
    return RunRecord(
        record_id=record_id,
        name=name,
        params=checked,
        metrics=metrics,
        tags=shared | skipped | {"verdict": _verdicts(analysis), "mlflow.note.content": note(analysis)},
        dataset=dataset,
        arms=tuple(_arm(arm, analysis, shared=shared) for arm in analysis.arms),
    )


def note(analysis: Analysis) -> str:
    """The question, the verdicts and the result table, in the Markdown that MLflow shows on a run's page."""
    verdicts = [f"- {_cell(comparison.verdict)}" for comparison in analysis.comparisons]
    warnings = [f"> {_cell(warning)}\n" for warning in analysis.warnings]
    shown = [HEADER, (":---",) * len(HEADER), *rows(analysis)[:_NOTE_ROWS]]
    rest = len(analysis.arms) - _NOTE_ROWS
    more = f"\n\n{rest} more arms are in the report." if rest > 0 else ""
    parts = [
        f"**{_cell(analysis.question)}**",
        "\n".join(verdicts[:_NOTE_ROWS]),
        "\n".join(map(_note_row, shown)) + more,
    ]
    return "\n\n".join(part for part in [*parts, "\n".join(warnings)] if part)


def checked_params(params: Mapping[str, str | int | float]) -> dict[str, str]:
    for name, value in params.items():
        # The author named the arms, and may well have called one "512-token": that is no name of a key.
        refuse_secrets({"arm" if name.startswith("arm.") else name: value}, what="tracked parameter")
        if not name or len(name) > _MAX_KEY or not set(name) <= _KEY_CHARACTERS or ".." in name:
            raise ConfigError(
                f"{name[:100]!r} cannot be a parameter's name; use letters, digits and _-./: or space"
            )
    return {name: str(value)[:_MAX_VALUE] for name, value in params.items()}


def _arm(arm: ArmSummary, analysis: Analysis, *, shared: Mapping[str, str]) -> ArmRecord:
    comparison = next((c for c in analysis.comparisons if c.arm == arm.arm), None)
    metrics = _arm_metrics(arm) | (_comparison_metrics(comparison) if comparison else {})
    numbers, skipped = finite(metrics)
    role = "control" if arm.arm == analysis.control else "treatment"
    tags = dict(shared) | skipped | {"arm": arm.arm, "role": role, "finding": role}
    if comparison is not None:
        tags |= {"verdict": comparison.verdict, "finding": comparison.finding, "control": comparison.control}
        tags |= {"mlflow.note.content": _cell(comparison.verdict)}
        if (margin := comparison.margin) is not None:
            shown = "shown" if margin.is_shown else "not shown"
            tags |= {"margin": f"{margin.kind} within {100 * margin.margin:g} points: {shown}"}
    return ArmRecord(arm.arm, numbers, tags)


def _arm_metrics(arm: ArmSummary) -> dict[str, float | None]:
    return {
        **_with_interval("quality", arm.quality),
        "usd_per_1k_prompts": arm.usd_per_1k_prompts,
        "total_cost_usd": arm.total_cost_usd,
        **_with_interval("usd_per_correct", arm.usd_per_correct),
        "latency_p50_s": arm.latency_p50_s,
        "latency_p95_s": arm.latency_p95_s,
        **_with_interval("latency_p50_s", arm.latency_p50_interval_s),
        **_with_interval("latency_p95_s", arm.latency_p95_interval_s),
        "p_on_front": arm.p_on_front,
        "n_prompts": float(arm.n_prompts),
        "n_calls": float(arm.n_calls),
        "n_errors": float(arm.n_errors),
    }


def _comparison_metrics(comparison: Comparison) -> dict[str, float | None]:
    """Differences are in points: 100 times the difference in quality."""
    return {
        **_with_interval("difference_points", _points(comparison.difference)),
        "p_value": comparison.p_value,
        "p_adjusted": comparison.p_adjusted,
        "mcnemar_p": comparison.mcnemar_p,
        **_with_interval("cost_ratio", comparison.cost_ratio),
        **_with_interval("latency_difference_s", comparison.latency_difference_s),
        **_other_metrics(comparison),
    }


def _other_metrics(comparison: Comparison) -> dict[str, float | None]:
    """What other methods say, where they were asked."""
    metrics: dict[str, float | None] = {
        "permutation_p": comparison.permutation_p,
        "errors_p": comparison.errors_p,
    }
    if comparison.margin is not None:
        metrics["margin_p_adjusted"] = comparison.margin.p_adjusted
    if comparison.adjusted is not None:
        metrics |= _with_interval("cuped_difference_points", _points(comparison.adjusted.difference))
    if comparison.posterior is not None:
        metrics["posterior_p_better"] = comparison.posterior.probability_better
    if comparison.missing is not None:
        worst = _points(comparison.missing.interval)
        metrics |= {"worst_case_points_low": worst.low, "worst_case_points_high": worst.high}
    if comparison.heterogeneity is not None:
        metrics["tasks_differ_p"] = comparison.heterogeneity.p_value
    if comparison.looks is not None and comparison.looks.decided_at is not None:
        metrics["decided_at_units"] = float(comparison.looks.decided_at)
    return metrics


def _points(difference: Estimate) -> Estimate:
    return Estimate(100 * difference.value, 100 * difference.low, 100 * difference.high)


def _with_interval(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def finite(metrics: Mapping[str, float | None]) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics that are numbers, and a tag that names the others.

    MLflow stores NaN as 0 and infinity as 1.8e308, and its pages show them as such: they are left out.
    The pages show all digits, so six are kept; `analysis.json` has the rest.
    """
    known = {name: float(value) for name, value in metrics.items() if value is not None}
    numbers = {name: _shown(value) for name, value in known.items() if math.isfinite(value)}
    skipped = ", ".join(f"{name} ({value})" for name, value in known.items() if name not in numbers)
    return numbers, {"workbench.not_finite": skipped} if skipped else {}


def _shown(number: float) -> float:
    """
    >>> _shown(0.9472222222222222), _shown(1234567.0)
    (0.947222, 1234567.0)
    """
    return number if number.is_integer() else float(f"{number:.6g}")


def _total(analysis: Analysis) -> float | None:
    costs = [arm.total_cost_usd for arm in analysis.arms if arm.total_cost_usd is not None]
    return math.fsum(costs) if costs else None


def _verdicts(analysis: Analysis) -> str:
    return "; ".join(f"{c.arm} {c.finding}" for c in analysis.comparisons) or "nothing was compared"


def _note_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table. MLflow's pages put no space between columns, so the cells end in one."""
    return f"| {' | '.join(cell if cell == ':---' else f'{_cell(cell)}&emsp;' for cell in cells)} |"


def _cell(text: str) -> str:
    """Text that stays one cell of a Markdown table, and text."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in "|`*_[]\\" else character for character in plain)


def _provenance(folder: Path, dataset: DatasetRecord) -> dict[str, str]:
    """Where the run comes from: version, data, spec and commit, each where it is known."""
    tags = {
        "workbench.version": version("workbench"),
        "workbench.data_digest": dataset.digest,
        "mlflow.source.name": "workbench",
        "mlflow.source.type": "LOCAL",
    }
    spec = folder / "spec.yaml"
    if spec.is_file():
        tags["workbench.spec_digest"] = _sha256(spec)[:_DIGEST]
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        tags |= {
            "mlflow.source.git.commit": commit,
            "workbench.git_dirty": str(bool(_git("status", "--porcelain"))),
        }
    return tags


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(*arguments: str) -> str | None:
    """What git says about the current folder; None where there is no git, or no repository."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
