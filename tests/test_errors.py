"""The error tree: it is as drawn, and its errors can be copied, pickled and read."""

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

from workbench import errors
from workbench.errors import ProviderError, RateLimitError, StreamTruncatedError, WorkbenchError

EXAMPLES: list[WorkbenchError] = [
    errors.ConfigError("no such arm"),
    errors.MissingExtraError("torch", "the learned router"),
    errors.NotebookError("failed", cell=3),
    RateLimitError("openai", "gpt", "slow down", status=429, request_id="r-1", retry_after_s=1.5),
    errors.ProviderTimeoutError("openai", "gpt", "late", kind="first_byte"),
    StreamTruncatedError("openai", "gpt", "broke off", partial_text="The answer"),
    errors.AllProvidersFailedError(
        [errors.ServerError("a", "m", "down"), errors.ConnectError("b", "m", "refused")]
    ),
]


def drawn_tree() -> dict[str, str]:
    """Class -> parent, as the docstring of the module draws it."""
    parents: dict[str, str] = {}
    above: list[str] = ["Exception"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+(?:Error))\b", line)
        if found:
            depth = len(found[1]) // 4
            parents[found[2]] = above[depth]
            above[depth + 1 :] = [found[2]]
    return parents


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    classes = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == errors.__name__
    }
    assert drawn_tree() == classes


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_error_survives_copying_and_pickling(error: WorkbenchError, again: Callable[[Any], Any]) -> None:
    other = again(error)
    assert (type(other), str(other)) == (type(error), str(error))
    assert {key: repr(value) for key, value in vars(other).items()} == {
        key: repr(value) for key, value in vars(error).items()
    }


def test_the_message_names_provider_and_model() -> None:
    assert str(ProviderError("openai", "gpt", "no answer")) == "openai/gpt: no answer"


def test_one_error_can_be_more_or_less_retryable_than_its_class() -> None:
    assert errors.ServerError("p", "m", "x", retryable=False).retryable is False
    assert errors.ServerError.retryable is True


def test_all_failed_sums_the_attempts_and_lists_the_causes() -> None:
    causes = [errors.ServerError("a", "m", "down"), errors.ConnectError("b", "m", "refused")]
    causes[0].attempts = 3
    error = errors.AllProvidersFailedError(causes)
    assert (error.attempts, error.causes) == (4, tuple(causes))
    assert "a/m: down; b/m: refused" in str(error)


@pytest.mark.parametrize(
    "kind", [errors.AuthError, errors.QuotaExceededError, errors.TLSError, errors.TooLargeError]
)
def test_what_cannot_change_is_not_retried(kind: type[ProviderError]) -> None:
    assert kind("p", "m", "x").retryable is False
