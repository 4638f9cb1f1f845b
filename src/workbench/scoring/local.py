"""Scorers that ask nobody, with their options: made once, then called for each answer."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from workbench.answers.number import Tolerance
from workbench.errors import ConfigError
from workbench.scoring.answer import answer
from workbench.scoring.choice import choice
from workbench.scoring.code import code, count_tests
from workbench.scoring.numeric import numeric
from workbench.scoring.options import Code, Embedding, Numeric, Pattern, Plain, RougeL, Schema, ScorerOptions
from workbench.scoring.pattern import has_answer, matches
from workbench.scoring.sandbox import Limits, check_sandbox
from workbench.scoring.sequence import rouge_l
from workbench.scoring.structured import json_fields
from workbench.scoring.text import contains, exact, normalised, token_f1
from workbench.storage import read_bytes

log = logging.getLogger("workbench")

Scorer = Callable[[str, str], float]
"""(response, reference) -> quality in [0, 1]; deterministic, in time linear in the response."""

SCORERS: dict[str, Scorer] = {
    "answer": answer,
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "choice": choice,
    "contains": contains,
    "json_fields": json_fields,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}
"""Those that need no option and no time; by name."""

_MAX_SCHEMA_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LocalScorer:
    """A scorer that is ready.

    `score` takes a response and a reference ("" where none is needed); None: it could not be scored.
    `is_slow`: it may take more than a moment, and is called in a thread. `sha256` is of the file that its
    options name, "" without one. `check` raises an error for a reference that a slow one cannot use.
    """

    score: Callable[[str, str], float | None]
    needs_reference: bool = True
    is_slow: bool = False
    sha256: str = ""
    check: Callable[[str], object] | None = None

    def check_reference(self, reference: str) -> None:
        """Find a reference that this scorer cannot use, before anything is paid for.

        Raises:
            DataError: it cannot be used.
        """
        if self.check is not None:
            self.check(reference)
        elif not self.is_slow:
            self.score("", reference)


def local_scorer(options: ScorerOptions, *, folder: Path) -> LocalScorer | None:
    """The scorer that `options` name; paths start at `folder`. None: it is not one that asks nobody.

    Raises:
        ConfigError, StorageError: it cannot work here, such as a file that is no JSON schema.
        MissingExtraError: its extra is not installed.
    """
    match options:
        case Plain() if options.kind in SCORERS:
            return LocalScorer(SCORERS[options.kind])
        case Numeric():
            tolerance = Tolerance(options.relative_tolerance, options.absolute_tolerance)
            return LocalScorer(partial(numeric, tolerance=tolerance))
        case RougeL():
            return LocalScorer(partial(rouge_l, beta=options.beta))
        case Pattern():
            found = partial(matches, pattern=options.pattern)
            return LocalScorer(found, needs_reference=has_answer(options.pattern), is_slow=True)
        case Schema():
            return _of_schema(folder / options.file)
        case Code():
            return _of_code(options)
        case Embedding(model="minilm"):
            return _of_embedding()
    return None


def _of_code(options: Code) -> LocalScorer:
    if missing := check_sandbox():
        log.warning("programs in answers run without a guard of their %s on this system", ", ".join(missing))
    limits = Limits(options.timeout_s, options.memory_mb)
    run = partial(code, limits=limits, all_or_nothing=options.all_or_nothing)
    return LocalScorer(run, is_slow=True, check=count_tests)


def _of_embedding() -> LocalScorer:
    from workbench.scoring.meaning import similarity  # here, as its library takes seconds to import

    similarity("is it", "installed")
    return LocalScorer(similarity, is_slow=True)


def _of_schema(path: Path) -> LocalScorer:
    from workbench.scoring.schema import schema_validator  # here, as its library takes long to import

    content = read_bytes(path, purpose="JSON schema", max_bytes=_MAX_SCHEMA_BYTES)
    try:
        validate = schema_validator(json.loads(content))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is not JSON: {exc}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    return LocalScorer(
        lambda response, _reference: validate(response),
        needs_reference=False,
        is_slow=True,
        sha256=hashlib.sha256(content).hexdigest(),
    )
