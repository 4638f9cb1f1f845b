"""From a response to its quality in [0, 1]: one function a scorer, known by its name."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from workbench.errors import ConfigError
from workbench.scoring.answer import answer
from workbench.scoring.choice import choice
from workbench.scoring.numeric import numeric
from workbench.scoring.structured import json_fields
from workbench.scoring.text import contains, exact, normalised, token_f1

Scorer = Callable[[str, str], float]
"""(response, reference) -> quality in [0, 1]; deterministic, in time linear in the response."""

SCORERS: Mapping[str, Scorer] = {
    "answer": answer,
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "choice": choice,
    "contains": contains,
    "json_fields": json_fields,
    "token_f1": token_f1,
}


def scorer(name: str) -> Scorer:
    """The scorer of this name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name in SCORERS:
        return SCORERS[name]
    close = get_close_matches(name, SCORERS, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(f"there is no scorer {name!r}{hint}; known are {', '.join(SCORERS)}")


__all__ = [
    "SCORERS",
    "Scorer",
    "answer",
    "choice",
    "contains",
    "exact",
    "json_fields",
    "normalised",
    "numeric",
    "scorer",
    "token_f1",
]
