"""The command as a user gives it: what it prints, how it exits, and that a mistake costs nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from workbench import cli

SPEC = """
name: two-arms
question: "Is large better than small? [/not markup]"
prompts: {source: tasks, split: test, n: 6}
arms:
  - {name: small, model: simulator/sim-small}
  - {name: large, model: simulator/sim-large}
notebook: tiny.ipynb
"""
DEAD = "http://127.0.0.1:9"


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def workbench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    """The command in this process: `workbench("run", "spec.yaml")`; runs and their tracking stay here."""
    monkeypatch.setenv("WORKBENCH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", DEAD)
    monkeypatch.setenv("COLUMNS", "80")

    def workbench(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return Said(exited.value.code or 0, captured.out, captured.err)

    return workbench


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def write_notebook(folder: Path, *sources: str) -> None:
    """A notebook with a `parameters` cell, and `sources` as the cells from number 2 on."""
    nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")
    cells = [
        nbformat.v4.new_code_cell('spec_path = ""\ndepth = 1', metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, sources),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "tiny.ipynb")


def calls_sent(folder: Path) -> int:
    """How many calls any journal below `folder` says were sent."""
    return sum(path.read_text().count('"sent"') for path in folder.rglob("journal.jsonl"))


def test_a_run_prints_its_table_and_verdict_and_keeps_its_results(workbench, spec, tmp_path) -> None:
    said = workbench("run", "--no-notebook", str(spec))
    assert said.code == 0, said.err
    assert "small (control)" in said.out
    assert "no difference shown between large and small" in said.out or "large is better" in said.out
    assert f"warning: not in MLflow yet: the tracking store {DEAD}" in said.out
    assert f"workbench sync {tmp_path}/runs/two-arms" in said.out
    kept = {path.name for path in (tmp_path / "runs" / "two-arms").iterdir()}
    assert {"journal.jsonl", "outcomes.parquet", "analysis.json", "report.html", "spec.yaml"} <= kept


def test_what_goes_to_a_file_has_no_colour_and_a_line_for_every_tenth(workbench, spec) -> None:
    said = workbench("run", "--no-notebook", str(spec))
    assert "\x1b" not in said.out
    assert 2 <= said.out.count("of 12 calls") <= 11
    assert "two-arms: 12 of 12 calls" in said.out
    assert max(map(len, said.out.split("- ")[0].splitlines())) <= 80


def test_a_budget_is_held_against_what_the_calls_can_cost(workbench, spec) -> None:
    spec.write_text(SPEC + "budget_usd: 0.01\n")
    said = workbench("run", "--no-notebook", str(spec))
    assert "two-arms: 12 calls cost about $0.0" in said.out
    assert "; the budget of $0.01 will stop them after about" in said.out


BAD_SPECS = {
    "unknown-model": (("sim-small", "sim-smal"), "did you mean simulator/sim-small"),
    "unknown-provider": (("simulator/sim-small", "nowhere/x"), "no provider 'nowhere'"),
    "misspelt-key": (("notebook:", "notebok:"), "notebok: there is no such key; did you mean 'notebook'?"),
    "broken-yaml": (("notebook:", "notebook: ["), "spec.yaml is not plain YAML: while parsing a flow"),
    "budget-too-small": (("notebook:", "budget_usd: 0.000001\nnotebook:"), "raise the budget"),
    "no-price": (("simulator/sim-small", "vllm/mine"), "vllm/mine has no price"),
    "option-of-a-router": (
        (
            "model: simulator/sim-small",
            "router: {kind: knn, options: {k: many}, fit_on: {outcomes: t.parquet}}",
        ),
        "option 'k' of router 'knn' is 'many'; it must be int",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD_SPECS))
def test_a_spec_that_cannot_work_is_one_line_and_costs_nothing(workbench, spec, tmp_path, case) -> None:
    change, told = BAD_SPECS[case]
    budget = "budget_usd: 1\n" if case == "no-price" else ""
    spec.write_text(SPEC.replace(*change) + budget)
    recorded(tmp_path / "t.parquet")
    said = workbench("run", "--no-notebook", str(spec))
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert said.err.startswith("error: ")
    assert told in said.err
    assert calls_sent(tmp_path) == 0


def test_a_repaired_spec_runs_in_the_folder_of_the_one_that_could_not_begin(workbench, spec) -> None:
    spec.write_text(SPEC.replace("simulator/sim-small", "nowhere/x"))
    assert workbench("run", "--no-notebook", str(spec)).code == 1
    spec.write_text(SPEC)
    assert workbench("run", "--no-notebook", str(spec)).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "gone.yaml"), "experiment: there is no file gone.yaml"),
        (("run", "--no-notebook", "gone.yaml"), "experiment: there is no file gone.yaml"),
        (("train", "gone.yaml"), "there is no file gone.yaml"),
        (("run", "spec.yaml", "-p", "depth"), "--parameter 'depth' is not NAME=VALUE"),
        (("run", "spec.yaml", "-p", "depth=[1"), "--parameter depth='[1': the value is not YAML"),
        (("run", "spec.yaml", "-p", "spec_path=x"), "'spec_path' is the spec that is run"),
        (("run", "spec.yaml", "-p", "width=2"), "has no parameter 'width'; it has depth, spec_path"),
        (("run", "spec.yaml", "-p", "depth=2", "--no-notebook"), "--no-notebook leaves out"),
        (("sync", "runs/gone"), "there is no folder runs/gone"),
        (("data", "describe", "gone"), "gone"),
        (("data", "fetch", "gone"), "gone"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_on_the_command_line_is_one_line(workbench, spec, tmp_path, arguments, told) -> None:
    write_notebook(tmp_path, "open('ran', 'w').close()")
    said = workbench(*arguments)
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert told in said.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs" / "gone").exists()


def test_an_unknown_option_is_a_usage_error(workbench) -> None:
    said = workbench("run", "--no-notebok", "spec.yaml")
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("Error: No such option: --no-notebok")


def test_a_message_cannot_steer_the_terminal(workbench, spec) -> None:
    spec.write_text(SPEC.replace("notebook:", '"\\e[31mred": 1\nnotebook:'))
    said = workbench("run", "--no-notebook", str(spec))
    assert said.code == 1
    assert "[31mred: there is no such key" in said.err
    assert "\x1b" not in said.err


def test_a_folder_that_cannot_be_written_is_one_line(workbench, spec, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WORKBENCH_RUNS_DIR", str(tmp_path / "file" / "runs"))
    said = workbench("run", "--no-notebook", str(spec))
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert f"{tmp_path}/file" in said.err


def test_a_port_in_use_is_one_line(workbench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = workbench("simulate", "--port", str(port))
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert f"port {port}" in said.err


def test_a_damaged_journal_is_refused_then_repaired(workbench, spec, tmp_path) -> None:
    assert workbench("run", "--no-notebook", str(spec)).code == 0
    journal = tmp_path / "runs" / "two-arms" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    damaged = next(number for number, line in enumerate(lines) if '"outcome"' in line)
    lines[damaged] = lines[damaged][:40] + "\n"
    journal.write_text("".join(lines))
    refused = workbench("run", "--no-notebook", str(spec))
    assert (refused.code, refused.err.count("\n")) == (1, 1), refused.err
    assert f"line {damaged + 1} of {journal} is damaged" in refused.err
    repaired = workbench("run", "--no-notebook", "--repair", str(spec))
    assert repaired.code == 0
    assert "1 damaged journal lines were set aside" in repaired.out
    assert "11 of 12 calls were in the journal" in repaired.out


def test_fresh_sets_the_earlier_run_aside_and_buys_all_calls_again(workbench, spec, tmp_path) -> None:
    workbench("run", "--no-notebook", str(spec))
    said = workbench("run", "--no-notebook", "--fresh", str(spec))
    assert f"the earlier run is in {tmp_path}/runs/two-arms.1" in said.out
    assert calls_sent(tmp_path / "runs" / "two-arms") == 12
    assert "were in the journal" not in said.out


def recorded(path: Path) -> None:
    """Two models, of which each is good at one kind of prompt."""
    kinds = ("add two numbers", "write a poem")
    rows = [
        {
            "prompt_id": f"p{number}",
            "prompt": f"{kinds[number % 2]} {number}",
            "arm": model,
            "quality": float((number % 2 == 0) == (model == "acme/sums")),
            "cost_usd": 0.1,
        }
        for number in range(24)
        for model in ("acme/sums", "acme/poems")
    ]
    pd.DataFrame(rows).to_parquet(path)


@pytest.mark.slow
def test_a_router_is_trained_on_a_recorded_table(workbench, tmp_path) -> None:
    recorded(tmp_path / "table.parquet")
    (tmp_path / "router.yaml").write_text(
        "{name: router, question: 'Does it help?', kind: knn, fit_on: {outcomes: table.parquet}, "
        "folds: 2, options: {k: 3}}"
    )
    said = workbench("train", "router.yaml")
    assert said.code == 0, said.err
    assert "knn-3" in said.out
    assert "…" not in said.out, "no cell is cut"
    assert max(len(line) for line in said.out.splitlines() if "%" in line and "points" not in line) <= 80
    kept = {path.name for path in (tmp_path / "runs" / "router").iterdir()}
    assert {"router.ckpt", "leaderboard.csv", "outcomes.parquet", "report.html"} <= kept


def test_data_is_listed_and_described(workbench) -> None:
    listed = workbench("data", "list")
    assert listed.code == 0
    assert "…" not in listed.out
    assert "routerbench365" in listed.out
    described = workbench("data", "describe", "routerbench365")
    assert "licence" in described.out


def test_a_fetch_that_finds_no_server_is_one_line(workbench, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    said = workbench("data", "fetch", "routerbench365")
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert "could not be fetched (ConnectError" in said.err


def test_a_fetched_benchmark_is_not_fetched_again(workbench, tmp_path, monkeypatch) -> None:
    from workbench.datasets.recorded import cached_table

    table = cached_table("routerbench365")
    table.parent.mkdir(parents=True)
    recorded(table)
    assert workbench("data", "fetch", "routerbench365").out.replace("\n", "") == str(table)


def test_a_notebook_is_executed_with_its_parameters(workbench, spec, tmp_path) -> None:
    write_notebook(tmp_path, "open('seen', 'w').write(f'{spec_path} {depth + 1}')")
    said = workbench("run", "-p", "depth=3", str(spec))
    assert said.code == 0, said.err
    assert (tmp_path / "seen").read_text() == f"{spec} 4"
    assert f"notebook {tmp_path}/runs/two-arms/notebook.ipynb" in said.out


def test_a_failed_cell_is_named_and_the_partial_notebook_marked(workbench, spec, tmp_path) -> None:
    write_notebook(tmp_path, "1 / 0")
    said = workbench("run", str(spec))
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert "tiny.ipynb, cell 2 (1 / 0): ZeroDivisionError: division by zero" in said.err
    assert json.loads((tmp_path / "runs/two-arms/status.json").read_text())["state"] == "failed"
    assert "did not run to its end" in (tmp_path / "runs/two-arms/notebook.ipynb").read_text()


def test_a_wrong_parameter_is_found_before_an_earlier_run_is_set_aside(workbench, spec, tmp_path) -> None:
    write_notebook(tmp_path)
    (tmp_path / "runs" / "two-arms").mkdir(parents=True)
    assert workbench("run", "--fresh", "-p", "width=2", str(spec)).code == 1
    assert not (tmp_path / "runs" / "two-arms.1").exists()


def started(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    """The command as a process of its own, in a group of its own."""
    environment = os.environ | {"WORKBENCH_RUNS_DIR": str(folder / "runs"), "WORKBENCH_TRACKING_URI": DEAD}
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], *, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


LONG = SPEC.replace("n: 6", "n: 300") + "concurrency: 1\n"
RUN_IT = "import workbench\nawait workbench.run(workbench.load_spec(spec_path))"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("signum", "arguments"),
    [
        (signal.SIGTERM, ("--no-notebook",)),
        (signal.SIGINT, ("--no-notebook",)),
        (signal.SIGTERM, ()),
    ],
    ids=["term", "ctrl-c", "term-notebook"],
)
def test_a_stopped_run_ends_at_once_says_so_and_leaves_no_process(tmp_path, signum, arguments) -> None:
    (tmp_path / "spec.yaml").write_text(LONG)
    write_notebook(tmp_path, RUN_IT)
    process = started("run", *arguments, "spec.yaml", folder=tmp_path)
    wait_until(lambda: calls_sent(tmp_path) > 3)
    process.send_signal(signum)
    stopped_s = time.monotonic()
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - stopped_s < 5.0
    assert process.returncode == 128 + signum, err
    assert "Traceback" not in err
    state = json.loads((tmp_path / "runs" / "two-arms" / "run.json").read_text())
    assert state["state"] == "interrupted"
    assert 0 < state["n_done"] < 600
    assert not is_alive(process.pid)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_work_that_gives_the_event_loop_no_turn_is_stopped_all_the_same(tmp_path) -> None:
    script = """
        import time
        from workbench import cli

        async def fit():
            try:
                print("fitting", flush=True)
                while True:
                    time.sleep(0.01)
            finally:
                print("closed", flush=True)

        cli._run(fit())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "fitting\n"
    process.terminate()
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out) == (143, "closed\n")
    assert err.startswith("stopped; what was finished is kept")


LIGHT = (
    "torch",
    "mlflow",
    "pandas",
    "numpy",
    "sklearn",
    "scipy",
    "matplotlib",
    "httpx",
    "aiohttp",
    "pydantic",
)


@pytest.mark.parametrize(
    "statement",
    [
        "import workbench",
        "import sys; sys.argv = ['workbench', '--help']; from workbench.cli import app; app()",
    ],
    ids=["import", "help"],
)
def test_nothing_heavy_is_loaded_before_it_is_used(statement) -> None:
    code = f"try:\n    {statement}\nexcept SystemExit: pass\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "workbench.types" in loaded
    assert loaded.isdisjoint(LIGHT)
