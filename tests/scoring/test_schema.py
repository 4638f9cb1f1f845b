"""Answers held against a JSON schema; the library jsonschema is the reference for what the standard says."""

import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ConfigError
from workbench.scoring.schema import schema_validator

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "uniqueItems": True},
        "next": {"$ref": "#"},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([1.0, 0.5, "Ann", "ann"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "age", "tags", "x-a", "y", "next"]), inner, max_size=4),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_an_answer_is_valid_where_the_library_says_so(value: Any) -> None:
    validate = schema_validator(PERSON)
    assert validate(json.dumps(value)) == float(jsonschema.Draft202012Validator(PERSON).is_valid(value))


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ('Here it is:\n```json\n{"name": "Ann"}\n```\nBye.', 1.0),
        ('```\n{"name": "ann"}\n```', 0.0),
        ('{"name": "Ann"} and more', 0.0),
        ('{"name": "Ann", "age": NaN}', 0.0),
        ("", 0.0),
        ('{"next":' * 3_000, 0.0),
        ('{"name": "Ann", "next": ' * 400 + '{"name": "Ann"}' + "}" * 400, 0.0),
    ],
    ids=["fenced", "invalid", "not-only-json", "nan", "empty", "torn", "deep"],
)
def test_the_json_is_the_whole_answer_or_its_last_block(response: str, quality: float) -> None:
    assert schema_validator(PERSON)(response) == quality


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "objekt"}, "no JSON schema: at type"),
        ([], "is an object"),
        ({"properties": {"a": {"$ref": "https://example.org/s.json"}}}, "nothing is fetched"),
        ({"$ref": "#/$defs/a"}, "not in it"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "without end"),
        ({"pattern": "("}, "no regular expression"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_before_the_run(schema: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        schema_validator(schema)


def test_a_pattern_that_never_ends_leaves_the_answer_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.scoring import schema
    from workbench.scoring.pattern import Searcher

    searcher = Searcher(limit_s=0.3)
    monkeypatch.setattr(schema, "SEARCHER", searcher)
    assert schema_validator({"pattern": "(a|a)*$"})(json.dumps("a" * 40 + "b")) is None
    searcher.close()


def test_many_items_are_compared_in_linear_time() -> None:
    items = json.dumps([[n] if n % 2 else {"n": n} for n in range(15_000)])
    started = time.process_time()
    assert schema_validator({"uniqueItems": True})(items) == 1.0
    assert time.process_time() - started < 10.0
