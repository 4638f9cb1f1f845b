"""How fast the statistics are, and how often their intervals cover what they should.

    OMP_NUM_THREADS=1 python benchmarks/statistics.py speed
    OMP_NUM_THREADS=1 python benchmarks/statistics.py ranking
    OMP_NUM_THREADS=1 python benchmarks/statistics.py coverage
    OMP_NUM_THREADS=1 python benchmarks/statistics.py coverage --only clusters --n-runs 20000
    OMP_NUM_THREADS=1 python benchmarks/statistics.py sequential
    OMP_NUM_THREADS=1 python benchmarks/statistics.py judges

All use one core. `speed` prints CPU time, ours and scipy's in the same run, `ranking` ours and that of a
statsmodels GLM. `coverage` draws `--n-runs` samples of each kind with a known truth and counts the intervals
at level 95 % that hold it; a line is marked where the share is more than 3 Monte-Carlo errors from 95 %.
`sequential` (in `looking.py`) looks after every prompt of a run, and counts the runs that ever err: some
minutes. `judges` (in `judging.py`) is `coverage` for judges with few labels, agreement, rankings and
subgroups.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import statsmodels.api as sm
from interval_coverage import cases
from judging import judges
from looking import sequential
from scipy import stats as reference

from workbench.stats.bootstrap import bootstrap_mean
from workbench.stats.multiplicity import holm
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import mcnemar
from workbench.stats.ranking import BradleyTerry, bradley_terry


def speed(arguments: argparse.Namespace) -> None:
    """100,000 paired rows: 0/1 fully analysed, and a bootstrap of continuous ones against scipy's."""
    random = np.random.default_rng(arguments.seed)
    binary = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.75, 0.15], size=100_000)
    clusters = np.arange(100_000) // 10
    print(f"0/1 pairs, clusters of 10, all of it     {_cpu_s(lambda: _analysed(binary, clusters)):8.3f} s")
    continuous = random.normal(size=100_000) - random.exponential(size=100_000)
    ours_s = _cpu_s(lambda: bootstrap_mean(continuous, n_resamples=10_000))
    scipy_s = _cpu_s(
        lambda: reference.bootstrap(
            (continuous,), np.mean, n_resamples=10_000, method="percentile", batch=100
        )
    )
    print(f"10,000 resamples of 100,000, ours        {ours_s:8.3f} s")
    print(f"the same, scipy.stats.bootstrap          {scipy_s:8.3f} s ({scipy_s / ours_s:.1f} times ours)")


def _analysed(differences: np.ndarray, clusters: np.ndarray) -> None:
    paired_mean(differences).interval()
    paired_mean(differences, clusters).interval()
    exact = mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    bootstrap_mean(differences, clusters, n_resamples=10_000)
    holm([exact, 0.01, 0.04])


def _cpu_s(work: Callable[[], object]) -> float:
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def coverage(arguments: argparse.Namespace) -> None:
    """The share of intervals that hold the truth, a line for each method and sample size."""
    start_s = time.process_time()
    print(f"{'interval':38} {'sample':22} {'covers':>8} {'+- 3 errors':>12}")
    for number, case in enumerate(cases()):
        if arguments.only not in f"{case.name} {case.size}":
            continue
        random = np.random.default_rng([arguments.seed, number])
        n_runs = max(100, arguments.n_runs // case.cost)
        share = sum(case.holds(random) for _ in range(n_runs)) / n_runs
        error = (0.95 * 0.05 / n_runs) ** 0.5
        side = "" if abs(share - 0.95) <= 3 * error else "BELOW" if share < 0.95 else "above"
        said = f"{side}: {case.note}" if side and case.note else side
        print(f"{case.name:38} {case.size:22} {100 * share:6.1f} % {300 * error:10.1f} %  {said}", flush=True)
    print(f"CPU {time.process_time() - start_s:.0f} s")


def ranking(arguments: argparse.Namespace) -> None:
    """Bradley-Terry on 200,000 judgements of 20 players, ours and a logistic regression of statsmodels."""
    random = np.random.default_rng(arguments.seed)
    strength = random.normal(scale=0.7, size=20)
    first = random.integers(20, size=200_000)
    second = (first + random.integers(1, 20, size=200_000)) % 20
    has_first_won = random.random(200_000) < 1.0 / (1.0 + np.exp(strength[second] - strength[first]))
    winner, loser = np.where(has_first_won, first, second), np.where(has_first_won, second, first)
    fits: list[BradleyTerry] = []
    ours_s = min(_cpu_s(lambda: fits.append(bradley_terry(winner, loser, reference=0))) for _ in range(5))
    regressions: list[np.ndarray] = []
    glm_s = min(_cpu_s(lambda: regressions.append(_regressed(winner, loser))) for _ in range(3))
    apart = float(np.abs(fits[0].strength[1:] - regressions[0]).max())
    print(f"200,000 judgements, 20 players, ours     {1000 * ours_s:8.1f} ms")
    print(
        f"the same, statsmodels GLM                {1000 * glm_s:8.1f} ms ({glm_s / ours_s:.0f} times ours)"
    )
    print(f"greatest difference of a strength        {apart:8.1e}")


def _regressed(winner: np.ndarray, loser: np.ndarray) -> np.ndarray:
    """[K - 1] strengths of the players from 1 on, player 0 having the strength 0."""
    rows, design = np.arange(len(winner)), np.zeros((len(winner), 20))
    design[rows, winner], design[rows, loser] = 1.0, -1.0
    model = sm.GLM(np.ones(len(winner)), design[:, 1:], family=sm.families.Binomial())
    return np.asarray(model.fit().params)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections = parser.add_subparsers(required=True, metavar="SECTION")
    for name, section in {
        "speed": speed,
        "ranking": ranking,
        "coverage": coverage,
        "sequential": sequential,
        "judges": judges,
    }.items():
        added = sections.add_parser(name, help=section.__doc__)
        added.add_argument("--seed", type=int, default=0)
        added.add_argument("--n-runs", type=int, default=2000)
        added.add_argument("--only", default="", help="lines whose name holds this text")
        added.set_defaults(section=section)
    arguments = parser.parse_args()
    arguments.section(arguments)


if __name__ == "__main__":
    main()
