"""The vocabulary: the frozen values that flow between modules. Read this first.

A prompt goes to a router, which makes a decision; a client asks a provider, which answers with a
completion; a scorer gives it a quality; together they are one outcome, one row of the outcome table.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
"""Why a model stopped; a reason that is none of the known ones is `other`, kept raw in `Completion`."""


ReasoningEffort = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message: its bytes, or the address that the provider may fetch it from."""

    content: bytes = field(default=b"", repr=False)
    media_type: str = "image/png"
    url: str | None = None

    def __post_init__(self) -> None:
        if bool(self.content) == (self.url is not None):
            raise ValueError("an image has either content or a url")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may ask for; `parameters` is its JSON schema, as JSON text."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a function; `arguments` is JSON text as the model wrote it, which may be wrong."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """An answer in its provider's own words, as JSON text, which that provider wants back unchanged.

    There is one where a model signed or encrypted its thoughts: the signatures hold for the whole answer,
    and a provider refuses a conversation without them. Another provider is not sent it.
    """

    provider: str
    json: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    A message of the assistant may have asked for tools (`tool_calls`); one of role `tool` is the result
    of the call that `tool_call_id` names. Where there is a `verbatim`, its provider is sent that and not
    the content; `Completion.message` has it.
    """

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    verbatim: Verbatim | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what a scorer compares the answer with.

    `prompt_id` is unique in a prompt set. Prompts that share a `cluster` (one document, one
    template) are not independent, and the statistics treat them so; None: the prompt stands alone.
    `reference` is the right answer; None: there is none to compare with. `history` is the conversation
    before `text`, which may be empty where the last message of the history is to be answered.
    """

    prompt_id: str
    text: str
    task: str | None = None
    cluster: str | None = None
    reference: str | None = None
    system: str | None = None
    images: tuple[Image, ...] = ()
    history: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation to send: the system message, the history, then the user's text and images.

        >>> [message.role for message in Prompt("p1", "2 + 2?", system="Be brief.").messages]
        ['system', 'user']
        """
        first = () if self.system is None else (Message("system", self.system),)
        is_asked = bool(self.text or self.images or not self.history)
        last = (Message("user", self.text, self.images),) if is_asked else ()
        return (*first, *self.history, *last)

    def continued(self, answer: "Completion", *messages: Message) -> "Prompt":
        """The conversation after `answer` and what follows on it: results of its tool calls, or a question.

        >>> answer = Completion("4", "m", "m", "p", Usage(9, 1), 0.1, "stop")
        >>> asked = Prompt("p1", "2 + 2?").continued(answer, Message("user", "And twice that?"))
        >>> [message.content for message in asked.messages]
        ['2 + 2?', '4', 'And twice that?']
        """
        said = self.messages if self.system is None else self.messages[1:]
        return replace(self, text="", images=(), history=(*said, answer.message, *messages))


ANY_OBJECT = '{"type":"object"}'
"""As `Decoding.json_schema`: a JSON object of whatever form the prompt asks for."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a model is asked to answer; None leaves a setting to the provider.

    `tool_choice` is auto, none, required, or the name of one tool. `json_schema` is a JSON schema, as JSON
    text, that the answer must follow; `ANY_OBJECT` is any JSON object. `top_logprobs` asks for the
    log-probability of each token of the answer and of that many alternatives.
    """

    max_output_tokens: int = 512
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    json_schema: str | None = None
    top_logprobs: int | None = None
    reasoning_effort: ReasoningEffort | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer and its natural log-probability; `top` are the likeliest, itself included."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `is_estimated`: the provider reported none, and these are an upper guess.

    `input_tokens` counts all that were read: those taken from a cache (`cached_input_tokens`) and those
    put into one (`cache_write_tokens`) included. `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent, whether it was answered or not: a line of the client's ledger.

    `error` is None for an answer, else the name of the error's class. `cost_usd` is what the attempt
    is known to have cost: 0.0 for a request that failed before an answer, None when the model has no
    price. `started_s` is on a monotonic clock. `account` is the alias of the key, empty where there is
    but one. `first_token_s` is None where nothing came or nothing was streamed. `fallback_reason` is why
    the model that was asked for first did not answer: an error's class, or what kept it from being asked.
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
    account: str = ""
    first_token_s: float | None = None
    fallback_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: made only when the provider said that it was finished.

    `model` is what was asked for, `served_model` what the provider says answered. `cost_usd` is None
    until the client has priced it (or when the model has no price). `first_token_s` is None for a
    call that was not streamed. `attempts` is every request behind this answer, the last one included.
    `reasoning` is what the provider showed of the model's thoughts; it is not part of the answer.
    `is_cached`: it was paid for by an earlier call; `usage` is that call's, the cost and the latency are not.
    `verbatim`: None where the provider wants nothing back but the text and the calls.
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
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    is_cached: bool = False
    verbatim: Verbatim | None = None

    @property
    def model_id(self) -> str:
        """`provider/model`, the name by which the catalog and the client know the model."""
        return f"{self.provider}/{self.model}"

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, with the signatures of the thoughts behind it."""
        return Message("assistant", self.text, tool_calls=self.tool_calls, verbatim=self.verbatim)


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the tool call with this `index`; the id and the name come with its first piece."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed answer; the last one carries the whole `completion` and no text."""

    text: str
    completion: Completion | None = None
    reasoning: str = ""
    tool_call: ToolCallDelta | None = None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector for each text, in order. `cost_usd` as in `Completion`."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    served_model: str
    provider: str
    usage: Usage
    latency_s: float
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a router sends one prompt.

    `model_id` is a candidate's `provider/model`; `fallbacks` are asked next, in order, if it fails.
    `propensity` is the probability with which this router makes this choice for this prompt, 1.0 for
    a deterministic one; predictions are None where the router makes none. `familiarity` in [0, 1] is how much
    the prompt is like those that the router learned from.
    """

    model_id: str
    router: str
    fallbacks: tuple[str, ...] = ()
    propensity: float = 1.0
    predicted_quality: float | None = None
    predicted_cost_usd: float | None = None
    predicted_latency_s: float | None = None
    familiarity: float | None = None

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
