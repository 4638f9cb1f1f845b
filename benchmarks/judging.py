"""How often the intervals of judges, rankings and subgroups hold the truth: run by `statistics.py judges`.

Each world is drawn `--n-runs` times from a known truth. A line is marked "low" where the share of intervals
at level 95 % that hold it is more than 3 Monte-Carlo errors below, and "wide" where it is as far above.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np

from workbench.stats.agreement import cohen_kappa, gwet_ac1, rating_counts
from workbench.stats.estimate import Estimate
from workbench.stats.judge import judge_accuracy, rogan_gladen
from workbench.stats.krippendorff import krippendorff_alpha
from workbench.stats.missing import manski_bounds
from workbench.stats.prediction_powered import ppi_mean, ppi_paired_difference
from workbench.stats.ranking import bradley_terry_counts
from workbench.stats.subgroups import subgroup_effects

World = Callable[[np.random.Generator], bool]
"""One draw: whether the interval holds the truth."""


def judges(arguments: argparse.Namespace) -> None:
    """Coverage of prediction-powered means, agreement, rankings, bounds and subgroups."""
    random = np.random.default_rng(arguments.seed)
    error = 3.0 * math.sqrt(0.95 * 0.05 / arguments.n_runs)
    for name, world in _worlds().items():
        if arguments.only not in name:
            continue
        share = sum(world(random) for _ in range(arguments.n_runs)) / arguments.n_runs
        mark = "low" if share < 0.95 - error else "wide" if share > 0.95 + error else ""
        print(f"{name:48s} {100 * share:6.2f} % {mark}")


def _worlds() -> dict[str, World]:
    worlds: dict[str, World] = {}
    for n in (20, 30, 200, 2000):
        for accuracy in (0.7, 0.9):
            worlds[f"PPI++ mean, judge right in {accuracy:.0%}, n {n}"] = _ppi(n, accuracy, 0.7)
            worlds[f"PPI++ difference, judge right in {accuracy:.0%}, n {n}"] = _ppi_pair(n, accuracy)
    for n_clusters in (10, 30):
        worlds[f"PPI++ mean, {n_clusters} clusters of 10"] = _ppi_clusters(n_clusters)
    for n in (30, 200, 2000):
        worlds[f"Cohen's kappa, n {n}"] = _agreement(n, "kappa")
        worlds[f"Gwet's AC1, n {n}"] = _agreement(n, "ac1")
        worlds[f"Rogan-Gladen, {n} labels of each kind"] = _prevalence(n)
        worlds[f"Manski, n {n}"] = _worst_case(n)
        worlds[f"Bradley-Terry difference, {n} a pair"] = _strength(n)
        worlds[f"Bradley-Terry, all ranks, {n} a pair"] = _ranks(n)
        worlds[f"six subgroups of {n}, all together"] = _subgroups(n)
    for n in (30, 200):
        worlds[f"Krippendorff's alpha, n {n}"] = _agreement(n, "alpha")
    return worlds


def _holds(interval: Estimate, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def _verdicts(
    random: np.random.Generator, n: int, accuracy: float, quality: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n] labels, [n] verdicts, and [2000] verdicts of prompts without labels."""
    truth = (random.random(n + 2000) < quality).astype(float)
    verdict = np.where(random.random(n + 2000) < accuracy, truth, 1.0 - truth)
    return truth[:n], verdict[:n], verdict[n:]


def _ppi(n: int, accuracy: float, quality: float) -> World:
    return lambda random: _holds(ppi_mean(*_verdicts(random, n, accuracy, quality)).estimate, quality)


def _ppi_pair(n: int, accuracy: float) -> World:
    def world(random: np.random.Generator) -> bool:
        arms = [_verdicts(random, n, accuracy, quality) for quality in (0.7, 0.6)]
        columns = [np.stack(part, axis=1) for part in zip(*arms, strict=True)]
        return _holds(ppi_paired_difference(*columns).estimate, 0.1)

    return world


def _ppi_clusters(n_clusters: int) -> World:
    def world(random: np.random.Generator) -> bool:
        group = np.repeat(np.arange(n_clusters + 100), 10)
        n = 10 * n_clusters
        truth = random.normal(size=n_clusters + 100)[group] + random.normal(size=len(group))
        judged = truth + random.normal(size=len(group))
        result = ppi_mean(
            truth[:n], judged[:n], judged[n:], clusters=group[:n], unlabelled_clusters=group[n:]
        )
        return _holds(result.estimate, 0.0)

    return world


def _agreement(n: int, statistic: str) -> World:
    """Two raters who say 1 with probability 0.4 and 0.44, and agree with 0.8."""
    mean = (0.4 + 0.44) / 2.0
    chance = {
        "kappa": 0.4 * 0.44 + 0.6 * 0.56,
        "ac1": 2.0 * mean * (1.0 - mean),
        "alpha": mean**2 + (1.0 - mean) ** 2,
    }[statistic]
    truth = (0.8 - chance) / (1.0 - chance)

    def world(random: np.random.Generator) -> bool:
        first = (random.random(n) < 0.4).astype(int)
        second = np.where(random.random(n) < 0.2, 1 - first, first)
        both = np.stack([first, second])
        if statistic == "kappa":
            return _holds(cohen_kappa(first, second).estimate, truth)
        if statistic == "ac1":
            return _holds(gwet_ac1(rating_counts(both, categories=[0, 1])).estimate, truth)
        return _holds(krippendorff_alpha(both, n_resamples=500).estimate, truth)

    return world


def _prevalence(n: int) -> World:
    def world(random: np.random.Generator) -> bool:
        hits, rejections = random.binomial(n, 0.9), random.binomial(n, 0.85)
        verdicts = np.repeat([1, 0, 0, 1], [hits, n - hits, rejections, n - rejections])
        judge = judge_accuracy(verdicts, np.repeat([1, 0], [n, n]))
        n_positive = int(random.binomial(500, 0.3 * 0.9 + 0.7 * 0.15))
        return _holds(rogan_gladen(n_positive, 500, judge=judge).estimate, 0.3)

    return world


def _worst_case(n: int) -> World:
    """All that is missing is a failure of the treatment: the truth is at the lower bound."""

    def world(random: np.random.Generator) -> bool:
        treatment, control = (random.random((2, n)) < [[0.7], [0.5]]).astype(float)
        seen = np.where((treatment == 0.0) & (random.random(n) < 0.3), np.nan, treatment)
        return _holds(manski_bounds(seen, control).interval, 0.2)

    return world


def _wins(random: np.random.Generator, strength: np.ndarray, n: int) -> np.ndarray:
    chance = 1.0 / (1.0 + np.exp(np.subtract.outer(-strength, -strength)))
    upper = np.triu(random.binomial(n, chance), k=1)
    return np.asarray(upper + np.tril(n - upper.T, k=-1))


def _strength(n: int) -> World:
    strength = np.array([0.6, 0.2, -0.2, -0.6])
    return lambda random: _holds(
        bradley_terry_counts(_wins(random, strength, n)).difference(0, 2).estimate, 0.8
    )


def _ranks(n: int) -> World:
    strength = np.array([0.4, 0.2, 0.0, -0.2, -0.4])

    def world(random: np.random.Generator) -> bool:
        fit, ranks = bradley_terry_counts(_wins(random, strength, n)), np.arange(1, 6)
        return bool(((fit.rank_low <= ranks) & (ranks <= fit.rank_high)).all())

    return world


def _subgroups(n: int) -> World:
    def world(random: np.random.Generator) -> bool:
        values = random.normal(size=6 * n)
        effects = subgroup_effects(values, np.repeat(np.arange(6), n), bounds=(-99.0, 99.0)).effects
        return all(_holds(effect.simultaneous, 0.0) for effect in effects)

    return world
