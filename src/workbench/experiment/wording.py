"""How numbers and names are worded, once for the verdict, the terminal, the report and the notebooks."""

import unicodedata

from workbench.stats.estimate import Estimate

ABSENT = "-"
_KEPT = "\n\r\t\u200c\u200d"
"""Control and format characters that text needs: white space, and the joiners of Persian and of emoji."""


def percent(share: Estimate) -> str:
    """A share of 1 with its interval.

    >>> percent(Estimate(0.812, 0.79, 0.833))
    '81.2 % [79.0, 83.3]'
    """
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def points(difference: Estimate, *, sign: str = "+") -> str:
    """A difference of shares in percentage points, with its interval; `sign=""` shows no plus.

    >>> points(Estimate(0.004, -0.019, 0.027))
    '+0.4 points [-1.9, 2.7]'
    """
    low, high = _unsigned_zero(100 * difference.low), _unsigned_zero(100 * difference.high)
    value = _unsigned_zero(100 * difference.value)
    shown = f"{value:{sign}.1f}" if value else "0.0"
    return f"{shown} points [{low:.1f}, {high:.1f}]"


def times(ratio: Estimate) -> str:
    """A ratio with its interval.

    >>> times(Estimate(0.381, 0.36, 0.4)), times(Estimate(0.0223, 0.0218, 0.0230))
    ('0.38x [0.36, 0.40]', '0.022x [0.022, 0.023]')
    """
    digits = 3 if ratio.value < 0.1 else 2 if ratio.value < 10 else 0
    return f"{ratio.value:.{digits}f}x [{ratio.low:.{digits}f}, {ratio.high:.{digits}f}]"


def usd(amount: float | None) -> str:
    """US dollars, with as many digits as small amounts need; None (not known) is a dash.

    >>> usd(0.42), usd(0.00123), usd(1234.5), usd(None)
    ('$0.42', '$0.0012', '$1,234.50', '-')
    """
    if amount is None:
        return ABSENT
    if amount == 0.0 or amount >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.2g}" if amount >= 1e-4 else f"${amount:.1e}"


def seconds(duration_s: float | None) -> str:
    """Seconds; None (not measured) is a dash.

    >>> seconds(0.1234), seconds(12.34), seconds(None)
    ('0.12 s', '12.3 s', '-')
    """
    if duration_s is None:
        return ABSENT
    return f"{duration_s:.2f} s" if duration_s < 10 else f"{duration_s:.1f} s"


def seconds_interval(duration_s: Estimate) -> str:
    """Seconds with an interval, and a sign: what an arm takes longer than another.

    >>> seconds_interval(Estimate(-0.25, -0.3, -0.2))
    '-0.25 s [-0.30, -0.20]'
    """
    return f"{duration_s.value:+.2f} s [{duration_s.low:.2f}, {duration_s.high:.2f}]"


def p_value(p: float) -> str:
    """A p-value as text, never as zero.

    >>> p_value(0.0312), p_value(1e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "prompt"), count(2300, "prompt")
    ('1 prompt', '2,300 prompts')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def printable(text: str) -> str:
    r"""`text` without what could steer a terminal or reorder a line: control and format characters.

    >>> printable("\x1b[31mred\u202e")
    '[31mred'
    """
    return "".join(
        " " if character in "\n\r\t" else character
        for character in text
        if character in _KEPT or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )


def shortened(text: str, *, limit: int) -> str:
    """At most `limit` characters of `text`, lines kept, printable, saying how many were left out.

    >>> shortened("abcdef", limit=3)
    'abc… (3 more characters)'
    """
    lines = "\n".join(printable(line) for line in text[:limit].split("\n"))
    n_left = len(text) - limit
    return f"{lines}… ({n_left:,} more characters)" if n_left > 0 else lines


def _unsigned_zero(number: float) -> float:
    return 0.0 if round(number, 1) == 0.0 else number
