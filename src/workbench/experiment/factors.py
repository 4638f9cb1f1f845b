"""What each factor changes, and whether two together change more than the sum: of arms that combine them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd

from workbench.errors import InsufficientDataError
from workbench.experiment.analysis import FactorEffect
from workbench.experiment.design_columns import FACTOR, factors_of
from workbench.experiment.scores import Scores
from workbench.experiment.verdict import finding_of
from workbench.stats.multiplicity import holm
from workbench.stats.paired import paired_mean

_Weights = dict[str, float]
"""Of each arm, in a sum over arms that is one effect."""


def factor_effects(table: pd.DataFrame, observed: Scores, *, alpha: float) -> tuple[FactorEffect, ...]:
    """Main effects of the factors' levels against their first ones, and interactions of any two factors.

    A main effect is averaged over the combinations of the other factors that both levels occur in; an
    interaction is how much the effect of one factor differs between two levels of another. Both are of the
    prompts that all arms saw, and their p-values are corrected together (Holm). None with fewer than two
    factors that vary.
    """
    levels = _levels(table, observed.arms)
    whole = observed.quality[list(levels)].dropna() if levels else observed.quality.iloc[:0]
    if len(whole) < 2:
        return ()
    clusters = None if observed.clusters is None else observed.clusters[whole.index].to_numpy()
    drafts = []
    for name, is_interaction, weights in _effects(levels):
        values = sum(weight * whole[arm].to_numpy() for arm, weight in weights.items())
        reach = round(sum(abs(weight) for weight in weights.values()) / 2.0, 9)  # weights may be thirds
        try:
            mean = paired_mean(np.clip(values, -reach, reach), clusters, bounds=(-reach, reach))
        except InsufficientDataError:
            return ()
        drafts.append(
            FactorEffect(name, is_interaction, mean.interval(alpha), mean.p_value, 1.0, "undecided")
        )
    adjusted = holm([draft.p_value for draft in drafts])
    return tuple(
        replace(draft, p_adjusted=p, finding=finding_of(draft.difference.value, p, alpha=alpha))
        for draft, p in zip(drafts, adjusted, strict=True)
    )


def _levels(table: pd.DataFrame, arms: Sequence[str]) -> dict[str, dict[str, str]]:
    """The levels of each arm that has one for every factor that varies; empty with fewer than two factors."""
    columns = [f"{FACTOR}{factor}" for factor in factors_of(table)]
    firsts = (
        table.drop_duplicates("arm")
        .set_index("arm")[columns]
        .rename(columns=lambda name: name.removeprefix(FACTOR))
    )
    known = {
        arm: {str(factor): str(level) for factor, level in firsts.loc[arm].dropna().items()} for arm in arms
    }
    factors = [
        factor
        for factor in factors_of(table)
        if len({own[factor] for own in known.values() if factor in own}) > 1
    ]
    if len(factors) < 2:
        return {}
    whole = {arm: own for arm, own in known.items() if all(factor in own for factor in factors)}
    return {arm: {factor: own[factor] for factor in factors} for arm, own in whole.items()}


def _effects(levels: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, bool, _Weights]]:
    factors = list(next(iter(levels.values())))
    places = {factor: list(dict.fromkeys(own[factor] for own in levels.values())) for factor in factors}
    for factor in factors:
        for level in places[factor][1:]:
            weights = _contrast(levels, {factor: (level, places[factor][0])})
            if weights:
                yield f"{factor}: {level} - {places[factor][0]}", False, weights
    for first, second in combinations(factors, 2):
        for one, other in product(places[first][1:], places[second][1:]):
            changed = {first: (one, places[first][0]), second: (other, places[second][0])}
            weights = _contrast(levels, changed)
            if weights:
                yield f"{first} {one} x {second} {other}", True, weights


def _contrast(levels: Mapping[str, Mapping[str, str]], changed: Mapping[str, tuple[str, str]]) -> _Weights:
    """The weights of the arms in the effect of `changed`: factor by factor its new level and its first.

    Averaged over the combinations of the other factors in which all arms that it needs exist.
    """
    arm_of = {tuple(sorted(own.items())): arm for arm, own in levels.items()}
    groups: dict[tuple[tuple[str, str], ...], _Weights] = {}
    for own in levels.values():
        rest = {factor: level for factor, level in own.items() if factor not in changed}
        key = tuple(sorted(rest.items()))
        if key in groups:
            continue
        weights: _Weights = {}
        for signs in product((0, 1), repeat=len(changed)):
            chosen = {factor: pair[sign] for (factor, pair), sign in zip(changed.items(), signs, strict=True)}
            arm = arm_of.get(tuple(sorted((rest | chosen).items())))
            if arm is not None:
                weights[arm] = (-1.0) ** sum(signs)
        if len(weights) == 2 ** len(changed):
            groups[key] = weights
    return {arm: weight / len(groups) for group in groups.values() for arm, weight in group.items()}
