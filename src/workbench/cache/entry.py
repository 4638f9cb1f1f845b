"""What is written of an answer: JSON with a checksum, so that what was altered is never served."""

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from workbench.types import Completion

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION = 1
"""Of what every store keeps; to be raised when older entries, or the places they are in, cannot be read."""

_DIGEST_BYTES = 32


def encode(key: str, completion: Completion) -> bytes | None:
    """`completion` as it is kept under `key`; None: it has something in it that JSON cannot carry."""
    try:
        body = _completions().dump_json(completion)
    except ValueError:  # half of a surrogate pair, from a provider that does not check its text
        return None
    return _digest(key, body) + body


def decode(key: str, content: bytes) -> Completion | None:
    """The answer in an entry that was kept under `key`; None: it is damaged, foreign, or of other fields.

    >>> decode("some key", b"anything else") is None
    True
    """
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if digest != _digest(key, body):
        return None
    try:
        return _completions().validate_json(body, strict=True)
    except ValueError:  # pydantic's ValidationError is one
        return None


def _digest(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + body).digest()


@lru_cache(maxsize=1)
def _completions() -> "TypeAdapter[Completion]":
    from pydantic import TypeAdapter  # here, as it takes half as long to import as httpx

    return TypeAdapter(Completion)
