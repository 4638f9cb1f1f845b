"""How fast the statistics are, and how often their intervals cover what they should.

    OMP_NUM_THREADS=1 python benchmarks/statistics.py speed
    OMP_NUM_THREADS=1 python benchmarks/statistics.py coverage
    OMP_NUM_THREADS=1 python benchmarks/statistics.py coverage --only clusters --n-runs 20000

Both use one core. `speed` prints CPU time, ours and scipy's in the same run. `coverage` draws `--n-runs`
samples of each kind with a known truth and counts the intervals at level 95 % that hold it; a line is marked
where the share is more than 3 Monte-Carlo errors from 95 %.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import stats as reference

from workbench.stats.bootstrap import bootstrap_mean
from workbench.stats.multiplicity import holm
from workbench.stats.paired import paired_mean
from workbench.stats.proportions import mcnemar


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
    random = np.random.default_rng(arguments.seed)
    for n in (30, 200, 2000):
        draws = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(arguments.n_runs, n))
        intervals = [paired_mean(row).interval() for row in draws]
        share = sum(interval.low <= 0.1 <= interval.high for interval in intervals) / len(intervals)
        print(f"paired mean, 0/1 scores {n:5d} {100 * share:6.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections = parser.add_subparsers(required=True, metavar="SECTION")
    for name, section in {"speed": speed, "coverage": coverage}.items():
        added = sections.add_parser(name, help=section.__doc__)
        added.add_argument("--seed", type=int, default=0)
        added.add_argument("--n-runs", type=int, default=2000)
        added.add_argument("--only", default="", help="lines whose name holds this text")
        added.set_defaults(section=section)
    arguments = parser.parse_args()
    arguments.section(arguments)


if __name__ == "__main__":
    main()
