"""What a model charges: rates in US dollars per million tokens, with where and since when they hold."""

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from workbench.errors import DataError
from workbench.types import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, the page they were read from and the day from which they hold.

    `date` is the first day on which the price is known to hold, `checked` the last day on which its source
    was seen to say so; None: `date`. A rate that is None is billed as its kind is: `cached_input` and
    `cache_write` as input, `reasoning` as output. A write to a cache that lives longer than the shortest
    offered can cost more than `cache_write`, which `Usage` does not tell apart.

    `batch_discount` is the share, in [0, 1], that an offline batch takes off input and output, and
    `batch_cache_discount` what it takes off reads from and writes to a cache; None: no batch price is known.

    `longer` is what a prompt of more than `longer.above_input_tokens` tokens costs, all of it, its answer
    included. Prices by the hour of the day are not modelled: a catalog has the dearest hour's.

    Raises:
        DataError: a rate is negative, infinite or not a number, or a discount is not in [0, 1].
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    source: str
    date: dt.date
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None
    batch_discount: float | None = None
    batch_cache_discount: float | None = None
    above_input_tokens: int = 0
    longer: "Price | None" = None
    checked: dt.date | None = None

    def __post_init__(self) -> None:
        for name in RATES:
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < math.inf:
                raise DataError(f"{name} is {rate}: negative or not a number")
        for name in DISCOUNTS:
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise DataError(f"{name} is {share}; it must be a share from 0 to 1")
        if self.longer is not None and self.longer.above_input_tokens <= self.above_input_tokens:
            raise DataError("above_input_tokens must grow from one tier of a price to the next")

    def cost_usd(self, usage: Usage) -> float:
        """What `usage` costs: each token once, at the rate of its kind and of the prompt's length.

        >>> from datetime import date
        >>> Price(1.0, 2.0, "here", date(2026, 1, 1)).cost_usd(Usage(500_000, 250_000))
        1.0
        """
        rates = self._reached(usage.input_tokens)[-1]
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        reasoned = min(usage.reasoning_tokens, usage.output_tokens)
        return (
            (usage.input_tokens - cached - written) * rates.input_usd_per_mtok
            + cached * _rate(rates.cached_input_usd_per_mtok, rates.input_usd_per_mtok)
            + written * _rate(rates.cache_write_usd_per_mtok, rates.input_usd_per_mtok)
            + (usage.output_tokens - reasoned) * rates.output_usd_per_mtok
            + reasoned * _rate(rates.reasoning_usd_per_mtok, rates.output_usd_per_mtok)
        ) / 1e6

    def bound_usd(self, input_tokens: int, output_tokens: int) -> float:
        """The most that so many tokens can cost, whatever is cached or reasoned of them.

        Fewer tokens never cost more than this, also where a shorter prompt has the dearer tier.
        """
        return max(
            (input_tokens * tier.dearest_input + output_tokens * tier.dearest_output) / 1e6
            for tier in self._reached(input_tokens)
        )

    @property
    def tiers(self) -> "Iterator[Price]":
        """This price, and those of longer prompts."""
        tier: Price | None = self
        while tier is not None:
            yield tier
            tier = tier.longer

    def _reached(self, input_tokens: int) -> "list[Price]":
        """The tiers of a prompt of this length and of shorter ones; the last is its own."""
        return [tier for tier in self.tiers if input_tokens > tier.above_input_tokens or tier is self]

    @property
    def dearest_input(self) -> float:
        """The most that one million tokens of a prompt cost."""
        cached, written = self.cached_input_usd_per_mtok, self.cache_write_usd_per_mtok
        return max(self.input_usd_per_mtok, cached or 0.0, written or 0.0)

    @property
    def dearest_output(self) -> float:
        """The most that one million tokens of an answer cost."""
        return max(self.output_usd_per_mtok, self.reasoning_usd_per_mtok or 0.0)

    @property
    def batch(self) -> "Price | None":
        """The price in an offline batch; None: none is known.

        A tier has the discount of its own, or that of the shorter prompts.

        >>> from datetime import date
        >>> price = Price(2.0, 8.0, "here", date(2026, 1, 1), batch_discount=0.5)
        >>> price.batch.input_usd_per_mtok, price.batch.output_usd_per_mtok
        (1.0, 4.0)
        """
        if self.batch_discount is None:
            return None
        return self._reduced(self.batch_discount, self.batch_cache_discount or 0.0)

    def _reduced(self, share: float, cache_share: float) -> "Price":
        share = share if self.batch_discount is None else self.batch_discount
        cache_share = cache_share if self.batch_cache_discount is None else self.batch_cache_discount
        rates = {
            name: rate * (1 - (cache_share if name in _CACHE_RATES else share))
            for name in RATES
            if (rate := getattr(self, name)) is not None
        }
        longer = None if self.longer is None else self.longer._reduced(share, cache_share)
        return replace(self, **rates, longer=longer, batch_discount=None, batch_cache_discount=None)


RATES = tuple(field.name for field in fields(Price) if field.name.endswith("_usd_per_mtok"))
"""The fields of a price that are US dollars per million tokens."""

DISCOUNTS = ("batch_discount", "batch_cache_discount")
_CACHE_RATES = ("cached_input_usd_per_mtok", "cache_write_usd_per_mtok")


def in_force(prices: "tuple[Price, ...]", on: dt.date) -> Price | None:
    """The price that holds on a day, of several; None: there are none.

    Before the first of them, the first: nothing nearer is known.
    """
    if len(prices) == 1:
        return prices[0]
    dated = sorted(prices, key=lambda price: price.date)
    begun = [price for price in dated if price.date <= on]
    return begun[-1] if begun else dated[0] if dated else None


def _rate(own: float | None, otherwise: float) -> float:
    return otherwise if own is None else own
