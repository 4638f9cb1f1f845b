"""Headless notebooks: refused before they run, and a status that is true whatever happens."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import ConfigError, DataError, LockedError, NotebookError, StorageError
from workbench.storage import locked

batch = pytest.importorskip("workbench.batch", reason="the extra 'notebooks' is not installed")
import nbformat  # noqa: E402 - comes with the extra

CANARY = "sk-canary1234567890abcdef"


def notebook(folder: Path, *cells: str, tags: tuple[str, ...] = ("parameters",)) -> Path:
    """A notebook with a title, the parameters `n` and `name`, and `cells`: number 3 is the first of them."""
    node = nbformat.v4.new_notebook()
    defaults = nbformat.v4.new_code_cell("n = 1\nname = 'a'", metadata={"tags": list(tags)})
    node.cells = [
        nbformat.v4.new_markdown_cell("# Question"),
        defaults,
        *map(nbformat.v4.new_code_cell, cells),
    ]
    path = folder / "question.ipynb"
    nbformat.write(node, path)
    return path


def execute(path: Path, **options: Any) -> Any:
    output = path.parent / "out" / "notebook.ipynb"
    return batch.execute(path, **({"parameters": {}, "output": output, "timeout_s": 60} | options))


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "status.json").read_text())


def cell_states(folder: Path) -> list[str]:
    """The state of each cell of the kept notebook but the banner."""
    cells = nbformat.read(folder / "out" / "notebook.ipynb", as_version=4).cells
    return [cell.metadata.papermill.status for cell in cells if "papermill" in cell.metadata]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_parameters_arrive_in_a_kernel_of_this_interpreter(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = notebook(tmp_path, "import os, sys\nprint(n, name, sys.executable, os.getcwd())")
    output = execute(path, parameters={"n": 5}, cwd=tmp_path, on_cell=lambda *cell: seen.append(cell))
    text = nbformat.read(output, as_version=4).cells[-1].outputs[0].text
    assert text.split() == ["5", "a", sys.executable, str(tmp_path)]
    assert seen == [(1, 3), (2, 3), (2, 3), (3, 3)]
    assert status(tmp_path) | {"state": "completed", "cell": 3, "error": None} == status(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"m": 1}, r"no parameter 'm'; it has n, name"),
        ({"name": CANARY}, r"'name' looks like a secret"),
    ],
    ids=["unknown", "secret"],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(
    parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        execute(notebook(tmp_path), parameters=parameters)
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_notebook_without_parameters_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no cell tagged 'parameters'"):
        execute(notebook(tmp_path, tags=()))


def test_what_is_missing_or_no_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no file .*gone\.ipynb"):
        execute(tmp_path / "gone.ipynb")
    (tmp_path / "text.ipynb").write_text("not JSON")
    with pytest.raises(DataError, match=r"text\.ipynb is not a notebook"):
        execute(tmp_path / "text.ipynb")


def test_an_output_that_cannot_be_written_is_found_before_anything_runs(tmp_path: Path) -> None:
    path = notebook(tmp_path, "open('ran', 'w').close()")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write in"):
        execute(path, output=tmp_path / "file" / "notebook.ipynb")
    assert not (tmp_path / "ran").exists()


def test_two_runs_on_one_output_do_not_mix(tmp_path: Path) -> None:
    path = notebook(tmp_path)
    with (
        locked(tmp_path / "out" / ".notebook.ipynb.lock", busy=""),
        pytest.raises(LockedError, match="another run is writing"),
    ):
        execute(path)


def test_a_failed_cell_is_named_and_the_partial_notebook_says_so(tmp_path: Path) -> None:
    path = notebook(tmp_path, "print('before')", "1 / 0  # here\n2", "3")
    with pytest.raises(
        NotebookError, match=r"question\.ipynb, cell 4 \(1 / 0  # here\): ZeroDivisionError"
    ) as caught:
        execute(path)
    assert caught.value.cell == 4
    assert cell_states(tmp_path) == ["completed"] * 3 + ["failed", "pending"]
    assert status(tmp_path)["state"] == "failed"
    banner = nbformat.read(tmp_path / "out" / "notebook.ipynb", as_version=4).cells[0]
    assert "did not run to its end (failed, cell 4)" in banner.source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "error"),
    [("import time\ntime.sleep(60)", "no end within 3 s"), ("import os\nos._exit(3)", "the kernel died")],
    ids=["time-out", "dead-kernel"],
)
def test_nothing_is_called_completed_that_was_not(cell: str, error: str, tmp_path: Path) -> None:
    path = notebook(tmp_path, "import os\nprint(os.getpid())", cell, "3")
    with pytest.raises(NotebookError, match=error) as caught:
        execute(path, timeout_s=3)
    assert caught.value.cell == 4
    assert cell_states(tmp_path) == ["completed"] * 3 + ["failed", "pending"]
    assert status(tmp_path) | {"state": "failed", "cell": 4, "error": error} == status(tmp_path)
    kept = nbformat.read(tmp_path / "out" / "notebook.ipynb", as_version=4)
    assert not is_alive(int(kept.cells[3].outputs[0].text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_a_stopped_run_is_marked_killed_and_leaves_no_kernel(signum: int, code: int, tmp_path: Path) -> None:
    path = notebook(
        tmp_path, "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)", "4"
    )
    script = f"""
        from pathlib import Path
        from workbench.batch import execute
        execute(Path({str(path)!r}), parameters={{}}, output=Path("out/notebook.ipynb"))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    pid = _written(tmp_path / "pid")
    process.send_signal(signum)
    assert process.wait(10) in (code, -signum)
    assert not is_alive(pid)
    assert status(tmp_path)["state"] == "killed"
    assert cell_states(tmp_path)[-2:] == ["failed", "pending"]


def test_a_callback_that_fails_ends_the_run_as_failed(tmp_path: Path) -> None:
    def stop(number: int, n_cells: int) -> None:
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        execute(notebook(tmp_path), on_cell=stop)
    assert status(tmp_path)["state"] == "failed"


def test_figures_are_kept_though_another_backend_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    path = notebook(tmp_path, "import os\nprint(os.environ['MPLBACKEND'])")
    text = nbformat.read(execute(path), as_version=4).cells[-1].outputs[0].text
    assert "inline" in text


def test_a_user_level_kernel_of_the_same_name_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    assert execute(notebook(tmp_path)).exists()


def test_a_key_in_a_cell_or_its_error_is_masked_in_all_that_is_kept(tmp_path: Path) -> None:
    path = notebook(tmp_path, f"raise ValueError('{CANARY}')")
    with pytest.raises(NotebookError) as caught:
        execute(path)
    assert "canary" not in str(caught.value)
    assert "ValueError: **********" in str(caught.value)
    assert "canary" not in (tmp_path / "out" / "status.json").read_text()
    assert "canary" not in (tmp_path / "out" / "notebook.ipynb").read_text()


SHOW = """
import os
from IPython.display import HTML
key = os.environ["SOME_API_KEY"]
print("\\n\\t" + key, flush=True)
display(HTML(f"<b>{key}</b>"), {"nested": key})
key
"""
FAIL = """
%xmode Verbose
def call(key):
    return 1 / 0
call(key)
"""


def test_a_key_of_the_environment_is_masked_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary of no known form")
    with pytest.raises(NotebookError):
        execute(notebook(tmp_path, SHOW, FAIL))
    kept = (tmp_path / "out" / "notebook.ipynb").read_text()
    assert "canary" not in kept
    assert kept.count("**********") >= 5
    nbformat.validate(nbformat.reads(kept, as_version=4))


@pytest.mark.parametrize(
    "value", [{"api_key": "short"}, [{"password": "short"}], {"x": [CANARY]}], ids=["named", "deep", "value"]
)
def test_a_key_inside_a_parameter_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigError, match="'name' looks like a secret"):
        execute(notebook(tmp_path), parameters={"name": value})


def test_each_output_has_a_status_of_its_own() -> None:
    assert batch.status_path(Path("runs/a/notebook.ipynb")) == Path("runs/a/status.json")
    assert batch.status_path(Path("out/01_start.ipynb")) == Path("out/01_start.status.json")


def _written(path: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")
