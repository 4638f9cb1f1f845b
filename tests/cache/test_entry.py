"""Entries: what is read is what was written, or it is nothing."""

import json

import pytest

from workbench.cache import decode, encode
from workbench.types import Completion, TokenLogprob, ToolCall, Usage

KEY = "a" * 64
COMPLETION = Completion(
    text="4 \N{GRINNING FACE}",
    model="m",
    served_model="m-2026",
    provider="openai",
    usage=Usage(10, 5, 3, 2, is_estimated=True, cache_write_tokens=1),
    latency_s=0.25,
    finish_reason="tool_calls",
    raw_finish_reason="tool_use",
    request_id="r1",
    tool_calls=(ToolCall("c1", "add", '{"a": 1}'),),
    logprobs=(TokenLogprob("4", -0.1, (("4", -0.1), ("5", -9.0))),),
    reasoning="Two and two.",
)


def entry() -> bytes:
    content = encode(KEY, COMPLETION)
    assert content is not None
    return content


def test_an_answer_comes_back_whole() -> None:
    assert decode(KEY, entry()) == COMPLETION


def test_every_altered_byte_is_noticed() -> None:
    content = entry()
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        assert decode(KEY, bytes(altered)) is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 200])
def test_a_torn_entry_is_nothing(length: int) -> None:
    assert decode(KEY, entry()[:length]) is None


def test_an_entry_of_another_key_is_nothing() -> None:
    assert decode("b" * 64, entry()) is None


def test_an_entry_of_other_fields_is_nothing_though_its_checksum_is_right() -> None:
    from workbench.cache import entry as module

    for body in (b"{}", b"[]", b"null", json.dumps({"text": 4}).encode(), b"\xff"):
        assert decode(KEY, module._digest(KEY, body) + body) is None


def test_text_that_json_cannot_carry_is_not_kept() -> None:
    from dataclasses import replace

    assert encode(KEY, replace(COMPLETION, text="half \ud83d")) is None
