"""The simulated models: who answers what rightly, how fast and at what length, as pure arithmetic.

Nothing here is a language model. Each row of `FLEET` is a table of probabilities, made up by this
project, so that what an experiment should find is known in closed form: whether model m answers prompt
p rightly under sampling seed s is a function of (fleet seed, m, p, s) alone.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from workbench.datasets import Task
from workbench.errors import ConfigError, InsufficientDataError
from workbench.providers.cues import combined
from workbench.providers.wrong_answers import wrong_answers
from workbench.types import Prompt

PROVIDER = "simulator"

MAX_OUTPUT_TOKENS = 480
"""No answer is longer, so that the default limit of a request (512) truncates none."""


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One made-up model. `skills` are the logits of a right answer to the easiest prompt of each task.

    A step up in difficulty (1 to 3) takes `step` from the logit. Tokens and seconds are medians of
    lognormal distributions. `transient_rate` is the share of (prompt, seed) pairs whose first request
    fails and whose second is answered; `persistent_rate` the share of prompts that always fail.
    """

    name: str
    skills: Mapping[str, float]
    default_skill: float
    output_tokens: int
    latency_s: float
    reasoning_tokens: int = 0
    step: float = 0.9
    output_sigma: float = 0.25
    latency_sigma: float = 0.35
    transient_rate: float = 0.01
    persistent_rate: float = 0.003

    def right_probability(self, task: str | None, difficulty: int, *, cue: float = 0.0) -> float:
        """Probability of a right answer, given that there is one; `cue` is added to its logit.

        >>> model = SimulatedModel("sim-x", {"logic": 0.9}, 0.0, output_tokens=10, latency_s=0.0)
        >>> model.right_probability("logic", 2)
        0.5
        """
        logit = self.skills.get(task or "", self.default_skill) - self.step * (difficulty - 1) + cue
        return 1.0 / (1.0 + math.exp(-logit))


FLEET: tuple[SimulatedModel, ...] = (
    SimulatedModel("sim-nano", {"lookup": 2.0, "logic": 0.4, "arithmetic": 0.6}, 1.3, 30, 0.015),
    SimulatedModel("sim-small", {"conversion": 2.2, "lookup": 2.4}, 1.5, 45, 0.022),
    SimulatedModel(
        "sim-reader", {"lookup": 4.4, "extraction": 4.2, "arithmetic": 0.3, "logic": 0.2}, 1.0, 40, 0.025
    ),
    SimulatedModel("sim-coder", {"strings": 4.4, "conversion": 3.9, "logic": 1.2}, 1.5, 60, 0.035),
    SimulatedModel("sim-medium", {"lookup": 2.8, "extraction": 2.6}, 2.1, 70, 0.045),
    SimulatedModel("sim-reasoner", {"arithmetic": 4.4, "logic": 4.2}, 1.8, 60, 0.120, reasoning_tokens=180),
    SimulatedModel(
        "sim-large", {"strings": 2.6, "logic": 2.6, "lookup": 3.4, "extraction": 3.3}, 2.9, 90, 0.080
    ),
)
"""Specialists that are cheap and excellent at some tasks, and an expensive generalist that is best overall.

Their prices are the rows of provider `simulator` in `data/models.csv`.
"""


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """What a simulated model says. `output_tokens` includes `reasoning_tokens`, as OpenAI counts."""

    text: str
    is_right: bool
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    latency_s: float
    finish_reason: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the fleet knows of one prompt."""

    task: Task
    wrong: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """A known prompt in what was asked; `cue` and `length` are of the words around it (`cues`)."""

    entry: _Entry
    cue: float = 0.0
    length: float = 1.0

    def right_probability(self, row: SimulatedModel) -> float:
        task = self.entry.task
        return row.right_probability(task.prompt.task, task.difficulty, cue=self.cue)


class Fleet:
    """Simulated models over tasks whose right answers they know. No I/O and no state.

    A prompt is known by its text, also where other words stand around it. A text is what is asked: the
    system message, if there is one, and the user's last message (`asked_text`).
    """

    def __init__(
        self, tasks: Iterable[Task], models: Sequence[SimulatedModel] = FLEET, *, seed: int = 0
    ) -> None:
        self.models: Mapping[str, SimulatedModel] = {model.name: model for model in models}
        self.seed = seed
        self._entries = _entries(tuple(tasks))
        self._longest_first = sorted(self._entries, key=len, reverse=True)

    def prompt_id(self, text: str) -> str:
        """The id of the prompt with this text; of a text that the fleet does not know, a digest of it."""
        found = self._found(text)
        if found is not None:
            return found.entry.task.prompt.prompt_id
        return f"unknown-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def failure_status(self, model: str, text: str, seed: int, *, n_earlier: int) -> int | None:
        """The HTTP status with which this request fails; None: it is answered.

        `n_earlier` counts the earlier requests for the same (model, text, seed).
        """
        row = self._model(model)
        if self._always_fails(row, text):
            return 500
        draw = self._draws(row.name, text, seed)[4]
        if n_earlier or draw >= row.transient_rate:
            return None
        return 503 if draw < row.transient_rate / 2 else 429

    def answer(self, model: str, text: str, seed: int, *, max_output_tokens: int) -> SimulatedAnswer:
        """What `model` says to `text` under the sampling seed `seed`, when it does not fail."""
        row = self._model(model)
        right, latency, length, choice, *_ = self._draws(row.name, text, seed)
        found = self._found(text)
        is_right = found is not None and right < found.right_probability(row)
        longer = 1.0 if found is None else found.length
        limit = min(max_output_tokens, MAX_OUTPUT_TOKENS)
        n_output = min(
            longer * _lognormal(row.output_tokens, row.output_sigma, length),
            MAX_OUTPUT_TOKENS - row.reasoning_tokens,
        )
        n_needed = max(round(n_output), 8) + row.reasoning_tokens
        said = _worked(
            None if found is None else found.entry, round(n_output), is_right=is_right, choice=choice
        )
        is_cut = n_needed > limit
        return SimulatedAnswer(
            text=said[: max(limit - row.reasoning_tokens, 0) * 4] if is_cut else said,
            is_right=is_right and not is_cut,
            input_tokens=_n_tokens(text) + 8,
            output_tokens=min(n_needed, limit),
            reasoning_tokens=min(row.reasoning_tokens, limit),
            latency_s=longer * _lognormal(row.latency_s, row.latency_sigma, latency),
            finish_reason="length" if is_cut else "stop",
        )

    def probabilities(self, model: str, prompts: Sequence[Prompt]) -> NDArray[np.float64]:
        """[N] the expected quality of `model` on each prompt: its probability of a right answer.

        It is 0 for a prompt that always fails, as an error counts as 0, and for one that the fleet does
        not know. A failure that a retry mends changes nothing.
        """
        row = self._model(model)
        expected = [self._expected_quality(row, asked_text(prompt.system, prompt.text)) for prompt in prompts]
        return np.array(expected, dtype=np.float64)

    def true_quality(self, model: str, prompts: Sequence[Prompt]) -> float:
        """The expected mean quality of `model` over `prompts`: what an experiment estimates.

        Raises:
            InsufficientDataError: there are no prompts.
        """
        if not prompts:
            raise InsufficientDataError(f"the true quality of {model} needs at least one prompt")
        return float(self.probabilities(model, prompts).mean())

    def true_difference(self, model: str, control: str, prompts: Sequence[Prompt]) -> float:
        """The expected mean of the paired differences in quality, `model` minus `control`."""
        return self.true_quality(model, prompts) - self.true_quality(control, prompts)

    def _model(self, name: str) -> SimulatedModel:
        row = self.models.get(name.removeprefix(f"{PROVIDER}/"))
        if row is None:
            raise ConfigError(f"no simulated model {name!r}; there are {', '.join(self.models)}")
        return row

    def _expected_quality(self, row: SimulatedModel, text: str) -> float:
        found = self._found(text)
        if found is None or self._always_fails(row, text):
            return 0.0
        return found.right_probability(row)

    def _found(self, text: str) -> _Found | None:
        """The known prompt in `text`, the longest if there are several."""
        entry = self._entries.get(text.strip())
        if entry is not None:
            return _Found(entry)
        for known in self._longest_first:
            if known in text:
                return _Found(self._entries[known], *combined(text.replace(known, " ", 1)))
        return None

    def _always_fails(self, row: SimulatedModel, text: str) -> bool:
        """A prompt that a model cannot answer it cannot answer in any words."""
        found = self._found(text)
        own = text.strip() if found is None else found.entry.task.prompt.text.strip()
        return _uniforms("persistent", str(self.seed), row.name, own)[0] < row.persistent_rate

    def _draws(self, model: str, text: str, seed: int) -> list[float]:
        return _uniforms("draw", str(self.seed), model, str(seed), text.strip())


def asked_text(system: str | None, text: str) -> str:
    """What a simulated model is asked, as one text."""
    return text if not system else f"{system}\n\n{text}"


_SENTENCES = (
    "Let me read the question once more and note what is asked.",
    "I take what is given, one item after the other.",
    "Each step follows from the one before it.",
    "Nothing that is not in the question is needed here.",
    "Putting these together leaves only one result.",
    "A check in the opposite direction gives the same.",
)
_NORMAL = NormalDist()
_N_PEERS = 40


def _entries(tasks: Sequence[Task]) -> dict[str, _Entry]:
    peers: dict[str | None, list[str]] = {}
    for task in tasks:
        if task.prompt.reference is not None:
            peers.setdefault(task.prompt.task, []).append(task.prompt.reference)
    entries = {}
    for number, task in enumerate(tasks):
        kin = peers.get(task.prompt.task, [])
        start = number * 7 % max(len(kin), 1)
        nearby = (kin[start:] + kin[:start])[:_N_PEERS]
        entries[task.prompt.text.strip()] = _Entry(task, wrong_answers(task.prompt.reference or "", nearby))
    return entries


def _worked(entry: _Entry | None, n_tokens: int, *, is_right: bool, choice: float) -> str:
    """A text of about `n_tokens` tokens that ends in the answer."""
    if entry is None:
        return "This simulated model does not know this prompt and cannot answer it.\nAnswer: unknown"
    wrong = entry.wrong[int(choice * len(entry.wrong))]
    answer = f"Answer: {entry.task.prompt.reference if is_right else wrong}"
    room = n_tokens - _n_tokens(answer)
    working: list[str] = []
    while room > 0:
        working.append(_SENTENCES[len(working) % len(_SENTENCES)])
        room -= _n_tokens(working[-1])
    return "\n".join([" ".join(working), answer]) if working else answer


def _n_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes, rounded up: close to what tokenizers make of English."""
    return -(-len(text.encode()) // 4)


def _lognormal(median: float, sigma: float, uniform: float) -> float:
    return median * math.exp(sigma * _NORMAL.inv_cdf(min(max(uniform, 1e-9), 1 - 1e-9)))


def _uniforms(*parts: str) -> list[float]:
    """[8] independent numbers in [0, 1) that depend on `parts` alone."""
    digest = hashlib.blake2b("\0".join(parts).encode()).digest()
    return [int.from_bytes(digest[at : at + 8], "big") / 2.0**64 for at in range(0, 64, 8)]
