"""Keys through a whole run: in the environment, `.env`, the key file, as an argument; in no byte of any sink.

The servers are hostile: they repeat the key in their errors and in their answers.
"""

import asyncio
import io
import itertools
import logging
import os
import re
import shutil
import sqlite3
import stat
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from IPython.core.ultratb import VerboseTB
from rich.console import Console
from rich.traceback import Traceback

from faults import FaultServer, answer, error, whole
from workbench import cli
from workbench.client import Client, key_file
from workbench.errors import AuthError
from workbench.providers import registry
from workbench.redaction import holds_secret
from workbench.settings import Secret
from workbench.types import Prompt

pytestmark = pytest.mark.anyio

ENVIRONMENT, DOTENV, ARGUMENT = "canary/env-5b1f", "canary/dotenv-9c2e", "canary/argument-7d3a"
KEY_FILE, PASSWORD = "canary/key-file-2e6d", "canary/password-f40b"
"""Of no form that a pattern knows: they can be told by their value alone."""

SPEC = """
name: leaky
question: Does a server that repeats keys get them anywhere?
prompts: {source: prompts.csv}
arms:
  - {name: environment, model: openai/gpt-4o-mini}
  - {name: dotenv, model: groq/llama-3.1-8b-instant}
  - {name: key_file, model: mistral/mistral-small-2603}
scorer: exact
concurrency: 2
notebook: leaky.ipynb
"""
NOTEBOOK = (
    """
    import logging, os
    from workbench import load_spec, publish, run
    from workbench.providers import registry
    from workbench.providers.registry import Endpoint
    logging.basicConfig(level=logging.DEBUG, filename="debug.log")
    for name in ("openai", "groq", "mistral"):
        variable = f"{name.upper()}_API_KEY"
        row = Endpoint(name, base_url=os.environ[f"TEST_{name}"], key_var=variable)
        registry.ENDPOINTS = (*registry.ENDPOINTS, row)
    """,
    "spec_path = ''",
    "finished = await run(load_spec(spec_path))\nfinished.table",
    "print(publish(finished))",
    """
    from workbench.client.key_sources import first_key, key_sources
    for variable in ("OPENAI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"):
        print(first_key(key_sources(), variable).get_secret_value())
    """,
    """
    %xmode Verbose
    from workbench import Client
    async def fail(client):
        key = registry.secret("OPENAI_API_KEY")
        environment = dict(os.environ)
        async with client:
            while True:
                completion = await client.complete("openai/gpt-4o-mini", finished.plan.prompts[0])
    await fail(Client([registry.provider("openai")]))
    """,
)


def hostile(key: str) -> FaultServer:
    """Answers, refuses and fails in turn, with the key in every reply."""
    echo = f"You sent Bearer {key}, did you not?"
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": echo}}
    replies = itertools.cycle(
        [
            whole(answer(choices=[choice], model=f"model-{key}", id=key)),
            error("401 Unauthorized", echo, X_Request_Id=key),
            whole(b"<html>" + echo.encode()),
            error("500 Internal Server Error", echo),
        ]
    )
    return FaultServer(lambda: next(replies)())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a spec, prompts, a notebook and a `.env`."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "prompts.csv").write_text("text,reference\n" + "".join(f"Say {n},{n}\n" for n in range(6)))
    (tmp_path / ".env").write_text(f"GROQ_API_KEY={DOTENV}\n")
    (tmp_path / ".env").chmod(0o600)
    key_file.write_keys(tmp_path / "keys", {"MISTRAL_API_KEY": Secret(KEY_FILE)}, Secret(PASSWORD))
    node = nbformat.v4.new_notebook()
    node.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in NOTEBOOK]
    node.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(node, tmp_path / "leaky.ipynb")
    return tmp_path


async def command(project: Path, *arguments: str, **environment: str) -> str:
    """What `workbench` says, on both streams, with root logging at its loudest."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workbench", *arguments),
        cwd=project,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    return said.decode()


def sinks(project: Path) -> Iterator[tuple[str, bytes]]:
    """Every file that a run left, byte by byte; a table as text as well."""
    given = {"spec.yaml", "prompts.csv", "leaky.ipynb", ".env", "keys"}
    for path in project.rglob("*"):
        if path.is_file() and not (path.parent == project and path.name in given):
            yield str(path.relative_to(project)), path.read_bytes()
            if path.suffix == ".parquet":
                yield path.name, pd.read_parquet(path).to_csv().encode()
            if path.suffix == ".db":
                with closing(sqlite3.connect(path)) as database:
                    yield path.name, "\n".join(database.iterdump()).encode()


@pytest.mark.slow
async def test_no_sink_of_a_run_holds_a_key(project: Path, fresh_store: Path) -> None:
    shutil.copy(fresh_store, project / "mlflow.db")
    async with hostile(ENVIRONMENT) as first, hostile(DOTENV) as second, hostile(KEY_FILE) as third:
        said = await command(
            project,
            "run",
            "spec.yaml",
            OPENAI_API_KEY=ENVIRONMENT,
            TEST_openai=first.url,
            TEST_groq=second.url,
            TEST_mistral=third.url,
            WORKBENCH_KEY_FILE="keys",
            WORKBENCH_KEY_FILE_PASSWORD=PASSWORD,
            WORKBENCH_TRACKING_URI="sqlite:///mlflow.db",
            WORKBENCH_LOG="json",
            WORKBENCH_SHOW_CONTENT="true",
            WORKBENCH_TRACE_SHARE="1",
        )
        assert f"Bearer {ENVIRONMENT}" in first.requests[0].head
        assert f"Bearer {DOTENV}" in second.requests[0].head
        assert f"Bearer {KEY_FILE}" in third.requests[0].head
    table = pd.read_parquet(project / "runs" / "leaky" / "outcomes.parquet")
    assert table["response"].dropna().str.contains("You sent Bearer **********", regex=False).all()
    assert {"AuthError"} <= set(table["error"].dropna())
    assert table["response"].notna().any()
    kept = dict(sinks(project))
    wanted = {"journal.jsonl", "outcomes.parquet", "analysis.json", "report.html", "run.json", "spec.yaml"}
    wanted |= {"tracking.json", "notebook.ipynb", "status.json", "traces.jsonl"}
    assert {f"runs/leaky/{name}" for name in wanted} | {"mlflow.db", "debug.log"} <= set(kept)
    assert any(name.startswith("mlartifacts") and name.endswith("report.html") for name in kept)
    assert "attempt_finished" in kept["runs/leaky/notebook.ipynb"].decode()  # what its kernel logged
    assert b"mlflow.spanOutputs" in kept["mlflow.db"]
    assert "did not run to its end (failed, cell 6)" in kept["runs/leaky/notebook.ipynb"].decode()
    assert "HTTP 401: You sent Bearer **********" in said or "every candidate" in said or "HTTP" in said
    assert leaks(kept | {"screen": said.encode()}) == []
    open_to_others = [
        name
        for name in kept
        if (project / name).exists() and is_open_to_others(project, project / name) and name != "debug.log"
    ]
    assert open_to_others == []


def leaks(kept: dict[str, bytes]) -> list[tuple[str, str]]:
    """Which sink holds which key."""
    keys = (ENVIRONMENT, DOTENV, KEY_FILE, PASSWORD, ARGUMENT)
    return [(name, key) for name, content in kept.items() for key in keys if key.encode() in content]


def is_open_to_others(root: Path, path: Path) -> bool:
    """Whether someone else can read `path`: its own mode, and that of the folders above it up to `root`."""
    steps = [path, *(folder for folder in path.parents if folder.is_relative_to(root) and folder != root)]
    return all(stat.S_IMODE(step.stat().st_mode) & stat.S_IRWXO for step in steps)


async def failed(key: Secret) -> BaseException:
    """The error of a call to a server that repeats the key, with the client still alive in its frames."""
    async with hostile(key.get_secret_value()) as server:
        provider = registry.provider("vllm", base_url=server.url, key=key)
        async with Client([provider]) as client:
            try:
                while True:
                    completion = await client.complete("vllm/small", Prompt("p1", "2 + 2?"))
                    assert "**********" in completion.text
                    assert holds_secret(f"<p>{key.get_secret_value()}</p>")
            except AuthError as exc:
                return exc


async def test_no_traceback_of_any_kind_shows_a_key_that_was_an_argument(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    exc = await failed(Secret("/".join(ARGUMENT.split("/"))))
    screen = io.StringIO()
    kinds = (type(exc), exc, exc.__traceback__)
    traceback.TracebackException(*kinds, capture_locals=True).print(file=screen)
    Console(file=screen, width=200).print(Traceback.from_exception(*kinds, show_locals=True))
    screen.write(VerboseTB(theme_name="nocolor").text(*kinds))
    shown = screen.getvalue() + caplog.text + repr(vars(exc))
    assert "completion = Completion(text='You sent Bearer **********" in shown
    assert leaks({"shown": shown.encode()}) == []


def test_a_key_that_nobody_has_any_more_is_forgotten() -> None:
    key = Secret("canary-in-use-0001")
    assert holds_secret("<canary-in-use-0001>")
    del key
    assert not holds_secret("<canary-in-use-0001>")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "spec.yaml", "-p", "KEY:sk-canary1234567890abcd"],
        ["run", "spec.yaml", "-p", "canary=sk-canary1234567890abcd"],
        ["run", "spec.yaml", "-p", "spec_path=[sk-canary1234567890abcd"],
        ["run", "canary of the environment.yaml"],
        ["run", ".env"],
    ],
    ids=["no-value", "unknown", "not-yaml", "path", "dotenv"],
)
def test_a_key_on_the_command_line_is_not_said_back(
    project: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary of the environment")
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    (project / ".env").write_text("GROQ_API_KEY=sk-canary1234567890abcd: [")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.err.startswith("error: ")
    assert not re.search("sk-canary|canary of", said.out + said.err)


def test_a_damaged_dotenv_file_is_told_by_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_bytes(b"KEY=\xe9")
    monkeypatch.setattr(sys, "argv", ["workbench", "data", "list"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "cannot be read as UTF-8 text" in capsys.readouterr().err
