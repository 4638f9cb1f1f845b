"""What may be sent, and where to: base URLs, keys, headers and names are checked before anything is sent."""

import ipaddress
import re
from urllib.parse import urlsplit

import httpx

from workbench.errors import ConfigError
from workbench.settings import Secret

_SENDABLE = re.compile(r"[ -~\xa0-\xff]*")


def checked_base_url(base_url: str, *, provider: str, has_key: bool) -> str:
    """`base_url` without a slash at its end.

    Raises:
        ConfigError: it is not http or https with a host, has a user, password, query or fragment, or is
            plain http to somewhere else while there is a key.
    """
    problem = _problem_of(base_url)
    if problem is not None:
        raise ConfigError(f"the base URL of {provider} {problem}; give one like https://api.example.com/v1")
    parts = urlsplit(base_url)
    if has_key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"the base URL of {provider} is plain http to {parts.hostname}, and its key would travel in "
            "clear; use https, or no key"
        )
    return base_url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_sendable(text: str, *, what: str) -> None:
    """Refuse what could end a header early or cannot be in one.

    Raises:
        ConfigError: `text` is empty, or has a control character or one outside Latin-1.
    """
    if not text or not _is_sendable(text):
        raise ConfigError(f"{what} is empty or has a character that HTTP cannot carry: {text[:60]!r}")


def check_sendable_key(key: Secret, *, what: str) -> None:
    """Refuse a key that a header cannot carry, without showing it.

    Raises:
        ConfigError: it is empty, or has a space, a control character or one outside ASCII.
    """
    if not len(key) or not all("!" <= character <= "~" for character in key.get_secret_value()):
        raise ConfigError(f"{what} is empty or has characters that a header cannot carry; set it anew")


def _problem_of(base_url: str) -> str | None:
    """What is wrong with `base_url`, without repeating it: there may be a password in it."""
    if not _is_sendable(base_url) or " " in base_url:
        return "has a space, a control character or one outside Latin-1"
    try:
        parts = urlsplit(base_url)
        port = parts.port
        httpx.URL(base_url)
    except (ValueError, httpx.InvalidURL):
        return "is not a URL with a port from 1 to 65535"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is not http:// or https:// with a host and a port from 1 to 65535"
    if "@" in parts.netloc:
        return "has a user or password in it"
    return "has a query or fragment" if parts.query or parts.fragment else None


def _is_sendable(text: str) -> bool:
    return _SENDABLE.fullmatch(text) is not None
