"""Secrets stay secret whichever way they are looked at, and settings come from the environment."""

import copy
import io
import json
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

from workbench.settings import Secret, Settings, data_dir

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


def test_the_data_that_comes_with_the_package_is_found() -> None:
    assert (data_dir() / "models.csv").is_file()
