"""Structure features: each counts what its name says, at any length and in any script."""

import math
import time

import numpy as np
import pytest

from workbench.features import STRUCTURE_NAMES, structure


def of(text: str) -> dict[str, float]:
    return dict(zip(STRUCTURE_NAMES, structure([text])[0].tolist(), strict=True))


def test_a_question_with_options_is_counted_by_hand() -> None:
    found = of("Is 12 + 3.5 even?\nA. yes\nB) no\n(C) both")
    counts = {name: math.expm1(found[f"log_{name}"]) for name in ("chars", "words", "lines", "numerals")}
    assert counts == pytest.approx({"chars": 39, "words": 11, "lines": 4, "numerals": 2}, rel=1e-5)
    assert math.expm1(found["log_options"]) == pytest.approx(3, rel=1e-5)
    assert found["digit_share"] == pytest.approx(4 / 39)
    assert found["upper_share"] == pytest.approx(4 / 39)
    assert (found["has_question_mark"], found["has_code_fence"], found["has_latex"]) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("```python", "has_code_fence"),
        (r"\frac{1}{2}", "has_latex"),
        (r"so \( x \)", "has_latex"),
        ("the $x$ axis", "has_latex"),
        ("\u8fd9\u662f\u4ec0\u4e48\uff1f", "has_question_mark"),
    ],
)
def test_what_a_prompt_has_is_seen(text: str, name: str) -> None:
    assert of(text)[name] == 1.0


def test_prose_with_one_price_has_neither_code_nor_latex() -> None:
    found = of("It costs $5, at most. I. think. D, no option.")
    assert (found["has_code_fence"], found["has_latex"], found["code_share"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("plain words", "ascii_share"),
        ("\u00e9\u00fc\u00f1", "latin_1_share"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "cyrillic_share"),
        ("\u0645\u0631\u062d\u0628\u0627", "arabic_share"),
        ("\u4e2d\u6587\u3072\ud55c", "cjk_share"),
        ("\U0001f600\u0939", "other_script_share"),
    ],
)
def test_every_character_is_of_one_script(text: str, name: str) -> None:
    shares = {
        key: value
        for key, value in of(text).items()
        if key.endswith("_share") and key not in ("digit_share", "upper_share", "code_share")
    }
    assert shares == {key: float(key == name) for key in shares}


def test_a_prompt_has_the_same_structure_alone_and_in_any_batch() -> None:
    texts = ["A. one", "", "1) two?", "\ud800", "\0", "x" * 10_000, "```\n2"] * 3
    together = structure(texts)
    assert np.isfinite(together).all()
    assert np.array_equal(together, np.concatenate([structure([text]) for text in texts]))
    assert structure([]).shape == (0, len(STRUCTURE_NAMES))


def test_an_empty_prompt_is_all_zeros() -> None:
    assert not structure([""]).any()


def test_a_million_characters_take_at_most_20_ms() -> None:
    text = "1) \u4e2d?\n" * 170_000
    structure([text])
    took_s = []
    for _ in range(3):
        started_s = time.perf_counter()
        found = structure([text])
        took_s.append(time.perf_counter() - started_s)
    assert min(took_s) <= 0.02
    assert found[0, 0] == pytest.approx(math.log1p(len(text)), rel=1e-6)
