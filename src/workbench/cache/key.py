"""What makes two calls one: a digest of everything that an answer depends on."""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from workbench.types import Decoding, Prompt

_VERSION = 1
"""To be raised when the same request comes to mean something else."""

_ADDED = {"verbatim"}
"""Fields that came later: a request without them has the key that it had before."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who answers: the provider's name, the address that is asked, and the protocol that is spoken."""

    provider: str
    url: str
    wire: str


def key_of(source: Source, model: str, prompt: Prompt, decoding: Decoding, *, namespace: str = "") -> str:
    """SHA-256, in hex, of all that an answer of `model` depends on, and of nothing else.

    Every message with its images and tools counts, and every field of `decoding`; what is not sent (the
    prompt's id, its reference, its task) does not.

    Args:
        namespace: answers of one are never found from another, such as those of two tenants.
    """
    request = {
        "version": _VERSION,
        "namespace": namespace,
        "source": _canonical(source),
        "model": model,
        "messages": _canonical(prompt.messages),
        "decoding": _canonical(decoding),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _canonical(value: object) -> Any:
    """`value` as JSON, the same for values that are equal: 0.0 is 0, and bytes are their digest."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: _canonical(getattr(value, field.name)) for field in fields(value)}
        return {name: one for name, one in named.items() if one is not None or name not in _ADDED}
    if isinstance(value, tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
