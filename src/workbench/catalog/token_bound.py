"""The most tokens that a request can have, known before it is sent: what a budget reserves money for."""

from workbench.types import Decoding, Message, Prompt

_TOKENS_PER_MESSAGE = 16
"""Upper bound of what a chat template adds around one message or one tool call."""

_TOKENS_PER_IMAGE = 32_768
"""Twice the most that a model is known to make of one image: 16,384 by Qwen2-VL
(https://huggingface.co/Qwen/Qwen2-VL-7B-Instruct), 14,364 by GPT-6, 4,005 by Claude 5.5 and 1,101 by Gemini 3
(measured up to 12 megapixels: https://huggingface.co/datasets/JOHNISKING/image-token-cost); 2026-11-23."""

_TOKENS_OF_INSTRUCTIONS = 1024
"""About twice the longest text that a provider is known to add so that a model can use tools: 530 tokens
(https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens, 2026-11-23). Taken again for a schema."""

_REWRITTEN = 2
"""JSON that a provider writes out anew, with spaces and line breaks, has at most so many tokens a byte."""


def token_bound(prompt: Prompt, decoding: Decoding | None = None) -> int:
    """More tokens than any tokenizer makes of `prompt`, and of the tools and the schema in `decoding`.

    Text counts a token a byte of UTF-8; an image counts more than any model makes of one, whatever its size.
    """
    asked = 0 if decoding is None else _bound_of_tools(decoding) + _bound_of_schema(decoding)
    return sum(map(_bound_of_message, prompt.messages)) + asked


def _bound_of_message(message: Message) -> int:
    n_texts = 1 + len(message.tool_calls)
    calls = sum(
        _n_bytes(call.call_id, call.name) + _REWRITTEN * _n_bytes(call.arguments)
        for call in message.tool_calls
    )
    verbatim = "" if message.verbatim is None else message.verbatim.json
    text = _n_bytes(message.content, message.tool_call_id or "", verbatim)
    return text + calls + _TOKENS_PER_MESSAGE * n_texts + _TOKENS_PER_IMAGE * len(message.images)


def _bound_of_tools(decoding: Decoding) -> int:
    if not decoding.tools:
        return 0
    tools = (_n_bytes(tool.name, tool.description, tool.parameters) for tool in decoding.tools)
    return _TOKENS_OF_INSTRUCTIONS + sum(_REWRITTEN * n_bytes + _TOKENS_PER_MESSAGE for n_bytes in tools)


def _bound_of_schema(decoding: Decoding) -> int:
    if decoding.json_schema is None:
        return 0
    return _TOKENS_OF_INSTRUCTIONS + _REWRITTEN * _n_bytes(decoding.json_schema)


def _n_bytes(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)
