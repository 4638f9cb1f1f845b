"""The vocabulary: the frozen values that flow between modules. Read this first.

A prompt goes to a router, which makes a decision; a client asks a provider, which answers with a
completion; a scorer gives it a quality; together they are one outcome, one row of the outcome table.
"""

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
"""Why a model stopped; a reason that is none of the known ones is `other`, kept raw in `Completion`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what a scorer compares the answer with.

    `prompt_id` is unique in a prompt set. Prompts that share a `cluster` (one document, one
    template) are not independent, and the statistics treat them so; None: the prompt stands alone.
    `reference` is the right answer; None: there is none to compare with.
    """

    prompt_id: str
    text: str
    task: str | None = None
    cluster: str | None = None
    reference: str | None = None
    system: str | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation to send: the system message, where there is one, then the user's.

        >>> Prompt("p1", "2 + 2?").messages
        (Message(role='user', content='2 + 2?'),)
        """
        user = Message("user", self.text)
        return (user,) if self.system is None else (Message("system", self.system), user)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a model is asked to answer; None leaves a setting to the provider."""

    max_output_tokens: int = 512
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `is_estimated`: the provider reported none, and these are an upper guess."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent, whether it was answered or not: a line of the client's ledger.

    `error` is None for an answer, else the name of the error's class. `cost_usd` is what the attempt
    is known to have cost: 0.0 for a request that failed before an answer, None when the model has no
    price. `started_s` is on a monotonic clock.
    """

    model_id: str
    number: int
    started_s: float
    latency_s: float
    cost_usd: float | None
    usage: Usage | None
    error: str | None
    prompt_id: str = ""
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: made only when the provider said that it was finished.

    `model` is what was asked for, `served_model` what the provider says answered. `cost_usd` is None
    until the client has priced it (or when the model has no price). `first_token_s` is None for a
    call that was not streamed. `attempts` is every request behind this answer, the last one included.
    """

    text: str
    model: str
    served_model: str
    provider: str
    usage: Usage
    latency_s: float
    finish_reason: FinishReason
    raw_finish_reason: str = "stop"
    cost_usd: float | None = None
    first_token_s: float | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def model_id(self) -> str:
        """`provider/model`, the name by which the catalog and the client know the model."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed answer; the last one carries the whole `completion` and no text."""

    text: str
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a router sends one prompt.

    `model_id` is a candidate's `provider/model`; `fallbacks` are asked next, in order, if it fails.
    `propensity` is the probability with which this router makes this choice for this prompt, 1.0 for
    a deterministic one; predictions are None where the router makes none.
    """

    model_id: str
    router: str
    fallbacks: tuple[str, ...] = ()
    propensity: float = 1.0
    predicted_quality: float | None = None
    predicted_cost_usd: float | None = None

    def __post_init__(self) -> None:
        if not (0.0 < self.propensity <= 1.0 and math.isfinite(self.propensity)):
            raise ValueError(f"propensity of {self.model_id} is {self.propensity}; it must be in (0, 1]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one arm did with one prompt: a row of the outcome table (`outcomes.COLUMNS` explains each)."""

    prompt_id: str
    arm: str
    model: str
    provider: str
    prompt: str | None = None
    task: str | None = None
    cluster: str | None = None
    response: str | None = None
    quality: float | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    propensity: float | None = None
    repeat: int = 0
    split: str | None = None
    price_date: str | None = None


def normalise(text: str) -> str:
    """Fold case and white space, so that prompts that differ in nothing else are one.

    >>> normalise("  What is\\n2 + 2? ")
    'what is 2 + 2?'
    """
    return " ".join(text.split()).casefold()
