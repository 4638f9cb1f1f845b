"""What a router is to be good for, in the words that a person has, or as numbers."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal, get_args

from workbench.errors import ConfigError

Prefer = Literal["quality", "cost"]

FORMS = (
    "at most 2 USD per 1,000 prompts",
    "no worse than the best single model by more than 0.5 points",
    "p95 under 3 s",
    "as good as possible",
    "as cheap as possible",
)
"""What `parse_aim` understands, one or several joined by `;` or `and`; the numbers are examples."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Limits on what routing may do, and what is best within them. A limit that is None is not set.

    `max_usd_per_1000` is the mean cost of 1,000 prompts, `max_quality_loss_points` what may be lost against
    the best single model (a point is 0.01 of quality), `max_p95_s` the latency of all but one in 20 prompts.
    `prefer` None: the cheapest where a loss of quality is limited, else the best.

    Raises:
        ConfigError: a limit that cannot be kept, or none and no preference.
    """

    max_usd_per_1000: float | None = None
    max_quality_loss_points: float | None = None
    max_p95_s: float | None = None
    prefer: Prefer | None = None

    def __post_init__(self) -> None:
        for name in _LIMITS:
            self._check_limit(name)
        if self.prefer not in (None, *get_args(Prefer)):
            raise ConfigError(f"prefer is {self.prefer!r}; it must be one of {', '.join(get_args(Prefer))}")
        if all(getattr(self, name) is None for name in _FIELDS):
            raise ConfigError(f"an aim says something; set one of {', '.join(_FIELDS)}")

    @property
    def is_cheapest(self) -> bool:
        """Whether the cheapest way to keep the limits is wanted, and not the best."""
        return self.prefer == "cost" or (self.prefer is None and self.max_quality_loss_points is not None)

    def __str__(self) -> str:
        """The aim in words that `parse_aim` understands."""
        return "; ".join(_worded(self))

    def _check_limit(self, name: str) -> None:
        limit = getattr(self, name)
        if limit is None:
            return
        least_is_fine = name == "max_quality_loss_points"
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit)
        if not is_number or limit < 0.0 or (limit == 0.0 and not least_is_fine):
            raise ConfigError(f"{name} is {limit!r}; it must be a number {'>=' if least_is_fine else '>'} 0")


def parse_aim(text: str) -> Aim:
    """The aim that `text` states.

    >>> parse_aim("at most 2 USD per 1,000 prompts; p95 under 3 s")
    Aim(max_usd_per_1000=2.0, max_quality_loss_points=None, max_p95_s=3.0, prefer=None)

    Raises:
        ConfigError: it is not one of `FORMS` or several joined, says a thing twice, or contradicts itself.
    """
    stated: dict[str, float | str] = {}
    for clause in _JOINTS.split(text.strip()):
        name, value = _understood(clause, text)
        if name in stated:
            raise ConfigError(f"the aim {text!r} says twice what {_MEANING[name]}; say it once")
        stated[name] = value
    return Aim(**stated)  # type: ignore[arg-type]  # each value is of its field, by _CLAUSES


def read_aim(written: object) -> Aim:
    """The aim that a YAML file has: a text, or a mapping with the fields of `Aim`.

    Raises:
        ConfigError: as in `parse_aim` and `Aim`, or a key is not one of the fields.
    """
    if isinstance(written, Aim):
        return written
    if isinstance(written, str):
        return parse_aim(written)
    if not isinstance(written, Mapping):
        raise ConfigError(f"an aim is a text or a mapping, not {written!r}; {_forms()}")
    unknown = [str(name) for name in written if name not in _FIELDS]
    if unknown:
        raise ConfigError(f"an aim has no {unknown[0]!r}; it has {', '.join(_FIELDS)}")
    return Aim(**written)


_FIELDS = tuple(field.name for field in fields(Aim))
_LIMITS = _FIELDS[:-1]
_NUMBER = r"(?P<number>\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
_COUNT = r"(?P<count>\d+(?:,\d{3})*)?"
_UNDER = r"(?:at most|under|below|no more than|<=?)"
_LOSS = rf"(?:by )?(?:more than |at most )?{_NUMBER} ?(?:percentage )?points?"
_JOINTS = re.compile(r"\s*(?:;|,\s|\band\b)\s*", re.IGNORECASE)
_CLAUSES = {
    "max_usd_per_1000": (
        rf"(?:costs? )?{_UNDER} (?:\$ ?)?{_NUMBER} ?(?:usd|dollars?|\$)? (?:per|for|a) {_COUNT} ?prompts?",
    ),
    "max_quality_loss_points": (
        rf"no worse than (?:the )?best single(?: model)?(?: {_LOSS})?",
        rf"no more than {_NUMBER} points? (?:worse than|below) (?:the )?best single(?: model)?",
        rf"at most {_NUMBER} points? (?:worse than|below) (?:the )?best single(?: model)?",
    ),
    "max_p95_s": (rf"p95(?: latency)? {_UNDER} {_NUMBER} ?(?P<unit>ms|s|sec|seconds?)",),
    "quality": (r"as good as possible",),
    "cost": (r"as cheap as possible",),
}
_PATTERNS = [
    (name, re.compile(pattern, re.IGNORECASE)) for name, forms in _CLAUSES.items() for pattern in forms
]
_MEANING = {
    "max_usd_per_1000": "prompts may cost",
    "max_quality_loss_points": "quality may be lost",
    "max_p95_s": "the latency may be",
    "prefer": "is preferred",
}


def _understood(clause: str, text: str) -> tuple[str, float | str]:
    plain = " ".join(clause.split())
    for name, pattern in _PATTERNS:
        found = pattern.fullmatch(plain)
        if found is not None:
            said = found.groupdict()
            return ("prefer", name) if name in get_args(Prefer) else (name, _value(name, said))
    part = f" (of {text!r})" if plain != text.strip() else ""
    raise ConfigError(f"the aim {clause!r}{part} is not understood; {_forms()}")


def _value(name: str, said: Mapping[str, str | None]) -> float:
    number = float((said["number"] or "0").replace(",", ""))
    if name == "max_usd_per_1000":
        n_prompts = int((said["count"] or "1").replace(",", ""))
        if n_prompts == 0:
            raise ConfigError(f"an aim is for one prompt or more, not for 0; {_forms()}")
        return number * (1000 / n_prompts)
    return number / 1000 if (said.get("unit") or "").lower() == "ms" else number


def _worded(aim: Aim) -> list[str]:
    limits = {
        "at most {} USD per 1,000 prompts": aim.max_usd_per_1000,
        "no worse than the best single model by more than {} points": aim.max_quality_loss_points,
        "p95 under {} s": aim.max_p95_s,
    }
    words = [text.format(_plain(limit)) for text, limit in limits.items() if limit is not None]
    preference = {None: [], "quality": ["as good as possible"], "cost": ["as cheap as possible"]}
    return words + preference[aim.prefer]


def _plain(limit: float) -> str:
    """Without an exponent, which the forms do not have.

    >>> _plain(2.0), _plain(1e-07)
    ('2', '0.0000001')
    """
    return format(Decimal(repr(float(limit)).removesuffix(".0")), "f")


def _forms() -> str:
    return "understood are, also several joined by ';' or 'and': " + ", ".join(map(repr, FORMS))
