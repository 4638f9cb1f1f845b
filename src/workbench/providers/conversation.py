"""What a conversation becomes in a request, as far as all protocols do the same with it."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace

from workbench.errors import DataError
from workbench.providers.json_body import JsonError, JsonObject, parse_object
from workbench.types import Image, Message, Prompt, ToolCall


def as_sent_to(provider: str, prompt: Prompt) -> Prompt:
    """`prompt` without what other providers would want back verbatim, which nobody else can read."""
    if all(_is_known_to(provider, message) for message in prompt.history):
        return prompt
    history = tuple(
        message if _is_known_to(provider, message) else replace(message, verbatim=None)
        for message in prompt.history
    )
    return replace(prompt, history=history)


def verbatim_of(message: Message, prompt: Prompt) -> JsonObject | None:
    """What is to be sent in the place of `message`, as its protocol kept it; None: nothing was kept.

    Raises:
        DataError: it is no JSON object.
    """
    if message.verbatim is None:
        return None
    try:
        return parse_object(message.verbatim.json)
    except JsonError as exc:
        problem = f"a message whose verbatim is {exc}"
    raise DataError(f"prompt {prompt.prompt_id!r} has {problem}; leave it out, or take a completion's")


def image_url(image: Image) -> str:
    """Where a provider finds `image`: its address, or a URL that has it in it."""
    if image.url is not None:
        return image.url
    return f"data:{image.media_type};base64,{b64encode(image.content).decode()}"


def arguments_of(call: ToolCall, prompt: Prompt) -> JsonObject:
    """What `call` asks with, for a protocol that sends it as an object; no text at all asks with nothing.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        return parse_object(call.arguments or "{}")
    except JsonError as exc:
        problem = f"the arguments of the call {call.call_id!r} of {call.name!r} that are {exc}"
    raise DataError(f"prompt {prompt.prompt_id!r} has {problem}; this protocol takes a JSON object")


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value, the names of its fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def _is_known_to(provider: str, message: Message) -> bool:
    return message.verbatim is None or message.verbatim.provider == provider
