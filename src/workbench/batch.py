"""Headless notebooks: parameters in by papermill, cells run in a kernel of this interpreter, the truth kept.

The executed notebook is written whole or not at all, with every key in it masked, whatever a cell printed;
a status file beside it says what became of the run, also when a cell timed out, the kernel died or the run
was stopped.
"""

import asyncio
import json
import logging
import math
import os
import signal
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from workbench.client.key_sources import keys_at_hand
from workbench.errors import ConfigError, DataError, MissingExtraError, NotebookError
from workbench.redaction import masked, refuse_secrets
from workbench.storage import locked, read_bytes, writable_folder, write_text

try:
    import nbformat
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "running notebooks") from exc

State = Literal["running", "completed", "failed", "killed"]
Parameter = str | int | float | bool | list[Any] | dict[str, Any] | None
OnCell = Callable[[int, int], None]
"""Called before each cell with its 1-based number in the input notebook, and the number of cells."""

_BANNER_TAG = "workbench-state"
_AUTOSAVE_S = 5.0
_MAX_BYTES = 64 * 2**20
_SILENT = logging.getLogger("workbench.batch.nbclient")
_SILENT.setLevel(logging.CRITICAL)  # what nbclient logs as an error, we raise as one


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a notebook ended; `error` is None for a completed one, `signum` set for one that was stopped."""

    state: State
    cell: int
    error: str | None = None
    signum: int | None = None


def execute(
    notebook: Path,
    *,
    parameters: Mapping[str, Parameter],
    output: Path,
    cwd: Path | None = None,
    timeout_s: float = 600,
    on_cell: OnCell | None = None,
) -> Path:
    """Run `notebook` with `parameters` and keep the executed one at `output`, which is returned.

    `cwd` is the folder that the notebook works in, by default the current one; `timeout_s` is the limit of
    each cell, rounded up to whole seconds. `status_path(output)` tells how it went.

    Raises:
        ConfigError: an unknown or secret-looking parameter, or no cell tagged `parameters`; nothing ran.
        StorageError: `notebook` cannot be read or `output` not written.
        LockedError: another run is writing `output`.
        DataError: `notebook` is not a notebook.
        NotebookError: a cell failed, timed out or lost its kernel; the partial notebook is kept, and says so.
        KeyboardInterrupt, SystemExit: stopped by SIGINT or SIGTERM; the partial notebook is kept.
    """
    prepared = prepare(notebook, parameters)
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; name the notebook to write in it")
    writable_folder(output.parent)
    busy = f"another run is writing {output}; wait for it, or give this one another output"
    with locked(output.with_name(f".{output.name}.lock"), busy=busy):
        run = _Run(prepared, output=output, on_cell=on_cell or (lambda number, n_cells: None))
        run.save("running", cell=0)
        try:
            with _precise_warnings():
                ending = asyncio.run(run.execute(cwd=cwd or Path.cwd(), timeout_s=math.ceil(timeout_s)))
        except BaseException as exc:
            run.finish(_Ending("failed", run.cell, f"{type(exc).__name__} outside the notebook"))
            raise
        run.finish(ending)
    if ending.signum is not None:
        raise KeyboardInterrupt if ending.signum == signal.SIGINT else SystemExit(128 + ending.signum)
    if ending.error is not None:
        where = f"{notebook}, cell {ending.cell} ({run.first_line(ending.cell)})"
        raise NotebookError(
            f"{where}: {ending.error}; what it did until then is in {output}", cell=ending.cell
        )
    return output


def prepare(notebook: Path, parameters: Mapping[str, Parameter]) -> nbformat.NotebookNode:
    """The notebook with `parameters` in a cell below the one tagged `parameters`, checked, not yet run.

    Raises: as `execute`.
    """
    node = read_notebook(notebook)
    known = known_parameters(node, name=str(notebook))
    for name in parameters:
        if name not in known:
            raise ConfigError(
                f"{notebook} has no parameter {name!r}; it has {', '.join(sorted(known)) or 'none'}"
            )
    refuse_secrets(parameters, what="notebook parameter")
    return papermill.execute_notebook(node, None, dict(parameters), prepare_only=True)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`, in the current format, for a Python kernel.

    Raises:
        StorageError: there is no such file. DataError: it is not a notebook, or not one in Python.
    """
    try:
        content = read_bytes(path, purpose="notebook", max_bytes=_MAX_BYTES)
        node = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(node)
    except (ValueError, nbformat.ValidationError, AttributeError) as exc:
        raise DataError(f"{path} is not a notebook: {str(exc).splitlines()[0]}") from exc
    language = node.metadata.get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise DataError(f"{path} is a notebook in {language}; only Python notebooks can be run")
    node.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    node.metadata.setdefault("language_info", {"name": "python"})
    return node


def known_parameters(node: nbformat.NotebookNode, *, name: str) -> set[str]:
    """The names set in the cell tagged `parameters`.

    Raises:
        ConfigError: no cell has the tag.
    """
    if not any("parameters" in cell.metadata.get("tags", []) for cell in node.cells):
        raise ConfigError(f"{name} has no cell tagged 'parameters'; tag the cell that holds the defaults")
    return set(papermill.inspect_notebook(node))


def status_path(output: Path) -> Path:
    """Where the status of a run is kept: `status.json` for `notebook.ipynb`, else `<name>.status.json`."""
    return output.with_name(
        "status.json" if output.name == "notebook.ipynb" else f"{output.stem}.status.json"
    )


class _Run:
    """One execution: the notebook as it fills, and the two files that tell of it."""

    def __init__(self, node: nbformat.NotebookNode, *, output: Path, on_cell: OnCell) -> None:
        self._node = node
        self._output = output
        self._on_cell = on_cell
        self._keys = keys_at_hand()  # a cell may print them
        self._started = datetime.now(UTC)
        self._last_save = self._started
        self._n_cells = self._number(len(node.cells) - 1)
        self.cell = 0
        for cell in node.cells:
            cell.metadata["papermill"] = {"status": "pending"}
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None

    async def execute(self, *, cwd: Path, timeout_s: int) -> _Ending:
        """Run every cell in order, in a kernel that is gone afterwards whatever happens."""
        with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
            manager = _own_kernel_manager(Path(sockets))
            client = NotebookClient(self._node, km=manager, timeout=timeout_s, log=_SILENT)
            index = 0
            stop = _Stop()
            try:
                with stop.on_signals():
                    async with _kernel(client, cwd=cwd, log=log):
                        for index in range(len(self._node.cells)):
                            await self._execute_cell(client, index)
            except CellTimeoutError:
                return self._ended(index, "failed", f"no end within {timeout_s} s")
            except CellExecutionError as exc:
                return self._ended(index, "failed", f"{exc.ename}: {_last_line(exc.evalue)}")
            except (DeadKernelError, asyncio.CancelledError, RuntimeError) as exc:
                if stop.signum is not None:
                    return self._ended(index, "killed", "stopped", signum=stop.signum)
                if isinstance(exc, asyncio.CancelledError):
                    raise
                return self._ended(index, "failed", f"the kernel died{_last_words(log)}")
        return _Ending("completed", self._n_cells)

    async def _execute_cell(self, client: NotebookClient, index: int) -> None:
        cell = self._node.cells[index]
        number = self._number(index)
        begun = datetime.now(UTC)
        self.cell = number
        cell.metadata["papermill"] = {
            "status": "running",
            "start_time": begun.isoformat(),
            "exception": False,
        }
        self._on_cell(number, self._n_cells)
        if (begun - self._last_save).total_seconds() >= _AUTOSAVE_S:
            self.save("running", cell=number)
        await client.async_execute_cell(cell, index)
        ended = datetime.now(UTC)
        cell.metadata["papermill"] |= {
            "status": "completed",
            "end_time": ended.isoformat(),
            "duration": (ended - begun).total_seconds(),
        }

    def _ended(self, index: int, state: State, error: str, *, signum: int | None = None) -> _Ending:
        self._node.cells[index].metadata["papermill"] |= {"status": "failed", "exception": True}
        return _Ending(state, self._number(index), error, signum)

    def finish(self, ending: _Ending) -> None:
        """Keep the notebook as it is, marked with how it ended."""
        if ending.error is not None:
            self._node.cells.insert(0, _banner(ending, self.first_line(ending.cell)))
        self.save(ending.state, cell=ending.cell, error=ending.error)

    def save(self, state: State, *, cell: int, error: str | None = None) -> None:
        """Write the notebook, then the status: a status never tells of a notebook that is not there."""
        self._last_save = datetime.now(UTC)
        self._node.metadata["papermill"] |= {
            "status": state,
            "exception": True if error else None,
            "start_time": self._started.isoformat(),
            "end_time": None if state == "running" else self._last_save.isoformat(),
            "duration": (self._last_save - self._started).total_seconds(),
            "output_path": self._output.name,
        }
        kept = nbformat.from_dict(_masked(self._node))
        write_text(self._output, nbformat.writes(kept))
        status = {
            "state": state,
            "cell": cell,
            "n_cells": self._n_cells,
            "error": error,
            "notebook": self._output.name,
            "started": self._started.isoformat(timespec="seconds"),
            "updated": self._last_save.isoformat(timespec="seconds"),
            "pid": os.getpid(),
        }
        write_text(status_path(self._output), json.dumps(status, indent=2) + "\n")

    def first_line(self, number: int) -> str:
        """The first line of the cell that has `number` in the input notebook."""
        for index, cell in enumerate(self._node.cells):
            if self._number(index) == number and not _is_ours(cell):
                return masked(next(iter(cell.source.strip().splitlines()), "empty"))
        return "empty"

    def _number(self, index: int) -> int:
        """The 1-based number that a cell has in the input notebook, without our own cells."""
        return sum(not _is_ours(cell) for cell in self._node.cells[: index + 1])


class _Stop:
    """Turns SIGINT and SIGTERM into the end of the current task, and remembers which it was."""

    def __init__(self) -> None:
        self.signum: int | None = None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen while the block runs; in a thread other than the main one, signals do not arrive."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(signum: int) -> None:
            self.signum = signum
            if task is not None:
                task.cancel()

        try:
            for signum in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(signum, stop, signum)
        except (RuntimeError, NotImplementedError, ValueError):
            yield
            return
        try:
            yield
        finally:
            for signum in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(signum)


def _own_kernel_manager(sockets: Path) -> AsyncKernelManager:
    """A manager whose python3 kernel is this interpreter: with no folders to search, only that one is left.

    The kernel is reached over sockets in the folder `sockets`, which nobody else can read, and for which
    two kernels cannot race as they can for TCP ports.
    """
    specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    manager.connection_file = str(sockets / "kernel.json")
    if os.name == "posix":
        manager.transport, manager.ip = "ipc", str(sockets / "kernel")
    return manager


@asynccontextmanager
async def _kernel(client: NotebookClient, *, cwd: Path, log: BinaryIO) -> AsyncIterator[None]:
    """A kernel for `client`, working in `cwd`, its own messages in `log`; killed at the end."""
    manager = client.km
    # matplotlib draws into the notebook only where no other backend is asked for.
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    try:
        await client.async_start_new_kernel(cwd=str(cwd), env=env, stdout=log, stderr=log)
        await client.async_start_new_kernel_client()
        yield
        client.set_widgets_metadata()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
        await manager.cleanup_resources()


@contextmanager
def _precise_warnings() -> Iterator[None]:
    """Silence what the notebook libraries say about themselves, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(jupyter_client|nbclient|zmq)\b"
        )
        yield


def _is_ours(cell: nbformat.NotebookNode) -> bool:
    return bool({"injected-parameters", _BANNER_TAG} & set(cell.metadata.get("tags", [])))


def _banner(ending: _Ending, first_line: str) -> nbformat.NotebookNode:
    """A cell at the top that nobody overlooks; code fences keep the error's text from being markup."""
    text = f"{first_line}\n{ending.error}".replace("`", "'")
    title = f"**This notebook did not run to its end ({ending.state}, cell {ending.cell}).**"
    source = f"{title}\n\n```text\n{text}\n```"
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": [_BANNER_TAG]})


def _masked(value: Any) -> Any:  # Any: a notebook is JSON
    """`value` with every key masked in every text of it but images, which are not text."""
    if isinstance(value, dict):
        return {k: inner if str(k).startswith("image/p") else _masked(inner) for k, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


def _last_line(text: str) -> str:
    return masked(next((line for line in reversed(text.strip().splitlines()) if line.strip()), ""))


def _last_words(log: BinaryIO) -> str:
    """What the kernel said last, where it said anything."""
    log.seek(0)
    line = _last_line(log.read().decode(errors="replace"))
    return f": {line}" if line else ""
