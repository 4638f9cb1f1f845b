"""From a response to its quality in [0, 1]: scorers by their names and options, and what judges are asked."""

from workbench.errors import ConfigError
from workbench.scoring.answer import answer
from workbench.scoring.choice import choice
from workbench.scoring.local import SCORERS, LocalScorer, Scorer, local_scorer
from workbench.scoring.numeric import numeric
from workbench.scoring.options import KINDS, ScorerOptions, read_options
from workbench.scoring.sequence import rouge_l
from workbench.scoring.structured import json_fields
from workbench.scoring.text import contains, exact, normalised, token_f1


def scorer(name: str) -> Scorer:
    """The scorer of this name, without options.

    Raises:
        ConfigError: there is none, or it needs options; the message lists those there are.
    """
    kind = read_options(name).kind
    if kind not in SCORERS:
        raise ConfigError(f"the scorer {kind!r} is no function of two texts; those are {', '.join(SCORERS)}")
    return SCORERS[kind]


__all__ = [
    "KINDS",
    "SCORERS",
    "LocalScorer",
    "Scorer",
    "ScorerOptions",
    "answer",
    "choice",
    "contains",
    "exact",
    "json_fields",
    "local_scorer",
    "normalised",
    "numeric",
    "read_options",
    "rouge_l",
    "scorer",
    "token_f1",
]
