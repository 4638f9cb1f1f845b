"""What looking after every prompt does to each sequential method: false findings, misses, prompts used.

Run as `python benchmarks/statistics.py sequential`. Every line is of fresh draws from one seed. A share of
false findings or misses is marked where it is more than 3 Monte-Carlo errors above 5 %. N prompts, R runs.
"""

import argparse
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats as reference

from workbench.stats.always_valid import always_valid
from workbench.stats.bet_mixture import MeanSequence, log_e_values
from workbench.stats.confidence_sequence import empirical_bernstein_sequence, first_above
from workbench.stats.e_process import log_e_value, share_sequence
from workbench.stats.multiplicity import holm
from workbench.stats.policy_log import PolicyLog
from workbench.stats.power_proportions import early_stop
from workbench.stats.promotion import off_policy_gains, promotion
from workbench.stats.sequential import AsymptoticSequence

ALPHA = 0.05
_LEAST = -math.log(ALPHA)
_N = 2000

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Truth:
    """A way to draw [N] differences, and their true mean."""

    name: str
    mean: float
    draw: Draw


def outcomes(difference: float, discordant: float, n: int = _N) -> Truth:
    """Differences of 0/1 scores."""
    chances = np.cumsum([(discordant - difference) / 2.0, 1.0 - discordant])

    def draw(random: np.random.Generator) -> np.ndarray:
        return np.searchsorted(chances, random.random(n), side="right") - 1.0

    return Truth(f"0/1, {100 * discordant:g} % discordant", difference, draw)


def truths() -> list[Truth]:
    """Without a difference, of every kind that a run can meet."""
    return [
        *(outcomes(0.0, discordant) for discordant in (0.02, 0.1, 0.3, 1.0)),
        Truth("uniform scores", 0.0, lambda random: random.random(_N) - random.random(_N)),
        Truth("skewed: -.95 or +.05", 0.0, lambda random: np.where(random.random(_N) < 0.05, -0.95, 0.05)),
        Truth("3 repeats of 0/1 scores", 0.0, _repeats),
        Truth("clusters of 5, their means", 0.0, _cluster_means),
    ]


def _repeats(random: np.random.Generator) -> np.ndarray:
    """Both arms are asked three times, and are right with the prompt's own chance."""
    easiness = random.beta(1.0, 0.6, size=_N)
    return (random.binomial(3, easiness) - random.binomial(3, easiness)) / 3.0


def _cluster_means(random: np.random.Generator) -> np.ndarray:
    """400 clusters, each with a leaning of its own to one of the arms."""
    leaning = np.repeat(random.uniform(-0.3, 0.3, size=_N // 5), 5)
    draw = random.random(_N)
    differences = np.where(
        draw < 0.15 * (1 + leaning), 1.0, np.where(draw > 1 - 0.15 * (1 - leaning), -1.0, 0.0)
    )
    return differences.reshape(-1, 5).mean(axis=1)


def _is_out_exact(differences: np.ndarray, mean: float) -> bool:
    return bool(log_e_values(differences, null=mean).max() >= _LEAST)


def _is_out_asymptotic(differences: np.ndarray, mean: float) -> bool:
    low, high, _ = AsymptoticSequence(alpha=ALPHA, n_planned=len(differences)).extend(differences)
    return not low[-1] <= mean <= high[-1]


def _is_out_betting(differences: np.ndarray, mean: float) -> bool:
    above = first_above(differences, mean, alpha=ALPHA)
    return above is not None or first_above(-differences, -mean, alpha=ALPHA) is not None


def _is_out_bernstein(differences: np.ndarray, mean: float) -> bool:
    low, high = empirical_bernstein_sequence(differences, alpha=ALPHA)
    return not low[-1] <= mean <= high[-1]


def _is_out_limits(differences: np.ndarray, mean: float) -> bool:
    low, high, _ = MeanSequence(alpha=ALPHA).extend(differences)
    return not low[-1] <= mean <= high[-1]


def _is_out_naive(differences: np.ndarray, mean: float) -> bool:
    """t after every ten prompts, as if each look were the only one."""
    n = np.arange(1, len(differences) + 1)
    means = np.cumsum(differences) / n
    variance = (np.cumsum(differences**2) - n * means**2) / np.maximum(n - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(means - mean) / np.sqrt(variance / n)
    looks = slice(19, None, 10)
    return bool((t[looks] > reference.t.isf(ALPHA / 2, n[looks] - 1)).any())


METHODS: dict[str, Callable[[np.ndarray, float], bool]] = {
    "exact": _is_out_exact,
    "asymptotic": _is_out_asymptotic,
    "betting": _is_out_betting,
    "empirical Bernstein": _is_out_bernstein,
    "naive t, every 10": _is_out_naive,
}


def sequential(arguments: argparse.Namespace) -> None:
    """False findings and misses under looking after every prompt, and prompts until a true difference is
    found."""
    sections = (false_findings, coverage, arms_and_margins, prompts_used)
    for section in sections:
        section(arguments)


def false_findings(arguments: argparse.Namespace) -> None:
    """No difference: runs in which a look finds one."""
    for truth in truths():
        for name, is_out in METHODS.items():
            _count(
                arguments,
                f"no difference | {truth.name} | {name}",
                lambda r, t=truth, f=is_out: f(t.draw(r), 0.0),
            )


def coverage(arguments: argparse.Namespace) -> None:
    """A difference: runs in which the interval misses it after some prompt."""
    for truth in (outcomes(0.02, 0.05), outcomes(0.06, 0.3), outcomes(0.5, 0.7), _uneven()):
        for name, is_out in {**METHODS, "exact, as shown": _is_out_limits}.items():
            if name.startswith("naive"):
                continue
            label = f"missed {100 * truth.mean:+.1f} points | {truth.name} | {name}"
            _count(arguments, label, lambda r, t=truth, f=is_out: f(t.draw(r), t.mean))
    _count(arguments, "missed share .7 of discordant pairs | exact", _misses_share)


def _uneven() -> Truth:
    return Truth("beta scores", 0.1, lambda random: random.beta(3.0, 2.0, _N) - random.beta(2.5, 2.5, _N))


def _misses_share(random: np.random.Generator) -> bool:
    better = np.cumsum(random.random(600) < 0.7)
    low, high = share_sequence(better, np.arange(1, 601) - better, alpha=ALPHA)
    return not low[-1] <= 0.7 <= high[-1]


def arms_and_margins(arguments: argparse.Namespace) -> None:
    """Several arms, a loss of exactly the margin, and champions that are as good as their challengers."""
    _count(arguments, "no difference | 3 arms, one control | exact, Holm", _finds_an_arm)
    for discordant in (0.06, 0.3):
        loss = outcomes(-0.05, discordant)
        label = f"a loss of the margin, 5 points | {loss.name} | non-inferior"
        _count(
            arguments,
            label,
            lambda r, t=loss: log_e_values(t.draw(r), null=-0.05, side="greater").max() >= _LEAST,
        )
        _count(
            arguments,
            f"a difference of 5 points | {loss.name} | equivalent",
            lambda r, t=loss: _is_inside(t.draw(r)),
        )
    for discordant in (0.02, 0.3):
        same = outcomes(0.0, discordant)
        label = f"no difference | {same.name} | promotion"
        _count(arguments, label, lambda r, t=same: promotion(t.draw(r)).verdict != "undecided", share=0.25)
    _count(
        arguments,
        "no difference | a tenth of the traffic | promotion, off policy",
        _promotes_off_policy,
        share=0.25,
    )


def _finds_an_arm(random: np.random.Generator) -> bool:
    control, *arms = random.random((4, _N)) < 0.7
    better = np.cumsum([arm & ~control for arm in arms], axis=1)
    worse = np.cumsum([~arm & control for arm in arms], axis=1)
    most = log_e_value(better, worse).max(axis=1)
    return min(holm([math.exp(-max(log_e, 0.0)) for log_e in most])) <= ALPHA


def _is_inside(differences: np.ndarray) -> bool:
    result = always_valid(differences, alpha=ALPHA)
    return bool(((result.trajectory.low > -0.05) & (result.trajectory.high < 0.05)).any())


def _promotes_off_policy(random: np.random.Generator) -> bool:
    action = (random.random(_N) < 0.1).astype(np.int64)
    reward = (random.random(_N) < 0.7).astype(float)
    log = PolicyLog(action, np.where(action == 1, 0.1, 0.9), reward)
    gains = off_policy_gains(log, np.ones(_N, dtype=int), np.zeros(_N, dtype=int), max_weight=10.0)
    return promotion(gains.values, bounds=gains.bounds).verdict != "undecided"


def prompts_used(arguments: argparse.Namespace) -> None:
    """A difference: prompts until it is found, of 3,000 planned; a run that does not find it counts
    3,000."""
    for truth in (*(outcomes(*case, 3000) for case in _CASES), _beta_scores()):
        random, n_runs = _random(arguments, truth.name + str(truth.mean)), max(1, arguments.n_runs // 4)
        runs = [truth.draw(random) for _ in range(n_runs)]
        stops = {name: np.array([stop(run) for run in runs]) for name, stop in _STOPS.items()}
        line = f"{100 * truth.mean:+.1f} points, {truth.name:24s}"
        if truth.name.startswith("0/1"):
            closed = np.array([_closed_form(run) for run in runs])
            fresh = early_stop(truth.mean, float(truth.name.split()[1]) / 100, 3000, seed=arguments.seed + 1)
            line += f" closed form {closed.mean():5.0f}; fresh seed {fresh.mean_n:5.0f};"
        for name, values in stops.items():
            line += f" {name} {values.mean():5.0f} ({100 * (values < 3000).mean():3.0f} %)"
        print(line, flush=True)


_CASES = [(0.02, 0.05), (0.03, 0.1), (0.06, 0.1), (0.06, 0.25), (0.1, 0.3), (0.06, 0.5)]


def _beta_scores() -> Truth:
    return Truth(
        "beta scores", 0.05, lambda random: random.beta(1.1, 0.9, 3000) - random.beta(1.0, 1.0, 3000)
    )


def _first(log_e: np.ndarray) -> int:
    is_out = log_e >= _LEAST
    return int(np.argmax(is_out)) + 1 if is_out.any() else len(log_e)


def _closed_form(differences: np.ndarray) -> int:
    return _first(log_e_value(np.cumsum(differences > 0), np.cumsum(differences < 0)))


def _betting_stop(differences: np.ndarray) -> int:
    return first_above(differences, 0.0, alpha=ALPHA) or len(differences)


def _bernstein_stop(differences: np.ndarray) -> int:
    is_out = empirical_bernstein_sequence(differences, alpha=ALPHA)[0] > 0.0
    return int(np.argmax(is_out)) + 1 if is_out.any() else len(differences)


_STOPS: dict[str, Callable[[np.ndarray], int]] = {
    "exact": lambda run: _first(log_e_values(run)),
    "asymptotic": lambda run: _first(AsymptoticSequence(alpha=ALPHA, n_planned=3000).extend(run)[2]),
    "betting": _betting_stop,
    "empirical Bernstein": _bernstein_stop,
}


def _count(
    arguments: argparse.Namespace,
    label: str,
    happens: Callable[[np.random.Generator], bool],
    share: float = 1.0,
) -> None:
    """Print in what share of the runs something happens; it should in at most 5 %."""
    if arguments.only not in label:
        return
    random, n_runs = _random(arguments, label.rsplit("|", 1)[0]), max(1, int(arguments.n_runs * share))
    found = sum(bool(happens(random)) for _ in range(n_runs)) / n_runs
    limit = ALPHA + 3.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / n_runs)
    print(f"{label:85s} {100 * found:5.1f} %{'   over' if found > limit else ''}", flush=True)


def _random(arguments: argparse.Namespace, label: str) -> np.random.Generator:
    """The same draws for every method, other ones for every truth."""
    return np.random.default_rng([arguments.seed, zlib.crc32(label.encode())])
