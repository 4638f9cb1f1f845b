"""JSON from outside, read once, with care: whatever a server sends, the answer is a value or one error."""

import json
import math
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from workbench.errors import ConfigError

JsonObject = Mapping[str, Any]
"""What `json` made of an object; its values are looked at through the functions here."""


class JsonError(ValueError):
    """Not JSON, or not of the shape that was promised; the message says which, without the content."""


def parse_object(text: str) -> JsonObject:
    """The JSON object in `text`.

    Raises:
        JsonError: it is not JSON (NaN and Infinity are not), nested too deeply, or not an object.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:  # includes numbers with thousands of digits
        problem = "not JSON"
    else:
        if isinstance(value, dict):
            return value
        problem = f"JSON, but {_kind(value)} where an object belongs"
    raise JsonError(problem)


def decode_utf8(body: bytes) -> str:
    """`body` as text, a byte order mark taken off.

    Raises:
        JsonError: it is not UTF-8.
    """
    try:
        return body.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        problem = "not UTF-8"
    raise JsonError(problem)


def text_of(parent: JsonObject, name: str) -> str | None:
    """The string `name`; None: it is absent, null or not a string."""
    value = parent.get(name)
    return value if isinstance(value, str) else None


def object_of(parent: JsonObject, name: str) -> JsonObject | None:
    """The object `name`; None: it is absent, null or not an object."""
    value = parent.get(name)
    return value if isinstance(value, dict) else None


def objects_of(parent: JsonObject, name: str) -> Sequence[JsonObject]:
    """The objects in the array `name`; empty where there is no such array."""
    value = parent.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def count_of(parent: JsonObject, name: str, *, most: int = 2**53) -> int | None:
    """The count `name`; None: it is absent, or no whole number from 0 to `most`."""
    value = parent.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return int(value) if math.floor(value) == value else None


def number_of(parent: JsonObject, name: str) -> float | None:
    """The finite number `name`; None: it is absent or none."""
    value = parent.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def given_object(text: str, *, what: str) -> JsonObject:
    """The JSON object that a caller gave as text, such as a schema.

    Raises:
        ConfigError: `what` was given is something else.
    """
    try:
        return parse_object(text)
    except JsonError as exc:
        problem = str(exc)
    raise ConfigError(f"{what} is {problem}")


def is_encodable(text: str) -> bool:
    """Whether `text` can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(literal: str) -> NoReturn:
    raise ValueError(literal)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")
