"""What a spec may say of its scorer, and how it is told that it may not."""

from pathlib import Path

import pytest

from workbench.errors import ConfigError
from workbench.scoring import local_scorer, read_options


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("normalised", "normalised"),
        ({"kind": "numeric"}, "numeric"),
        ({"kind": "numeric", "relative_tolerance": 1e-6}, "numeric"),
        (
            {"kind": "numeric", "relative_tolerance": 0.01},
            {"kind": "numeric", "relative_tolerance": 0.01},
        ),
        ({"kind": "json_schema", "schema": "s.json"}, {"kind": "json_schema", "schema": "s.json"}),
        (
            {"kind": "judge", "model": "a/b", "rubric": "Is it right?", "scale": " 0 - 10"},
            {"kind": "judge", "model": "a/b", "rubric": "Is it right?", "scale": "0-10"},
        ),
    ],
)
def test_a_scorer_is_kept_as_briefly_as_it_can_be_written(written: object, kept: object) -> None:
    options = read_options(written)
    assert options.written == kept
    assert read_options(options.written) == options


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("numerc", r"no scorer 'numerc' \(did you mean 'numeric'\?\); known are answer,"),
        ({"kind": "exact", "case": True}, "the scorer exact has no option 'case'; it has none"),
        (
            {"kind": "numeric", "relativ_tolerance": 0.1},
            r"'relativ_tolerance' \(did you mean 'relative_tolerance'\?\); it has relative_tolerance, abs",
        ),
        ({"kind": "numeric", "relative_tolerance": -1}, "relative_tolerance: Input should be greater"),
        ("judge", "the scorer judge needs the option 'model'"),
        ({"kind": "judge", "model": "a/b", "rubric": "right?", "scale": "5-1"}, "the worst first"),
        ({"kind": "judge", "model": "gpt", "rubric": "right?"}, "the scorer judge: model:"),
        ({"kind": "regex", "pattern": "(a"}, "no regular expression"),
        ({"kind": "regex", "pattern": "a" * 1001}, "at most 1000"),
        ({"pattern": "a"}, "a mapping with a `kind`"),
        (["exact"], "a mapping with a `kind`"),
    ],
)
def test_a_scorer_that_cannot_be_is_one_clear_error(written: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read_options(written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "response", "quality"),
    [
        ({"relative_tolerance": 0.01}, "about 101", 1.0),
        ({"relative_tolerance": 0.01}, "about 101.1", 0.0),
        ({"absolute_tolerance": 2}, "102", 1.0),
        ({"absolute_tolerance": 2}, "97.9", 0.0),
        ({}, "100.00001", 1.0),
        ({}, "100.001", 0.0),
    ],
)
def test_a_number_may_be_off_by_the_tolerance(
    options: dict[str, float], response: str, quality: float
) -> None:
    scorer = local_scorer(read_options({"kind": "numeric", **options}), folder=Path())
    assert scorer is not None
    assert scorer.score(response, "100") == quality
