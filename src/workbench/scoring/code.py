"""Scores by running the reference's tests on the code in an answer."""

import ast

from workbench.errors import DataError
from workbench.scoring.fenced import last_block
from workbench.scoring.sandbox import Limits, run_tests


def code(response: str, reference: str, *, limits: Limits, all_or_nothing: bool = False) -> float:
    """The share of the reference's tests that pass after the code of the response was run.

    The code is the last fenced block, else the whole response. A test is an `assert`, a call, or a function
    `test_...`, at the top of the reference; what else stands there is run between them. Whatever ends the
    process ends all tests: a response that runs out of time or memory scores 0.

    Raises:
        DataError: the reference is no Python, or has no test.
    """
    n_tests = count_tests(reference)
    ran = run_tests(last_block(response), reference, limits)
    if len(ran.passed) != n_tests:
        return 0.0
    return float(all(ran.passed)) if all_or_nothing else sum(ran.passed) / n_tests


def count_tests(reference: str) -> int:
    """How many tests a reference has.

    Raises:
        DataError: it is no Python, or has none.
    """
    try:
        body = ast.parse(reference).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise DataError(f"the scorer 'code' needs tests in Python as reference: {exc}") from exc
    n_tests = sum(_is_test(statement) for statement in body)
    if n_tests == 0:
        raise DataError(
            "the scorer 'code' needs a reference with tests: an assert, a call, or a function test_...; "
            f"this one has none: {reference[:80]!r}"
        )
    return n_tests


def _is_test(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return statement.name.startswith("test_")
    is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    return is_call or isinstance(statement, ast.Assert)
