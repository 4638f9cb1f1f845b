"""Tokens as a server counted them, and what is made of counts that are absent or cannot be."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.catalog import token_bound
from workbench.types import Decoding, Prompt, Usage

_IMPLAUSIBLE_FACTOR = 10
_IMPLAUSIBLE_FLOOR = 100_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens as the server counted them, with the meaning of `Usage`; None: it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None


def usage_of(counted: Counted, prompt: Prompt, decoding: Decoding, *, n_bytes: int) -> Usage:
    """What the server counted; where it is absent or absurd, the most that it can have been.

    Args:
        n_bytes: of the answer, with its thoughts and the arguments of its calls.
    """
    most_output = min(decoding.max_output_tokens, max(n_bytes, 1))
    read = _plausible(counted.input_tokens, lambda: token_bound(prompt, decoding), least=1)
    written = _plausible(counted.output_tokens, lambda: decoding.max_output_tokens, least=1 if n_bytes else 0)
    input_tokens = token_bound(prompt, decoding) if read is None else read
    output_tokens = most_output if written is None else written
    return Usage(
        input_tokens,
        output_tokens,
        _within(counted.cached_input_tokens, input_tokens),
        _within(counted.reasoning_tokens, output_tokens),
        is_estimated=read is None or written is None,
        cache_write_tokens=_within(counted.cache_write_tokens, input_tokens),
    )


def _plausible(count: int | None, bound: Callable[[], int], *, least: int) -> int | None:
    """The count, unless it is absurd: servers may add to a prompt, but not without measure.

    Some say 0 where they did not count, which would make an answer free.
    """
    if count is None or count < least:
        return None
    return count if count <= _IMPLAUSIBLE_FLOOR or count <= _IMPLAUSIBLE_FACTOR * bound() else None


def _within(count: int | None, most: int) -> int:
    return count if count is not None and 0 <= count <= most else 0
