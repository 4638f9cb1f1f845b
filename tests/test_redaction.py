"""What is taken for a key, and what is not."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ConfigError
from workbench.redaction import MASK, StreamMask, holds_secret, looks_secret, masked, refuse_secrets
from workbench.settings import Secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "x"),
        ("db-password", "x"),
        ("auth.token", "x"),
        ("note", "use sk-ant-api03-abcdefghijklmnop"),
        ("note", "AIzaSyA-1234567890abcdefghijklmnopqrstu"),
        ("note", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("note", "-----BEGIN RSA PRIVATE KEY-----"),
        ("note", "\\n\\tsk-ant-api03-abcdefghijklmnop"),
        ("note", "\x1b[38;5;28msk-ant-api03-abcdefghijklmnop"),
        ("note", '{"text": "\\\\nsk-ant-api03-abcdefghijklmnop"}'),
        ("note", '{"text": "\\\\u001b[0msk-ant-api03-abcdefghijklmnop"}'),
        ("limits", {"api_key": "x"}),
        ("limits", [{"deep": ["sk-ant-api03-abcdefghijklmnop"]}]),
        ("note", "q7Zx9Kp2Lm4Nv8Rt1Ws6Yb3Hd5Jf0Gc2Q"),
    ],
)
def test_keys_are_found_by_name_form_or_randomness(name: str, value: object) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_output_tokens", 512),
        ("token", 3),
        ("model", "together/Meta-Llama-3.1-405B-Instruct-Turbo"),
        ("digest", hashlib.sha256(b"").hexdigest()),
        ("path", "/home/user/experiments/2026-11-23/compare_models.yaml"),
        ("question", "Is the task-specific router better on riskier prompts?"),
        ("limits", {"max_output_tokens": 512, "stop": ["\\n"]}),
        ("note", "a risk-adjusted-and-otherwise-long-word"),
        ("api_key", ""),
        ("api_key", None),
    ],
)
def test_what_an_experiment_has_for_parameters_is_not_a_key(name: str, value: object) -> None:
    assert not looks_secret(name, value)


def test_a_key_of_this_environment_is_known_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "ordinary words")
    assert holds_secret("<p>with ordinary words in it</p>")


def test_a_refusal_names_the_parameter_and_never_the_value() -> None:
    with pytest.raises(ConfigError, match="parameter 'note' looks like a secret") as caught:
        refuse_secrets({"seed": 1, "note": "sk-canary1234567890abcd"}, what="parameter")
    assert "canary" not in str(caught.value)


def test_every_key_in_a_text_is_masked_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "ordinary words")
    passed = Secret("passed-as-an-argument")
    text = f"a {passed.get_secret_value()}, b\nsk-ant-api03-abcdefghijklmnop ordinary words. c"
    assert masked(text) == f"a {MASK}, b\n{MASK} {MASK}. c"


KEY = "abcabdab"


@given(text=st.text("abcd", max_size=40), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_a_text_in_pieces_is_masked_as_the_whole_is(text: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    mask = StreamMask(Secret(KEY))
    shown = [mask.feed(text[a:b]) for a, b in pairwise(bounds)]
    assert "".join([*shown, mask.rest()]) == text.replace(KEY, MASK)
    assert KEY not in "".join(shown)
