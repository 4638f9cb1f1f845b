"""`workbench keys` as a user gives it: what is kept where, what is shown, and what is refused."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from loopback import serving
from workbench import cli, keys_session
from workbench.client.accounts import keys_of

for library in ("cryptography", "keyring"):
    pytest.importorskip(library, reason="the extra 'keys' is not installed")

from keyrings import Memory, plugged  # noqa: E402 - where they are installed

FIRST, SECOND = "canary-number-one", "canary-number-two"
PASSWORD = "a long password"


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key file is to be; neither it nor its folder is there yet."""
    path = tmp_path / "private" / "keys"
    monkeypatch.setenv("WORKBENCH_KEY_FILE", str(path))
    monkeypatch.setenv("WORKBENCH_KEY_FILE_PASSWORD", PASSWORD)
    monkeypatch.delenv("WORKBENCH_KEYRING", raising=False)
    return path


@pytest.fixture
def keys(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """The command in this process: `keys("set", "groq", typed=KEY)`. No key may ever be in what it says."""
    monkeypatch.setenv("COLUMNS", "120")

    def keys(*arguments: str, typed: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["workbench", "keys", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        assert "canary" not in captured.out + captured.err
        return Said(exited.value.code or 0, captured.out, captured.err)

    return keys


def test_a_key_that_is_set_is_used_by_the_client(keys, key_file: Path) -> None:
    said = keys("set", "groq", typed=f"{FIRST}\n")
    assert said.out == "GROQ_API_KEY is kept in the key file\n"
    assert [key.get_secret_value() for key in keys_of("GROQ_API_KEY").values()] == [FIRST]
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.parent.stat().st_mode & 0o777 == 0o700
    assert FIRST.encode() not in key_file.read_bytes()


def test_the_client_has_every_account_and_the_newest_key_of_each(keys) -> None:
    for alias, key in (("", "old-canary"), ("_2", SECOND), ("", FIRST)):
        assert keys("set", "groq", "--alias", f"GROQ_API_KEY{alias}", "--file", typed=key).code == 0
    found = {alias: key.get_secret_value() for alias, key in keys_of("GROQ_API_KEY").items()}
    assert found == {"GROQ_API_KEY": FIRST, "GROQ_API_KEY_2": SECOND}


def test_the_list_says_whose_where_and_which_is_used(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys("set", "groq", typed=FIRST)
    keys("set", "groq", "--alias", "GROQ_API_KEY_2", typed=SECOND)
    monkeypatch.setenv("GROQ_API_KEY", SECOND)
    rows = [line.split(maxsplit=2) for line in keys("list").out.splitlines() if "groq" in line]
    assert [(alias, " ".join(rest.split())) for _, alias, rest in rows] == [
        ("GROQ_API_KEY", "environment yes"),
        ("GROQ_API_KEY", "key file no, environment goes first"),
        ("GROQ_API_KEY_2", "key file no, the same key as GROQ_API_KEY"),
    ]


def test_a_list_of_nothing_says_how_to_keep_a_key(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    assert "keep one with: workbench keys set PROVIDER" in keys("list").out


def test_setting_a_key_that_the_environment_hides_says_so(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", SECOND)
    assert "in the environment too, which goes first" in " ".join(
        keys("set", "groq", typed=FIRST).out.split()
    )


def test_a_removed_key_is_gone_and_the_other_stays(keys) -> None:
    keys("set", "groq", typed=FIRST)
    keys("set", "groq", "--alias", "GROQ_API_KEY_2", typed=SECOND)
    assert keys("remove", "groq", "--alias", "GROQ_API_KEY_2").code == 0
    assert list(keys_of("GROQ_API_KEY")) == ["GROQ_API_KEY"]


def test_a_key_is_kept_in_a_keyring_listed_and_removed(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setenv("WORKBENCH_KEYRING", "mine")
    with plugged(memory):
        assert "keyring" in keys("set", "groq", "--keyring", typed=FIRST).out
        assert memory.entries == {("mine", "GROQ_API_KEY"): FIRST}
        assert "keyring" in keys("list").out
        assert keys("remove", "groq", "--keyring").code == 0
    assert memory.entries == {}


REFUSED = {
    "on-the-command-line": (("set", "groq", FIRST), "", "stays in the shell's history"),
    "nothing-typed": (("set", "groq"), "", "is empty or has characters that a header cannot carry"),
    "two-lines": (
        ("set", "groq"),
        f"{FIRST}\n{SECOND}",
        "characters that a header cannot carry; set it anew",
    ),
    "not-ascii": (("set", "groq"), f"{FIRST}\xe9", "characters that a header cannot carry; set it anew"),
    "key-as-alias": (("set", "groq", "--alias", FIRST), FIRST, "give --alias GROQ_API_KEY, GROQ_API_KEY_2"),
    "a-gap": (("set", "groq", "--alias", "GROQ_API_KEY_3"), FIRST, "set this first: --alias GROQ_API_KEY"),
    "unknown-provider": (("set", "grok"), FIRST, "no provider 'grok'; known are"),
    "no-key-needed": (("set", "ollama"), FIRST, "ollama is asked without a key"),
    "no-keyring": (("set", "groq", "--keyring"), FIRST, "set WORKBENCH_KEYRING=workbench"),
    "two-places": (("set", "groq", "--keyring", "--file"), FIRST, "give --keyring or --file, not both"),
    "not-there": (("remove", "groq"), "", "see what is kept where: workbench keys list"),
    "none-to-check": (("check", "groq"), "", "keep one with: workbench keys set groq"),
}


@pytest.mark.parametrize(("arguments", "typed", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_says_what_to_do(arguments, typed, told, keys, key_file: Path) -> None:
    said = keys(*arguments, typed=typed)
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert told in said.err
    assert not key_file.exists()


def test_a_removal_that_would_hide_another_account_is_refused(keys) -> None:
    keys("set", "groq", typed=FIRST)
    keys("set", "groq", "--alias", "GROQ_API_KEY_2", typed=SECOND)
    assert "GROQ_API_KEY_2 would not be found" in keys("remove", "groq").err
    assert len(keys_of("GROQ_API_KEY")) == 2


def test_a_repository_is_refused_before_the_key_is_read(keys, key_file: Path) -> None:
    (key_file.parents[1] / ".git").mkdir()
    said = keys("set", "groq", typed=FIRST)
    assert "from which keys get published" in said.err
    assert "WORKBENCH_KEY_FILE" in said.err
    assert not key_file.parent.exists()


def test_a_folder_in_which_others_can_write_is_refused(keys, key_file: Path) -> None:
    key_file.parent.mkdir()
    key_file.parent.chmod(0o770)
    assert "chmod 700" in keys("set", "groq", typed=FIRST).err
    assert not key_file.exists()


@pytest.mark.parametrize("arguments", [("list",), ("set", "groq"), ("remove", "groq")], ids=" ".join)
def test_a_key_file_that_others_can_read_is_refused(arguments, keys, key_file: Path) -> None:
    keys("set", "groq", typed=FIRST)
    key_file.chmod(0o644)
    kept = key_file.read_bytes()
    assert f"chmod 600 {key_file}" in keys(*arguments, typed=SECOND).err
    assert key_file.read_bytes() == kept


def test_a_wrong_password_changes_nothing(keys, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys("set", "groq", typed=FIRST)
    kept = key_file.read_bytes()
    monkeypatch.setenv("WORKBENCH_KEY_FILE_PASSWORD", "another password")
    assert "does not open" in keys("set", "groq", typed=SECOND).err
    assert key_file.read_bytes() == kept


def test_a_script_without_the_password_is_told_the_variable(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_KEY_FILE_PASSWORD")
    assert "put its password into WORKBENCH_KEY_FILE_PASSWORD" in keys("set", "groq", typed=FIRST).err


def test_no_place_to_keep_keys_names_both(keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_KEY_FILE")
    said = keys("set", "groq", typed=FIRST)
    assert "WORKBENCH_KEY_FILE" in said.err
    assert "WORKBENCH_KEYRING" in said.err


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "workbench", "keys", *arguments]


def test_a_key_is_taken_from_a_pipe(key_file: Path) -> None:
    done = subprocess.run(
        command("set", "groq"), input=f"{FIRST}\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "GROQ_API_KEY is kept in the key file\n", "")
    assert [key.get_secret_value() for key in keys_of("GROQ_API_KEY").values()] == [FIRST]


@pytest.mark.slow
def test_a_terminal_is_asked_and_shows_nothing_that_is_typed(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKBENCH_KEY_FILE_PASSWORD")
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, command("set", "groq"))
    shown = b""
    for answer in (PASSWORD, PASSWORD, FIRST):
        n_questions = shown.count(b": ")
        while shown.count(b": ") == n_questions:
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{answer}\n".encode())
    while b"is kept in the key file" not in shown:
        shown += os.read(terminal, 1024)
    assert os.waitpid(child, 0)[1] == 0
    os.close(terminal)
    assert FIRST.encode() not in shown
    assert PASSWORD.encode() not in shown
    monkeypatch.setenv("WORKBENCH_KEY_FILE_PASSWORD", PASSWORD)
    assert [key.get_secret_value() for key in keys_of("GROQ_API_KEY").values()] == [FIRST]


@pytest.mark.anyio
async def test_each_key_is_checked_at_the_provider(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        is_known = request.headers["api-key"] == FIRST
        return web.json_response(
            {"data": [{"id": "small"}]} if is_known else {}, status=200 if is_known else 401
        )

    monkeypatch.setenv("AZURE_OPENAI_API_KEY", FIRST)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY_2", SECOND)
    async with serving(("GET", "/openai/v1/models", models)) as url:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", url)
        assert not await keys_session.check_keys("azure")
        monkeypatch.delenv("AZURE_OPENAI_API_KEY_2")
        assert await keys_session.check_keys("azure")
    said = capsys.readouterr().out
    assert said.count("AZURE_OPENAI_API_KEY: accepted; 1 models are listed") == 2
    assert "AZURE_OPENAI_API_KEY_2: azure" in said
    assert "canary" not in said
