"""What `statistics.py coverage` draws: samples with a known truth, and whether an interval holds it.

Scores are in [0, 1], costs in USD. Clusters are alike with an intraclass correlation of 0.3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from workbench.stats.beta_binomial import beta_binomial, paired_beta_binomial
from workbench.stats.bootstrap import bootstrap_mean, bootstrap_ratio
from workbench.stats.cuped import paired_cuped, two_sample_cuped
from workbench.stats.estimate import Estimate
from workbench.stats.multiplicity import bonferroni_intervals
from workbench.stats.paired import paired_mean
from workbench.stats.paired_proportions import paired_odds_ratio, tango
from workbench.stats.proportions import clopper_pearson, newcombe, wilson
from workbench.stats.quantiles import paired_quantile_difference, quantile
from workbench.stats.ratios import cost_per_correct, cost_per_correct_ratio, cost_ratio
from workbench.stats.relative import paired_relative_difference, two_sample_relative_difference
from workbench.stats.two_sample import two_sample_mean

Random = np.random.Generator
EVERYTHING = (-np.inf, np.inf)
UNEQUAL = {6: (30, 10, 10, 5, 5, 3), 30: (20, 10, 5, 2, 2, 1) * 5}
EQUAL = {6: (10,) * 6, 30: (7,) * 30}


@dataclass(frozen=True)
class Case:
    """`holds` draws one sample and says whether the interval holds the truth.

    `cost` is how many times fewer runs are done; `note` why the share may differ from the level.
    """

    name: str
    size: str
    holds: Callable[[Random], bool]
    cost: int = 1
    note: str = ""


def cases() -> Iterator[Case]:
    """All of them, by sample size and by number of clusters."""
    for n in (30, 200, 2000):
        for case in (*_means(n), *_proportions(n), *_resampled(n), *_ratios(n), *_quantiles(n)):
            yield Case(case.name, f"n = {n}", case.holds, case.cost, case.note)
    for n_clusters in (6, 30):
        for shape, sizes in (("equal", EQUAL[n_clusters]), ("unequal", UNEQUAL[n_clusters])):
            for case in _clustered(np.repeat(np.arange(n_clusters), sizes)):
                yield Case(case.name, f"{n_clusters} clusters, {shape}", case.holds, case.cost, case.note)


def _case(name: str, holds: Callable[[Random], bool], *, cost: int = 1, note: str = "") -> Case:
    return Case(name, "", holds, cost, note)


def _inside(interval: Estimate, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def _means(n: int) -> Iterator[Case]:
    m = n // 2
    yield _case(
        "paired mean, 0/1",
        lambda r: _inside(paired_mean(r.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=n)).interval(), 0.1),
    )
    yield _case(
        "paired mean, scores",
        lambda r: _inside(paired_mean(r.beta(3, 2, size=n) - r.beta(2, 2, size=n)).interval(), 0.1),
    )
    yield _case(
        "paired mean, exponential",
        lambda r: _inside(paired_mean(r.exponential(size=n), bounds=EVERYTHING).interval(), 1.0),
        note="t on skewed values: too short for few",
    )
    yield _case(
        "arm's quality, scores near 1",
        lambda r: _inside(paired_mean(r.beta(9, 1, size=n), bounds=(0.0, 1.0)).interval(), 0.9),
        note="t on skewed values: too short for few",
    )
    yield _case(
        "two-sample mean, Welch",
        lambda r: _inside(two_sample_mean(r.normal(size=n), 3.0 * r.normal(size=m)).interval(), 0.0),
    )
    yield _case("paired relative difference", lambda r: _relative_holds(r, n))
    yield _case(
        "two-sample relative difference",
        lambda r: _inside(
            two_sample_relative_difference(r.gamma(2.2, size=n), r.gamma(2.0, size=n)).interval(), 0.1
        ),
    )
    yield _case("paired CUPED", lambda r: _paired_cuped_holds(r, n))
    yield _case("two-sample CUPED", lambda r: _two_sample_cuped_holds(r, n))
    yield _case(
        "3 at once, Bonferroni",
        lambda r: all(
            _inside(interval, 0.0)
            for interval in bonferroni_intervals(
                [paired_mean(row, bounds=EVERYTHING) for row in r.normal(size=(3, n))]
            )
        ),
    )


def _relative_holds(random: Random, n: int) -> bool:
    control = random.gamma(2.0, 1.0, size=n)
    treatment = control + random.gamma(1.0, 0.4, size=n)
    return _inside(paired_relative_difference(treatment, control).interval(), 0.2)


def _paired_cuped_holds(random: Random, n: int) -> bool:
    covariate = random.normal(size=n)
    differences = covariate + random.normal(size=n)
    return _inside(paired_cuped(differences, covariate, covariate_mean=0.0).interval(), 0.0)


def _two_sample_cuped_holds(random: Random, n: int) -> bool:
    first, second = random.normal(size=(2, n))
    treatment, control = first + random.normal(size=n), second + random.normal(size=n)
    return _inside(two_sample_cuped(treatment, control, first, second).interval(), 0.0)


def _proportions(n: int) -> Iterator[Case]:
    discrete = "few outcomes are possible: swings about the level"
    for p in (0.5, 0.9):
        yield _case(f"Wilson, {p}", lambda r, p=p: _wilson_holds(r.binomial(n, p), n, p), note=discrete)
        yield _case(
            f"Clopper-Pearson, {p}",
            lambda r, p=p: _exact_holds(r.binomial(n, p), n, p),
            note="exact: at least the level whatever the proportion",
        )
    yield _case(
        "Newcombe, 0.8 and 0.7",
        lambda r: _newcombe_holds(r.binomial(n, 0.8), r.binomial(n, 0.7), n),
        note=discrete,
    )
    yield _case("Tango, 20 % and 10 %", lambda r: _tango_holds(*_pairs(r, n), n), note=discrete)
    yield _case(
        "paired odds ratio, 2",
        lambda r: _odds_holds(*_pairs(r, n)),
        note="exact: at least the level whatever the ratio",
    )
    yield _case("beta-binomial, over its prior", lambda r: _posterior_holds(r, n))
    yield _case("paired beta-binomial, over its prior", lambda r: _paired_posterior_holds(r, n))


def _pairs(random: Random, n: int) -> tuple[int, int]:
    n_better, n_worse, _ = random.multinomial(n, [0.2, 0.1, 0.7])
    return int(n_better), int(n_worse)


@lru_cache(maxsize=100_000)
def _wilson_holds(k: int, n: int, p: float) -> bool:
    return _inside(wilson(k, n), p)


@lru_cache(maxsize=100_000)
def _exact_holds(k: int, n: int, p: float) -> bool:
    return _inside(clopper_pearson(k, n), p)


@lru_cache(maxsize=100_000)
def _newcombe_holds(k: int, j: int, n: int) -> bool:
    return _inside(newcombe(k, n, j, n), 0.1)


@lru_cache(maxsize=100_000)
def _tango_holds(n_better: int, n_worse: int, n: int) -> bool:
    return _inside(tango(n_better, n_worse, n).interval(), 0.1)


@lru_cache(maxsize=100_000)
def _odds_holds(n_better: int, n_worse: int) -> bool:
    return n_better + n_worse == 0 or _inside(paired_odds_ratio(n_better, n_worse), 2.0)


def _posterior_holds(random: Random, n: int) -> bool:
    p, q = random.random(2)
    return _inside(beta_binomial(random.binomial(n, p), n, random.binomial(n, q), n).estimate, p - q)


def _paired_posterior_holds(random: Random, n: int) -> bool:
    cells = random.dirichlet(np.ones(4))
    n_better, n_worse, *_ = random.multinomial(n, cells)
    return _inside(paired_beta_binomial(int(n_better), int(n_worse), n).estimate, cells[0] - cells[1])


def _resampled(n: int) -> Iterator[Case]:
    few = "no t, and skewness: too short for few"
    for method in ("percentile", "basic", "BCa"):
        yield _case(
            f"bootstrap {method}, exponential",
            lambda r, method=method: _inside(
                bootstrap_mean(r.exponential(size=n), n_resamples=600, method=method), 1.0
            ),
            cost=1 + n // 200,
            note=few,
        )
    yield _case(
        "bootstrap of a cost ratio",
        lambda r: _inside(bootstrap_ratio(*_costs(r, n), n_resamples=600), 0.5),
        cost=1 + n // 200,
        note=few,
    )


def _costs(random: Random, n: int) -> tuple[np.ndarray, np.ndarray]:
    """[N], [N] costs of two arms that rise with the prompt's length; the first is half the other."""
    length = random.gamma(1.5, 1.0, size=n)
    treatment = 0.005 * length * random.gamma(4.0, 0.25, size=n)
    return treatment, 0.01 * length * random.gamma(4.0, 0.25, size=n)


def _ratios(n: int) -> Iterator[Case]:
    yield _case(
        "cost ratio, CR2",
        lambda r: _inside(cost_ratio(*_costs(r, n)).ratio_interval(), 0.5),
    )
    yield _case("cost per correct, Fieller", lambda r: 0.01875 in cost_per_correct(*_answers(r, n)).fieller())
    yield _case(
        "cost per correct, delta method",
        lambda r: _inside(cost_per_correct(*_answers(r, n)).interval(), 0.01875),
        note="symmetric: too short for few",
    )
    yield _case("ratio of costs per correct", lambda r: _costs_per_correct_hold(r, n))


def _answers(random: Random, n: int) -> tuple[np.ndarray, np.ndarray]:
    """[N] USD with the mean 0.015, [N] correct with probability 0.8."""
    return 0.01 * random.gamma(1.5, 1.0, size=n), (random.random(n) < 0.8).astype(float)


def _costs_per_correct_hold(random: Random, n: int) -> bool:
    treatment_usd, control_usd = _costs(random, n)
    is_correct = (random.random((2, n)) < np.array([[0.8], [0.7]])).astype(float)
    result = cost_per_correct_ratio(treatment_usd, is_correct[0], control_usd, is_correct[1])
    return _inside(result.interval(), 0.5 * 0.7 / 0.8 - 1.0)


def _quantiles(n: int) -> Iterator[Case]:
    exact = "exact: at least the level, in steps of the binomial"
    for q in (0.5, 0.95):
        yield _case(
            f"quantile {q}",
            lambda r, q=q: _quantile_holds(r.exponential(size=n), q),
            note=exact,
        )
        yield _case(
            f"paired difference of quantiles {q}",
            lambda r, q=q: _inside(
                paired_quantile_difference(r.exponential(size=n), r.exponential(size=n), q, n_resamples=400),
                0.0,
            ),
            cost=1 + n // 100,
            note="bootstrap of order statistics: rough, and for 0.95 needs 200 prompts",
        )


def _quantile_holds(values: np.ndarray, q: float) -> bool:
    found = quantile(values, q)
    return found.low <= -np.log1p(-q) <= found.high


def _clustered(clusters: np.ndarray) -> Iterator[Case]:
    no_t = "no t: too short for few clusters"
    yield _case("paired mean, CR2", lambda r: _inside(_mean_of(r, clusters, "CR2"), 0.0))
    yield _case(
        "paired mean, CR1",
        lambda r: _inside(_mean_of(r, clusters, "CR1"), 0.0),
        note="for contrast: too short for few unequal clusters",
    )
    yield _case("paired mean, CR2, 0/1", lambda r: _scores_hold(r, clusters))
    yield _case("two-sample mean, CR2", lambda r: _samples_hold(r, clusters))
    yield _case("paired CUPED, CR2", lambda r: _clustered_cuped_holds(r, clusters))
    yield _case(
        "cluster bootstrap of a mean",
        lambda r: _inside(bootstrap_mean(_alike(r, clusters), clusters, n_resamples=600), 0.0),
        note=no_t,
    )
    yield _case(
        "cluster bootstrap of a cost ratio",
        lambda r: _inside(bootstrap_ratio(*_clustered_costs(r, clusters), clusters, n_resamples=600), 0.5),
        note=no_t,
    )
    yield _case(
        "cost ratio, CR2",
        lambda r: _inside(cost_ratio(*_clustered_costs(r, clusters), clusters).ratio_interval(), 0.5),
    )
    yield _case("cost per correct, Fieller, CR2", lambda r: _clustered_fieller_holds(r, clusters))


def _alike(random: Random, clusters: np.ndarray) -> np.ndarray:
    """[N] standard normal, of which clusters share 0.3 of the variance."""
    common = random.normal(size=int(clusters.max()) + 1)[clusters]
    return np.sqrt(0.3) * common + np.sqrt(0.7) * random.normal(size=len(clusters))


def _mean_of(random: Random, clusters: np.ndarray, correction: str) -> Estimate:
    values = _alike(random, clusters)
    return paired_mean(values, clusters, bounds=EVERYTHING, correction=correction).interval()


def _scores_hold(random: Random, clusters: np.ndarray) -> bool:
    latent = _alike(random, clusters)
    differences = (latent > 0.8416).astype(float) - (latent < -1.2816).astype(float)
    return _inside(paired_mean(differences, clusters).interval(), 0.1)


def _samples_hold(random: Random, clusters: np.ndarray) -> bool:
    first, second = _alike(random, clusters), _alike(random, clusters)
    others = clusters + int(clusters.max()) + 1
    return _inside(two_sample_mean(first, second, clusters, others).interval(), 0.0)


def _clustered_cuped_holds(random: Random, clusters: np.ndarray) -> bool:
    covariate = random.normal(size=len(clusters))
    differences = covariate + _alike(random, clusters)
    return _inside(paired_cuped(differences, covariate, clusters, covariate_mean=0.0).interval(), 0.0)


def _clustered_costs(random: Random, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N], [N] costs of two arms; the treatment is half the control on average, in clusters more or less."""
    n_clusters = int(clusters.max()) + 1
    length = random.gamma(2.0, 1.0, size=n_clusters)[clusters] * random.gamma(2.0, 0.5, size=len(clusters))
    treatment = 0.005 * length * random.gamma(9.0, 1 / 9, size=n_clusters)[clusters]
    return treatment, 0.01 * length * random.gamma(9.0, 1 / 9, size=len(clusters))


def _clustered_fieller_holds(random: Random, clusters: np.ndarray) -> bool:
    cost_usd = 0.015 * np.exp(0.5 * _alike(random, clusters) - 0.125)
    is_correct = (_alike(random, clusters) > -0.8416).astype(float)
    return 0.01875 in cost_per_correct(cost_usd, is_correct, clusters).fieller()
