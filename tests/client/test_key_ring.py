"""Keys in the system's keyring: found, kept and deleted; without one, a single error that says what to do."""

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from workbench.client.accounts import keys_of
from workbench.client.key_sources import keys_at_hand
from workbench.errors import ConfigError
from workbench.redaction import masked
from workbench.settings import Secret

pytest.importorskip("keyring", reason="the extra 'keys' is not installed")

from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked, PasswordSetError

from keyrings import Memory, plugged
from workbench.client import key_ring

KEY = "canary-of-the-keyring"


class Locked(Memory):
    """A keyring whose owner does not unlock it."""

    name = "locked"

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("dismissed")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise PasswordSetError("dismissed")


class Forgetful(Memory):
    """A keyring that says it kept what it did not."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


def test_a_key_is_kept_found_and_removed() -> None:
    with plugged(Memory()):
        key_ring.write_key("workbench", "GROQ_API_KEY", Secret(KEY))
        assert key_ring.read_key("workbench", "GROQ_API_KEY") == Secret(KEY)
        assert key_ring.read_key("another", "GROQ_API_KEY") is None
        key_ring.remove_key("workbench", "GROQ_API_KEY")
        assert key_ring.read_key("workbench", "GROQ_API_KEY") is None


def test_the_client_finds_every_key_of_the_keyring_after_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    memory.entries["mine", "GROQ_API_KEY"] = "hidden by the environment"
    memory.entries["mine", "GROQ_API_KEY_2"] = KEY
    monkeypatch.setenv("WORKBENCH_KEYRING", "mine")
    monkeypatch.setenv("GROQ_API_KEY", "of-the-environment")
    with plugged(memory):
        found = keys_of("GROQ_API_KEY")
    assert list(found) == ["GROQ_API_KEY", "GROQ_API_KEY_2"]
    assert [key.get_secret_value() for key in found.values()] == ["of-the-environment", KEY]


def test_a_keyring_that_was_not_asked_for_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_KEYRING", raising=False)
    with plugged(Locked()):
        assert keys_of("GROQ_API_KEY") == {}


@pytest.mark.parametrize(
    ("backend", "act", "told"),
    [
        (Locked(), lambda: key_ring.read_key("s", "K"), "locked.*KeyringLocked: dismissed; unlock it"),
        (Locked(), lambda: key_ring.write_key("s", "K", Secret(KEY)), "PasswordSetError.*unlock it"),
        (Forgetful(), lambda: key_ring.write_key("s", "K", Secret(KEY)), "did not keep K.*--file"),
        (Memory(), lambda: key_ring.remove_key("s", "K"), "PasswordDeleteError: no such entry"),
    ],
    ids=["read", "write", "forgotten", "remove"],
)
def test_a_keyring_that_refuses_is_one_error_without_the_key(backend, act, told) -> None:
    with plugged(backend), pytest.raises(ConfigError, match=told) as caught:
        act()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY not in shown


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring], ids=["none", "switched-off"])
def test_a_system_without_a_keyring_is_told_what_to_do(backend: type[KeyringBackend]) -> None:
    told = "no keyring that can be used; keep keys in the encrypted file"
    with plugged(backend()), pytest.raises(ConfigError, match=told):
        key_ring.read_key("workbench", "GROQ_API_KEY")


def test_a_backend_that_cannot_be_loaded_is_one_error() -> None:
    code = """
import os
from workbench.client.key_ring import read_key
from workbench.errors import ConfigError
for name in ("nowhere.Keyring", "Keyring", "keyring.backends.null.Nobody"):
    os.environ["PYTHON_KEYRING_BACKEND"] = name
    try:
        read_key("workbench", "GROQ_API_KEY")
    except ConfigError as exc:
        print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("the keyring that PYTHON_KEYRING_BACKEND or keyringrc.cfg names cannot be") == 3


def test_what_a_keyring_holds_is_masked_wherever_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    memory.set_password("workbench", "GROQ_API_KEY", KEY)
    memory.set_password("workbench", "GROQ_API_KEY_2", f"{KEY}-2")
    monkeypatch.setenv("WORKBENCH_KEYRING", "workbench")
    with plugged(memory):
        held = keys_at_hand()
    assert held == [Secret(KEY), Secret(f"{KEY}-2")]
    assert KEY not in masked(f"<{KEY}-2> <{KEY}>")


def test_a_place_that_does_not_open_gives_no_key_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBENCH_KEY_FILE", str(tmp_path / "none"))
    assert keys_at_hand() == []
    monkeypatch.setenv("WORKBENCH_KEYRING", "workbench")
    with plugged(Locked()):
        assert keys_at_hand() == []
