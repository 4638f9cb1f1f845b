"""What changed between the catalog and what a provider or a price file says now."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from workbench.catalog.models import Catalog, ModelSpec
from workbench.catalog.price import DISCOUNTS, RATES, Price

_EQUAL = 1e-6
"""Relative difference below which two prices are one: files round differently."""


@dataclass(frozen=True, slots=True)
class Change:
    """One number of one model, before and after; None before: it was not known.

    `what` is a field of `Price` or `ModelSpec`, with the length of prompts that a tier begins after.
    """

    model_id: str
    what: str
    old: float | None
    new: float

    @property
    def percent(self) -> float | None:
        """The change in percent of the old value; None where there is none to compare with."""
        return 100 * (self.new / self.old - 1) if self.old else None


@dataclass(frozen=True, slots=True)
class Difference:
    """Models that only one side has, and numbers in which the two differ.

    `removed` are models that the catalog has and a provider does not list; `found` is all that it says.
    """

    added: tuple[ModelSpec, ...]
    removed: tuple[ModelSpec, ...]
    changes: tuple[Change, ...]
    found: Catalog

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changes)

    @property
    def updates(self) -> Catalog:
        """The models to write down: those that are new, and those of which a number changed."""
        changed = {change.model_id: self.found[change.model_id] for change in self.changes}
        return Catalog([*self.added, *changed.values()])


def difference(known: Catalog, found: Catalog, *, on: date) -> Difference:
    """What `found` says that `known` does not. What it leaves unsaid, a tier included, is no difference.

    A fact that is known stays; only prices change, and unknown facts become known. Only
    providers that `found` has models of are compared, at the prices in force on the day `on`.
    """
    providers = {spec.provider for spec in found}
    completed = Catalog(_with_facts_of(known.get(spec.model_id), spec) for spec in found)
    return Difference(
        added=tuple(spec for spec in completed if spec.model_id not in known),
        removed=tuple(spec for spec in known if spec.provider in providers and spec.model_id not in found),
        changes=tuple(
            change
            for spec in completed
            if (old := known.get(spec.model_id)) is not None
            for change in _changes(old, spec, on)
        ),
        found=completed,
    )


def _with_facts_of(known: ModelSpec | None, spec: ModelSpec) -> ModelSpec:
    """`spec` with the facts that are known already: two sources mean different things by a window."""
    if known is None:
        return spec
    return replace(
        spec,
        context_tokens=known.context_tokens or spec.context_tokens,
        max_output_tokens=known.max_output_tokens or spec.max_output_tokens,
        capabilities=known.capabilities or spec.capabilities,
        facts_source=known.facts_source or spec.facts_source,
    )


def _changes(old: ModelSpec, new: ModelSpec, on: date) -> Iterator[Change]:
    pairs: list[tuple[str, float | None, float | None]] = [
        (name, getattr(old, name), getattr(new, name)) for name in ("context_tokens", "max_output_tokens")
    ]
    was, becomes = old.price_on(on), new.price_on(on)
    if becomes is not None:
        pairs += _price_pairs(was, becomes)
    for what, before, after in pairs:
        is_same = before is not None and after is not None and math.isclose(before, after, rel_tol=_EQUAL)
        if after is not None and not is_same:
            yield Change(new.model_id, what, before, after)


def _price_pairs(old: Price | None, new: Price) -> Iterable[tuple[str, float | None, float | None]]:
    tiers = {tier.above_input_tokens: tier for tier in old.tiers} if old is not None else {}
    for tier in new.tiers:
        before = tiers.get(tier.above_input_tokens)
        above = f" above {tier.above_input_tokens:,} tokens" if tier.above_input_tokens else ""
        for name in (*RATES, *DISCOUNTS):
            yield name + above, None if before is None else getattr(before, name), getattr(tier, name)
