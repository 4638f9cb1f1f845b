"""What looks like a key: asked before anything is written to a notebook, a tracking store or a report."""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from workbench.errors import ConfigError

MASK = "**********"

_NAME = re.compile(
    r"(?i)(?:^|[^a-z])(?:api[_-]?key|access[_-]?key|private[_-]?key|token|password|passwd|secret|credentials?"
    r"|authorization|bearer)(?:[^a-z]|$)"
)
_VALUE = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"|AIza[A-Za-z0-9_-]{30,}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|(?:gsk|hf|r8)_[A-Za-z0-9]{20,}|(?:xai|pplx|nvapi|glpat)-[A-Za-z0-9_-]{20,}"
    r"|xox[abpr]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # a signed web token
    r")|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_WORD = re.compile(r"[A-Za-z0-9]{32,}")
_KEY_VARIABLE = re.compile(r"(?:_API_KEY|_TOKEN|_SECRET|_PASSWORD)$")
_SHORTEST_KEY = 8
_RANDOM_BITS_PER_CHARACTER = 3.8
"""Random letters and digits have 4.5 and more, hexadecimal digests 4 (but no capitals), words 3.5."""


def looks_secret(name: str, value: object) -> bool:
    """Whether `value`, called `name`, may be a key: by its name, its form, its randomness, or by being one.

    >>> looks_secret("model", "openai/gpt-4o"), looks_secret("openai_api_key", "canary")
    (False, True)
    """
    text = "" if value is None else str(value)
    is_number = isinstance(value, int | float)
    is_named = bool(_NAME.search(name)) and bool(text) and not is_number
    return is_named or holds_secret(text) or any(_is_random(word) for word in _WORD.findall(text))


def holds_secret(text: str) -> bool:
    """Whether a key of a known form, or the value of one of this environment's keys, is in `text`."""
    return bool(_VALUE.search(text)) or any(key in text for key in _environment_keys())


def refuse_secrets(values: Mapping[str, object], *, what: str) -> None:
    """Stop before anything that looks like a key is written.

    Raises:
        ConfigError: names the first of `values` that looks like a key, and never its value.
    """
    for name, value in values.items():
        if looks_secret(name, value):
            shown = MASK if holds_secret(name) else name
            raise ConfigError(
                f"{what} {shown!r} looks like a secret, and would be kept in plain text; "
                "leave it out and set the provider's key in the environment"
            )


def without_password(uri: str) -> str:
    """`uri` without the user and password it may hold.

    >>> without_password("https://me:canary@mlflow.example/path")
    'https://mlflow.example/path'
    """
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _environment_keys() -> list[str]:
    return [
        value
        for name, value in os.environ.items()
        if _KEY_VARIABLE.search(name) and len(value) >= _SHORTEST_KEY
    ]


def _is_random(word: str) -> bool:
    kinds = (str.islower, str.isupper, str.isdigit)
    if not all(any(kind(character) for character in word) for kind in kinds):
        return False
    counts = Counter(word).values()
    bits = -sum(n / len(word) * math.log2(n / len(word)) for n in counts)
    return bits >= _RANDOM_BITS_PER_CHARACTER
