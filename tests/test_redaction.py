"""What is taken for a key, and what is not."""

import hashlib

import pytest

from workbench.errors import ConfigError
from workbench.redaction import holds_secret, looks_secret, refuse_secrets


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
        ("note", "q7Zx9Kp2Lm4Nv8Rt1Ws6Yb3Hd5Jf0Gc2Q"),
    ],
)
def test_keys_are_found_by_name_form_or_randomness(name: str, value: str) -> None:
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
