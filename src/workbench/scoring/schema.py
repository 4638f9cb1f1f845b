"""Scores by a JSON schema: whether the answer is JSON that follows it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from workbench.errors import ConfigError
from workbench.scoring.fenced import last_block
from workbench.scoring.pattern import SEARCHER, check_pattern

_LONGEST = 200_000
"""Characters of an answer; a longer one is not read, and follows no schema."""
_PROBES: tuple[Any, ...] = ({}, [], "", 0, None)
_PATTERN_KEYS = ("pattern", "patternProperties")

Validate = Callable[[str], float | None]


class _UndecidedError(Exception):
    """A pattern of the schema took too long to search."""


def schema_validator(schema: object) -> Validate:
    """A function that gives 1.0 for a text that is JSON and follows `schema`, else 0.0.

    The JSON is the whole text, or its last fenced block. None: it could not be decided, as a pattern of the
    schema took too long, or a part of it refers to what is not there. `format` is not checked, as the
    standard has it by default.

    Raises:
        ConfigError: it is no JSON schema, or refers to another document.

    Source: https://json-schema.org/draft/2020-12, by the library jsonschema.
    """
    if not isinstance(schema, Mapping | bool):
        raise ConfigError("a JSON schema is an object")
    _check_parts(schema)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as exc:
        place = ".".join(map(str, exc.absolute_path)) or "the top"
        raise ConfigError(f"this is no JSON schema: at {place}: {exc.message}") from exc
    checks = {"pattern": _pattern, "patternProperties": _pattern_properties, "uniqueItems": _unique}
    validator = extend(kind, checks)(schema, registry=Registry())
    _check_ends(validator)
    return lambda response: _validated(validator, response)


def _validated(validator: Any, response: str) -> float | None:  # Any: made by a function of the library
    try:
        return float(validator.is_valid(_read(response)))
    except (ValueError, RecursionError):
        return 0.0  # no JSON, or nested deeper than anything that anyone asks for
    except (_UndecidedError, Unresolvable):
        return None


def _read(response: str) -> Any:
    if len(response) > _LONGEST:
        raise ValueError("too long")
    try:
        return json.loads(response, parse_constant=_refused)
    except ValueError:
        return json.loads(last_block(response), parse_constant=_refused)


def _refused(literal: str) -> None:
    raise ValueError(f"{literal} is not JSON")


def _check_parts(schema: Any) -> None:  # Any: JSON
    """Every pattern must be one, and every reference must stay inside: nothing is fetched."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        waiting += part.values()
        reference = part.get("$ref", part.get("$dynamicRef"))
        if isinstance(reference, str) and not reference.startswith("#"):
            raise ConfigError(f"the schema refers to {reference!r}; put that under $defs, nothing is fetched")
        named = part.get("patternProperties")
        for pattern in [part.get("pattern"), *(named if isinstance(named, dict) else ())]:
            if isinstance(pattern, str):
                check_pattern(pattern)


def _check_ends(validator: Any) -> None:
    """
    Raises:
        ConfigError: the schema is defined by itself, or refers to what is not there.
    """
    for probe in _PROBES:
        try:
            validator.is_valid(probe)
        except RecursionError as exc:
            raise ConfigError("the schema refers to itself without end") from exc
        except Unresolvable as exc:
            raise ConfigError(f"the schema refers to what is not in it: {exc}") from exc


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _is_found(pattern, instance):
        yield ValidationError(f"{pattern!r} is not found")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for key, value in instance.items():
                if _is_found(pattern, key):
                    yield from validator.descend(value, part, path=key, schema_path=pattern)


def _unique(validator: Any, is_wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """In linear time; the library's own compares each pair where items cannot be sorted."""
    is_looked_at = is_wanted and isinstance(instance, list)
    if is_looked_at and len({_canonical(item) for item in instance}) < len(instance):
        yield ValidationError("two items are equal")


def _canonical(value: Any) -> str:
    """The same text for values that JSON schema has as equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _is_found(pattern: str, text: str) -> bool:
    found = SEARCHER.search(pattern, text)
    if found is None:
        raise _UndecidedError
    return found.is_match
