"""Keys: calls that could have different answers have different keys, and no others do."""

from dataclasses import fields, replace

import pytest

from workbench.cache import Source, key_of
from workbench.types import Decoding, Image, Message, Prompt, Tool, ToolCall

SOURCE = Source("openai", "https://api.openai.com/v1/chat/completions", "ChatCompletionsWire")
CALLED = Message("assistant", "", tool_calls=(ToolCall("c1", "add", '{"a": 1}'),))
RESULT = Message("tool", "3", tool_call_id="c1")
PROMPT = Prompt("p1", "2 + 2?", system="Be brief.", images=(Image(b"png"),), history=(CALLED, RESULT))
DECODING = Decoding(
    temperature=0.5, top_p=0.9, seed=1, stop=("END",), tools=(Tool("add"),), json_schema="{}", top_logprobs=2
)
OTHERS = {
    "max_output_tokens": 513,
    "temperature": 0.6,
    "top_p": None,
    "seed": 2,
    "stop": ("END", "STOP"),
    "tools": (Tool("add", "Adds two numbers."),),
    "tool_choice": "required",
    "json_schema": '{"type": "object"}',
    "top_logprobs": 3,
    "reasoning_effort": "low",
}
PROMPTS = {
    "text": replace(PROMPT, text="2 + 3?"),
    "system": replace(PROMPT, system="Be brief"),
    "no-system": replace(PROMPT, system=None),
    "image": replace(PROMPT, images=(Image(b"jpg"),)),
    "image-type": replace(PROMPT, images=(Image(b"png", "image/jpeg"),)),
    "image-url": replace(PROMPT, images=(Image(url="https://example.com/a.png"),)),
    "no-image": replace(PROMPT, images=()),
    "tool-arguments": replace(
        PROMPT, history=(replace(CALLED, tool_calls=(ToolCall("c1", "add", '{"a": 2}'),)), RESULT)
    ),
    "tool-result": replace(PROMPT, history=(CALLED, replace(RESULT, content="4"))),
    "tool-call-id": replace(PROMPT, history=(CALLED, replace(RESULT, tool_call_id="c2"))),
    "role": replace(PROMPT, history=(CALLED, replace(RESULT, role="user"))),
    "order": replace(PROMPT, history=(RESULT, CALLED)),
    "text-moved": Prompt("p1", "", system="Be brief.2 + 2?"),
}


def key(**changes: object) -> str:
    given: dict = {"source": SOURCE, "model": "m", "prompt": PROMPT, "decoding": DECODING} | changes
    return key_of(
        given["source"],
        given["model"],
        given["prompt"],
        given["decoding"],
        namespace=str(given.get("namespace", "")),
    )


def test_every_field_of_a_decoding_is_tried_here() -> None:
    assert list(OTHERS) == [field.name for field in fields(Decoding)]


@pytest.mark.parametrize("name", OTHERS)
def test_another_decoding_has_another_key(name: str) -> None:
    assert key(decoding=replace(DECODING, **{name: OTHERS[name]})) != key()


@pytest.mark.parametrize("name", PROMPTS)
def test_another_conversation_has_another_key(name: str) -> None:
    assert key(prompt=PROMPTS[name]) != key()


@pytest.mark.parametrize("field", ["provider", "url", "wire"])
def test_another_source_has_another_key(field: str) -> None:
    assert key(source=replace(SOURCE, **{field: "other"})) != key()


@pytest.mark.parametrize("changes", [{"model": "n"}, {"namespace": "tenant"}], ids=["model", "namespace"])
def test_another_model_or_tenant_has_another_key(changes: dict[str, str]) -> None:
    assert key(**changes) != key()


def test_no_two_of_all_these_share_a_key() -> None:
    decodings = [key(decoding=replace(DECODING, **{name: other})) for name, other in OTHERS.items()]
    prompts = [key(prompt=prompt) for prompt in PROMPTS.values()]
    assert len({key(), *decodings, *prompts}) == 1 + len(OTHERS) + len(PROMPTS)


def test_equal_content_has_one_key() -> None:
    same = replace(PROMPT, images=(Image(b"".join([b"p", b"ng"])),))
    assert key(prompt=same, decoding=replace(DECODING)) == key()
    assert key(decoding=Decoding(temperature=0)) == key(decoding=Decoding(temperature=0.0))


def test_what_is_not_sent_does_not_count() -> None:
    other = replace(PROMPT, prompt_id="p2", task="sums", cluster="c", reference="4")
    assert key(prompt=other) == key()


def test_half_of_a_surrogate_pair_has_a_key_too() -> None:
    assert key(prompt=Prompt("p", "\ud83d")) != key(prompt=Prompt("p", "\ud83e"))


def test_the_key_is_the_same_in_every_process() -> None:
    plain = key_of(SOURCE, "m", Prompt("p", "2 + 2?"), Decoding())
    assert plain == "6d8f1601322f599b4c7f58a74546d66add44f79293a324f185a8c7e1ef628336"
