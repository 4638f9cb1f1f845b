"""Secrets stay secret whichever way they are looked at, and settings come from the environment."""

import copy
import gc
import io
import json
import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console
from rich.traceback import Traceback

from workbench.errors import ConfigError
from workbench.settings import Secret, Settings, data_dir, known_secrets, secret

CANARY = "sk-canary-0123456789"


@dataclass
class Account:
    key: Secret


class Form(BaseModel):
    key: Secret


LOOKS: dict[str, Callable[[Secret], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda key: f"{key} {key!r} {key!s}",
    "percent": lambda key: "%s %r" % (key, key),  # noqa: UP031  # logging formats like this
    "vars": lambda key: repr(vars(key)),
    "asdict": lambda key: repr(asdict(Account(key))),
    "dataclass": lambda key: repr(Account(key)),
    "copy": lambda key: repr(vars(copy.copy(key))),
    "deepcopy": lambda key: repr(copy.deepcopy({"key": key})),
    "getstate": lambda key: repr(key.__getstate__()),
    "pydantic": lambda key: (
        repr(Form(key=key)) + Form(key=key).model_dump_json() + repr(Form(key=key).model_dump())
    ),
    "json-default": lambda key: json.dumps({"key": key}, default=str),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_no_way_of_looking_shows_the_key(look: Callable[[Secret], object]) -> None:
    assert CANARY not in str(look(Secret(CANARY)))


@pytest.mark.parametrize("save", [pickle.dumps, json.dumps], ids=["pickle", "json"])
def test_a_secret_is_not_saved(save: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as caught:
        save(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_a_traceback_with_local_variables_does_not_show_the_key() -> None:
    key = Secret("-".join(["sk", "canary", "0123456789"]))
    screen = io.StringIO()
    try:
        raise RuntimeError(f"{key} was refused")
    except RuntimeError as error:
        shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        Console(file=screen, width=200).print(shown)
        screen.write(
            "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        )
    assert "key = " in screen.getvalue()
    assert key.get_secret_value() not in screen.getvalue()


def test_the_key_can_be_used_and_compared() -> None:
    assert Secret(CANARY).get_secret_value() == CANARY
    assert (Secret("a") == Secret("a"), Secret("a") == Secret("b"), len(Secret("abc"))) == (True, False, 3)
    assert copy.deepcopy(Secret(CANARY)).get_secret_value() == CANARY


def test_an_empty_secret_looks_empty() -> None:
    assert repr(Secret("")) == "Secret('')"


def test_settings_come_from_the_environment_and_then_a_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("WORKBENCH_RUNS_DIR=from-file\nWORKBENCH_TRACKING_URI=sqlite:///x.db\nOTHER=1\n")
    monkeypatch.setenv("WORKBENCH_RUNS_DIR", "from-environment")
    settings = Settings()
    assert (settings.runs_dir, settings.tracking_uri) == (Path("from-environment"), "sqlite:///x.db")


def write_dotenv(text: str, mode: int) -> None:
    Path(".env").write_text(text)
    Path(".env").chmod(mode)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640], ids=oct)
def test_a_key_comes_from_a_dotenv_file_that_others_cannot_read(mode: int) -> None:
    write_dotenv(f"GROQ_API_KEY={CANARY}\n", mode)
    key = secret("GROQ_API_KEY")
    assert key is not None
    assert key.get_secret_value() == CANARY


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o601], ids=oct)
def test_a_key_in_a_dotenv_file_that_others_can_read_is_refused(mode: int) -> None:
    write_dotenv(f"GROQ_API_KEY={CANARY}\n", mode)
    with pytest.raises(ConfigError, match=r"GROQ_API_KEY and is open to everyone.*chmod 600 \.env") as caught:
        secret("GROQ_API_KEY")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY not in shown
    assert secret("OPENAI_API_KEY") is None, "settings without keys may be read by anyone"


def test_the_environment_goes_before_a_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dotenv("GROQ_API_KEY=other\n", 0o644)
    monkeypatch.setenv("GROQ_API_KEY", CANARY)
    key = secret("GROQ_API_KEY")
    assert key is not None
    assert key.get_secret_value() == CANARY


@pytest.mark.parametrize(
    "content", [f"KEY={CANARY}\xe9".encode("latin-1"), b"#" * 1_000_001], ids=["not-utf8", "huge"]
)
@pytest.mark.parametrize("use", [lambda: secret("KEY"), Settings], ids=["secret", "settings"])
def test_a_damaged_dotenv_file_is_one_error_without_its_content(
    content: bytes, use: Callable[[], object]
) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.env (cannot be read as UTF-8|has over 1 MB)") as caught:
        use()
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__


def test_every_key_of_the_process_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dotenv("GROQ_API_KEY=from-the-file\nWORKBENCH_RUNS_DIR=no-key\n", 0o644)
    monkeypatch.setenv("HF_TOKEN", "from-the-environment")
    passed = Secret("from-an-argument")
    known = {key.get_secret_value() for key in known_secrets()}
    assert {"from-the-file", "from-the-environment", passed.get_secret_value()} <= known
    assert "no-key" not in known
    del passed
    gc.collect()
    assert "from-an-argument" not in {key.get_secret_value() for key in known_secrets()}


def test_the_data_that_comes_with_the_package_is_found() -> None:
    assert (data_dir() / "models.csv").is_file()
