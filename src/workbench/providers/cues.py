"""What simulated models make of the words around a prompt: a few cues, each with a known effect.

So that an experiment on templates has an answer that is known: a cue adds to the logit of a right answer, and
changes how much is written. Any other words change the draws and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cue:
    """A phrase in a template or a system message, in lower case.

    `logit` is added for every task; `length` is the factor on tokens and seconds.
    """

    phrase: str
    logit: float
    length: float


CUES = (
    Cue("step by step", 0.7, 1.8),
    Cue("check your answer", 0.3, 1.3),
    Cue("only the answer", -0.5, 0.4),
)
"""The sizes are made up; their directions are those that papers report of language models.

Source: Kojima et al. (2022), Large Language Models are Zero-Shot Reasoners, arXiv 2205.11916.
"""


def combined(words: str, cues: Sequence[Cue] = CUES) -> tuple[float, float]:
    """The logit and the factor of all cues that are in `words`.

    >>> combined("Think step by step."), combined("Please.")
    ((0.7, 1.8), (0.0, 1.0))
    """
    folded = words.casefold()
    found = [cue for cue in cues if cue.phrase in folded]
    return sum((cue.logit for cue in found), 0.0), math.prod((cue.length for cue in found), start=1.0)
