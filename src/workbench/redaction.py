"""What is, or looks like, a key: asked before anything is written, and masked in what others wrote."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from workbench.errors import ConfigError
from workbench.settings import Secret, known_secrets

MASK = "**********"

_NAME = re.compile(
    r"(?i)(?:^|[^a-z])(?:api[_-]?key|access[_-]?key|private[_-]?key|token|password|passwd|secret|credentials?"
    r"|authorization|bearer)(?:[^a-z]|$)"
)
_VALUE = re.compile(
    # At the start of a word, also after a line break as JSON writes it, or after a terminal's colour.
    r"(?P<before>^|[^A-Za-z0-9]|\\[nrtbf]|(?:\x1b|\\u001b)\[[0-9;]*m)(?:"
    r"sk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"|AIza[A-Za-z0-9_-]{30,}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|(?:gsk|hf|r8)_[A-Za-z0-9]{20,}|(?:xai|pplx|nvapi|glpat)-[A-Za-z0-9_-]{20,}"
    r"|xox[abpr]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # a signed web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----)"
)
_WORD = re.compile(r"[A-Za-z0-9]{32,}")
SHORTEST_KEY = 8
"""A shorter one, such as the `EMPTY` that local servers are given, is no secret and may be a word."""
_RANDOM_BITS_PER_CHARACTER = 3.8
"""Random letters and digits have 4.5 and more, hexadecimal digests 4 (but no capitals), words 3.5."""


def looks_secret(name: str, value: object) -> bool:
    """Whether `value`, called `name`, may be a key: by its name, its form, its randomness, or by being one.

    What is inside a list or mapping is looked at too.

    >>> looks_secret("model", "openai/gpt-4o"), looks_secret("openai_api_key", "canary")
    (False, True)
    """
    if isinstance(value, Mapping):
        return any(looks_secret(f"{name}.{key}", inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(looks_secret(name, inner) for inner in value)
    text = "" if value is None else str(value)
    is_number = isinstance(value, int | float)
    is_named = bool(_NAME.search(name)) and bool(text) and not is_number
    return is_named or holds_secret(text) or any(_is_random(word) for word in _WORD.findall(text))


def holds_secret(text: str) -> bool:
    """Whether a key of a known form, or a key that this process has or could take, is in `text`."""
    return bool(_VALUE.search(text)) or holds_known_secret(text)


def holds_known_secret(*texts: str) -> bool:
    """Whether one of our own keys is in any of `texts`: of the environment, of `.env`, or an argument."""
    keys = [key for key in known_secrets() if len(key) >= SHORTEST_KEY]
    return any(key.get_secret_value() in text for key in keys for text in texts)


def masked(text: str) -> str:
    """`text` with every key in it masked, whether it is one of ours or has the form of one.

    >>> masked("use sk-ant-api03-abcdefghijklmnop")
    'use **********'
    """
    for key in known_secrets():
        if len(key) >= SHORTEST_KEY:
            text = text.replace(key.get_secret_value(), MASK)
    return _VALUE.sub(rf"\g<before>{MASK}", text)


def all_masked(texts: Sequence[str]) -> list[str]:
    """Each of `texts` as `masked` gives it, at the price of one: keys are looked up once. NUL is dropped."""
    return masked("\0".join(text.replace("\0", "") for text in texts)).split("\0") if texts else []


class StreamMask:
    """Masks one key in a text that comes in pieces, also where the key is cut between two of them.

    An end that may be the beginning of the key is held back until the next piece shows whether it is.
    """

    def __init__(self, key: Secret | None) -> None:
        self._key = key or Secret("")
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown of the text once `piece` has come."""
        if len(self._key) < SHORTEST_KEY:
            return piece
        text = (self._held + piece).replace(self._key.get_secret_value(), MASK)
        start = self._begun(text)
        self._held = text[start:]
        return text[:start]

    def rest(self) -> str:
        """What was held back, once the text has ended; most of a key is masked as well."""
        held, self._held = self._held, ""
        return MASK if len(held) >= SHORTEST_KEY else held

    def _begun(self, text: str) -> int:
        """Where the key may have begun at the end of `text`; the end where it has not."""
        start = max(0, len(text) - len(self._key) + 1)
        while (start := text.find(self._key.get_secret_value()[0], start)) >= 0:
            if self._key.get_secret_value().startswith(text[start:]):
                return start
            start += 1
        return len(text)


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


def _is_random(word: str) -> bool:
    kinds = (str.islower, str.isupper, str.isdigit)
    if not all(any(kind(character) for character in word) for kind in kinds):
        return False
    counts = Counter(word).values()
    bits = -sum(n / len(word) * math.log2(n / len(word)) for n in counts)
    return bits >= _RANDOM_BITS_PER_CHARACTER
