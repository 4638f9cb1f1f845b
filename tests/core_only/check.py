"""What must hold where no extra is installed; `make core` runs it with the interpreter of `.venv-core`.

Plain functions without pytest, which is not installed there either.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXTRAS = ("torch", "mlflow", "matplotlib", "ipywidgets", "papermill", "fastapi", "pytest")
RECORD = """
name: record
question: How good is each model at each kind of task?
prompts: {source: tasks, split: train, n: 24}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
"""
ROUTED = """
name: routed
question: Does a router help?
prompts: {source: tasks, split: test, n: 12}
arms:
  - {name: large, model: simulator/sim-large}
  - {name: router, router: {kind: KIND, fit_on: {outcomes: record.yaml}}}
"""


def no_extra_is_installed(folder: Path) -> None:
    assert [name for name in EXTRAS if importlib.util.find_spec(name)] == []


def the_package_is_imported_and_help_answers(folder: Path) -> None:
    import workbench

    assert workbench.Prompt("p", "2 + 2?").text
    assert callable(workbench.run)
    assert "Compare LLM providers" in output_of("--help", cwd=folder)


def an_experiment_with_a_router_runs_and_says_what_was_left_out(folder: Path) -> None:
    write(folder, "routed.yaml", ROUTED.replace("KIND", "knn"))
    said = output_of("run", "--no-notebook", "routed.yaml", cwd=folder)
    assert "router" in said
    assert (
        "warning: no report: drawing plots needs the extra 'notebooks': pip install 'workbench[notebooks]'"
        in said
    )
    assert "warning: not in MLflow: tracking with MLflow needs the extra 'tracking'" in said
    assert {"outcomes.parquet", "analysis.json", "spec.yaml"} <= {
        path.name for path in (folder / "runs" / "routed").iterdir()
    }


def each_extra_that_is_asked_for_is_named_in_one_line(folder: Path) -> None:
    write(folder, "learned.yaml", ROUTED.replace("KIND", "controller").replace("routed", "learned"))
    for command, extra in (
        (("run", "--no-notebook", "learned.yaml"), "torch"),
        (("run", "routed.yaml"), "notebooks"),
    ):
        done = workbench(*command, cwd=folder)
        assert done.returncode == 1, (command, done)
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert f"needs the extra '{extra}'" in done.stderr, done.stderr


def write(folder: Path, name: str, text: str) -> None:
    (folder / "record.yaml").write_text(RECORD)
    (folder / name).write_text(text)


def workbench(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The command as a user gives it, in a project of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=cwd,
        env=environment | {"WORKBENCH_RUNS_DIR": str(cwd / "runs")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def output_of(*arguments: str, cwd: Path) -> str:
    done = workbench(*arguments, cwd=cwd)
    assert done.returncode == 0, done
    assert done.stderr == "", done.stderr
    return done.stdout


def main() -> None:
    checks = (
        no_extra_is_installed,
        the_package_is_imported_and_help_answers,
        an_experiment_with_a_router_runs_and_says_what_was_left_out,
        each_extra_that_is_asked_for_is_named_in_one_line,
    )
    with tempfile.TemporaryDirectory() as folder:
        for check in checks:
            started_s = time.monotonic()
            check(Path(folder))
            sys.stdout.write(f"{check.__name__.replace('_', ' ')}: {time.monotonic() - started_s:.1f} s\n")


if __name__ == "__main__":
    main()
