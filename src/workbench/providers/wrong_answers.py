"""Plausible wrong answers: what a simulated model says when it does not know.

Each differs from the right one under any sensible scorer: a number by a tenth or more, a date by a day
or more, an object in every field.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

N_WRONG = 4
"""How many different wrong answers a prompt has, at most."""

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"(\d{1,2}):(\d{2})")


def wrong_answers(reference: str, peers: Sequence[str] = ()) -> tuple[str, ...]:
    """One to `N_WRONG` different answers that are not `reference`.

    `peers` are right answers of other prompts of the same kind, which are the most plausible mistakes
    where the answer is a word.

    >>> wrong_answers("42")
    ('46', '38', '84', '126')
    >>> wrong_answers("no", ["yes", "no"])
    ('yes',)
    """
    fields = _fields(reference)
    if fields is not None:
        variants: Iterable[str] = _wrong_objects(fields, [_fields(peer) or {} for peer in peers[:N_WRONG]])
    else:
        variants = _wrong_texts(reference, peers)
    chosen: dict[str, None] = {}
    for text in variants:
        if len(chosen) < N_WRONG and _is_wrong(text, reference):
            chosen[text] = None
    return tuple(chosen) or (f"not {reference[::-1]}",)


def _fields(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value else None


def _wrong_objects(fields: dict[str, Any], peers: Sequence[dict[str, Any]]) -> list[str]:
    return [
        json.dumps(
            {
                key: _wrong_value(value, nth, [peer.get(key) for peer in peers])
                for key, value in fields.items()
            }
        )
        for nth in range(N_WRONG)
    ]


def _wrong_value(value: Any, nth: int, peers: Sequence[Any]) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return json.loads(_times(Decimal(str(value)), nth))
    if isinstance(value, str):
        wrong = wrong_answers(value, [peer for peer in peers if isinstance(peer, str)])
        return wrong[nth % len(wrong)]
    if isinstance(value, list) and value:
        return value[: -1 - nth % len(value)]
    return "unknown"


def _wrong_texts(reference: str, peers: Sequence[str]) -> list[str]:
    if _DATE.search(reference):
        return [_DATE.sub(_later(days), reference, count=1) for days in (1, -1, 7, -30)]
    if _TIME.search(reference):
        return [_TIME.sub(_later_in_day(minutes), reference, count=1) for minutes in (60, -15, 30, 720)]
    if _NUMBER.search(reference):
        return [_NUMBER.sub(_scaled(nth), reference, count=1) for nth in range(N_WRONG)]
    items = [item.strip() for item in reference.split(",")]
    shorter = [", ".join(items[:-1]), ", ".join(items[1:])] if len(items) > 1 else []
    shape = _shape(reference)
    return shorter + sorted(peers, key=lambda peer: _shape(peer) != shape)


def _shape(text: str) -> tuple[bool, int, int]:
    """Whether there are digits, how many commas, and how many words: answers of one shape look alike."""
    return any(map(str.isdigit, text)), text.count(","), len(text.split())


def _scaled(nth: int) -> Callable[[re.Match[str]], str]:
    return lambda match: _times(Decimal(match.group().replace(",", "")), nth)


def _times(number: Decimal, nth: int) -> str:
    """`number` off by a tenth, at least one unit of its last place; doubled; tripled."""
    place = Decimal(1).scaleb(min(int(number.as_tuple().exponent), 0))
    step = max(abs(number) / 10, place).quantize(
        place, rounding="ROUND_UP" if abs(number) < 10 else "ROUND_HALF_UP"
    )
    step = max(step, place)
    wrong = (number + step, number - step, number * 2, number * 3)[nth]
    return f"{wrong if wrong != number else number + step * (nth + 1):f}"


def _later(days: int) -> Callable[[re.Match[str]], str]:
    def shifted(match: re.Match[str]) -> str:
        try:
            return (date.fromisoformat(match.group()) + timedelta(days=days)).isoformat()
        except (ValueError, OverflowError):  # digits in the shape of a date, such as 2024-13-45
            return match.group()

    return shifted


def _later_in_day(minutes: int) -> Callable[[re.Match[str]], str]:
    def shifted(match: re.Match[str]) -> str:
        hours, rest = divmod((int(match[1]) * 60 + int(match[2]) + minutes) % 1440, 60)
        return f"{hours:0{len(match[1])}d}:{rest:02d}"

    return shifted


def _is_wrong(text: str, reference: str) -> bool:
    """Neither equal when case, space and punctuation are ignored, nor a longer text that holds the answer."""
    folded, right = (re.sub(r"[^\w.,:-]+", " ", value).strip(" .,").casefold() for value in (text, reference))
    return bool(folded) and folded != right and (f" {right} " not in f" {folded} " or not right)
