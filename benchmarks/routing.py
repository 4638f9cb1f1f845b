"""The targets of routing on recorded benchmarks, each with what was reached and its interval.

    python benchmarks/routing.py FOLDER [--embedding minilm] [--only T1,T4]   # T1 to T9
    python benchmarks/routing.py FOLDER --only sampled   # what learning from a sample of the prompts loses

FOLDER holds `routellm_pair.parquet` (lm-sys/RouteLLM) and `zeroeval19.parquet` (WildEval/ZeroEval) as outcome
tables with the columns `id_fold` (prompts held out at random) and `ood_fold` (whole tasks held out). Every
router is fitted on the other folds. With `--embedding minilm` vectors are made once and kept in the cache
folder, which takes some ten minutes the first time.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from workbench.features import FeatureConfig, extract
from workbench.routing.evaluate import evaluate
from workbench.routing.folds import Folded, folded
from workbench.routing.leaderboard import Leaderboard, Result
from workbench.routing.metrics import apgr, apgr_resampled, calibration_error
from workbench.routing.out_of_fold import Contender
from workbench.routing.resamples import estimate, resamples
from workbench.routing.train import TrainConfig, fit_controller
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.stats.estimate import Estimate
from workbench.types import Prompt

CONTROLLER, KNN = Contender("controller"), Contender("knn")
UNGUARDED = Contender("controller", label="unguarded", options={"config": TrainConfig(n_regions=0)})
FITTED = Contender("no_information", label="no_information_fitted")
LEARNED = tuple(Contender(kind) for kind in ("clusters", "tfidf_lr", "mlp", "matrix_factorisation"))
_CHANCE = 0.5  # of the second synthetic model, whatever is asked


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table printed: a target, what was reached, and whether that is enough."""

    target: str
    what: str
    asked: str
    reached: str
    is_met: bool | None


class Sets:
    """The recorded tables, each read and turned into features once for each kind of fold."""

    def __init__(self, folder: Path, config: FeatureConfig) -> None:
        self._folder, self._config = folder, config
        self._pair: pd.DataFrame | None = None

    def pair(self, benchmark: str) -> pd.DataFrame:
        """The uncontaminated rows of one benchmark of RouteLLM's pair."""
        if self._pair is None:
            self._pair = pd.read_parquet(self._folder / "routellm_pair.parquet")
        table = self._pair
        return table[(table["benchmark"] == benchmark) & (table["contaminated"] == False)]  # noqa: E712 - a column

    def zeroeval(self) -> pd.DataFrame:
        """19 models on crux, gsm and math-l5, with costs and answers."""
        return pd.read_parquet(self._folder / "zeroeval19.parquet")

    @cached_property
    def mmlu_at_home(self) -> Leaderboard:
        """The leaderboard of MMLU, prompts held out at random."""
        divided = self.divided(self.pair("mmlu"), "id_fold")
        return board(divided, KNN, Contender("tfidf_lr"), FITTED, UNGUARDED, CONTROLLER)

    @cached_property
    def mmlu_away(self) -> Leaderboard:
        """The leaderboard of MMLU, whole tasks held out."""
        return board(self.divided(self.pair("mmlu"), "ood_fold"), KNN, *LEARNED, FITTED, CONTROLLER)

    def divided(self, table: pd.DataFrame, folds: str) -> Folded:
        """The table with its features and folds."""
        return folded(with_arms(table), folds, feature_config=self._config)

    def data(self, table: pd.DataFrame) -> TrainingData:
        """The table with its features."""
        return self.divided(table[table["id_fold"].notna()], "id_fold").data


def board(divided: Folded, *contenders: Contender, margin: float | None = None) -> Leaderboard:
    """The leaderboard of some routers, two at a time."""
    return evaluate(divided, contenders, margin=margin, n_processes=2)


def of(found: Leaderboard, router: str) -> Result:
    """The line of one router."""
    return next(result for result in found.results if result.router == router)


def text(value: Estimate | float | None, *, percent: bool = False) -> str:
    """`0.701 [0.680, 0.722]`, or in percent."""
    if value is None:
        return "-"
    scale, digits = (100.0, 1) if percent else (1.0, 4)
    if isinstance(value, Estimate):
        low, high = f"{scale * value.low:.{digits}f}", f"{scale * value.high:.{digits}f}"
        return f"{scale * value.value:.{digits}f} [{low}, {high}]"
    return f"{scale * value:.{digits}f}"


def mmlu_id(sets: Sets) -> Iterator[Line]:
    """T1 and the calibration of T7 on it."""
    found = sets.mmlu_at_home
    ours, knn, words = of(found, "controller"), of(found, "knn"), of(found, "tfidf_lr")
    assert ours.apgr is not None
    yield Line("T1", "MMLU pair id, APGR", ">= .70", text(ours.apgr), ours.apgr.value >= 0.70)
    yield Line(
        "T1", "CPT80, % strong calls", "<= 54", text(ours.cpt80, percent=True), (ours.cpt80 or 1.0) <= 0.54
    )
    over = ours.over_knn
    yield Line("T1", "APGR over the best kNN", "> 0", text(over), over is not None and over.low > 0.0)
    yield Line("T1", "kNN; LR on TF-IDF, APGR", "", f"{text(knn.apgr)}; {text(words.apgr)}", None)
    yield Line("T7", "MMLU pair id, ECE", "<= .01", text(ours.ece), (ours.ece or 1.0) <= 0.01)


def mmlu_ood(sets: Sets) -> Iterator[Line]:
    """T2 and the calibration of T7 on it."""
    found = sets.mmlu_away
    ours = of(found, "controller")
    assert ours.apgr is not None
    yield Line("T2", "MMLU pair ood, APGR", ">= .61", text(ours.apgr), ours.apgr.value >= 0.61)
    others = [of(found, name) for name in ("knn", *(contender.kind for contender in LEARNED))]
    worst = min((r for r in others if r.apgr is not None), key=lambda r: r.apgr.value if r.apgr else 1.0)
    low = worst.apgr.value if worst.apgr else 0.0
    yield Line("T2", f"worst learned router: {worst.router}", ">= .50", text(worst.apgr), low >= 0.50)
    yield calibration_ood("MMLU pair ood", found)


def calibration_ood(name: str, found: Leaderboard) -> Line:
    """T7 away from the training: calibrated, or said to be unfamiliar."""
    ours = of(found, "controller")
    said = next(said for said in found.predictions if said.router == "controller")
    familiar = float(np.mean(said.forecast.familiarity))
    reached = f"{text(ours.ece)}, familiarity {familiar:.2f}"
    return Line(
        "T7", f"{name}, ECE", "<= .05 or unfamiliar", reached, (ours.ece or 1.0) <= 0.05 or familiar < 0.5
    )


def pair_apgr(gain: np.ndarray, data: TrainingData, strong: int, weak: int) -> Estimate:
    """APGR of a predicted gain [N], with its interval over prompts."""
    pair = gain, data.quality[:, strong], data.quality[:, weak]
    return estimate(apgr(*pair), apgr_resampled(*pair, resamples(data.groups)))


def gsm8k(sets: Sets) -> Iterator[Line]:
    """T3: within GSM8K, and from MMLU to GSM8K."""
    found = board(sets.divided(sets.pair("gsm8k"), "id_fold"), KNN, CONTROLLER)
    ours = of(found, "controller")
    assert ours.apgr is not None
    yield Line("T3", "GSM8K pair id, APGR", ">= .64", text(ours.apgr), ours.apgr.value >= 0.64)
    learned, asked = sets.data(sets.pair("mmlu")), sets.data(sets.pair("gsm8k"))
    with threadpool_limits(1):
        forecast = fit_controller(learned).forecast(asked.prompts, features=asked.features)
    strong, weak = np.argsort(-asked.models.quality)
    gain = forecast.quality[:, strong] - forecast.quality[:, weak]
    found_apgr = pair_apgr(gain, asked, strong, weak)
    yield Line("T3", "MMLU to GSM8K, APGR", ">= .60", text(found_apgr), found_apgr.value >= 0.60)
    error = calibration_error(forecast.quality, asked.quality)
    familiar = float(forecast.familiarity.mean())
    yield Line(
        "T3", "MMLU to GSM8K, ECE", "<= .10", f"{text(error)}, familiarity {familiar:.2f}", error <= 0.10
    )


def zeroeval_id(sets: Sets) -> Iterator[Line]:
    """T4, T5 and the calibration of T7 on it."""
    names = (KNN, Contender("mlp"), Contender("label_oracle"), CONTROLLER, Contender("cascade"))
    found = board(sets.divided(sets.zeroeval(), "id_fold"), *names, margin=0.0)
    ours, cascade = of(found, "controller"), of(found, "cascade")
    assert ours.aiqlog is not None
    yield Line("T4", "zeroeval19 id, AIQlog", ">= .796", text(ours.aiqlog), ours.aiqlog.value >= 0.796)
    others = "; ".join(
        f"{name} {text(of(found, name).aiqlog)}" for name in ("no_information", "knn", "mlp", "label_oracle")
    )
    yield Line("T4", "beside it, AIQlog", "", others, None)
    for target, what, result, saving, floor in (
        ("T4", "prompt only", ours, 0.25, -0.005),
        ("T5", "cascade", cascade, 0.5, -1.0),
    ):
        change, quality = result.honest_cost_change, result.honest_quality_change
        assert change is not None
        assert quality is not None
        is_met = -change.value >= saving and quality.low >= floor
        reached = f"{text(change, percent=True)} at {text(quality, percent=True)} points"
        asked = f"cost -{saving:.0%}" + (" with the lower end >= -.5" if floor > -1.0 else "")
        yield Line(target, f"honest point, {what}: cost %, quality", asked, reached, is_met)
    saved = cascade.saving
    assert saved is not None
    yield Line(
        "T5",
        "cascade, saving at parity %",
        ">= 60, lower end > 40",
        text(saved, percent=True),
        saved.value >= 0.60 and saved.low > 0.40,
    )
    yield Line("T7", "zeroeval19 id, ECE", "<= .01", text(ours.ece), (ours.ece or 1.0) <= 0.01)


def away(sets: Sets) -> Iterator[Line]:
    """T6 on each set with costs, and the calibration of T7 on zeroeval19."""
    zeroeval = (
        board(sets.divided(sets.zeroeval(), folds), FITTED, UNGUARDED, CONTROLLER)
        for folds in ("ood_fold", "id_fold")
    )
    boards = {"zeroeval19": zeroeval, "MMLU pair": (sets.mmlu_away, sets.mmlu_at_home)}
    for name, (found, at_home) in boards.items():
        ours, fitted, hull = (
            of(found, router) for router in ("controller", FITTED.label or "", "no_information")
        )
        assert ours.aiqlog is not None
        assert fitted.aiqlog is not None
        assert hull.aiqlog is not None
        lost = ours.aiqlog.value - fitted.aiqlog.value
        reached = f"{lost:+.4f} (hull in hindsight: {ours.aiqlog.value - hull.aiqlog.value:+.4f})"
        yield Line("T6", f"{name} ood, AIQlog over no information", ">= -.002", reached, lost >= -0.002)
        if name == "zeroeval19":
            yield calibration_ood("zeroeval19 ood", found)
        ours, bare, fitted = (
            of(at_home, router) for router in ("controller", "unguarded", FITTED.label or "")
        )
        assert ours.aiqlog is not None
        assert bare.aiqlog is not None
        assert fitted.aiqlog is not None
        gain, full = ours.aiqlog.value - fitted.aiqlog.value, bare.aiqlog.value - fitted.aiqlog.value
        kept = gain / full if full > 0.0 else 1.0
        yield Line(
            "T6",
            f"{name} id, gain kept under the guard %",
            ">= 80",
            f"{100 * kept:.0f} ({gain:+.4f} of {full:+.4f})",
            kept >= 0.8,
        )


def small_data(sets: Sets, *, n_labels: int = 1_500) -> Iterator[Line]:
    """T8: few labels of MMLU, drawn from the training folds."""
    divided = sets.divided(sets.pair("mmlu"), "id_fold")
    gains, fit_s = np.full(len(divided.fold), np.nan), []
    strong, weak = np.argsort(-divided.data.models.quality)
    for held_out in np.unique(divided.fold):
        learned = np.random.default_rng(int(held_out)).permutation(divided.training(held_out))[:n_labels]
        started_s = time.process_time()
        with threadpool_limits(1):
            router = fit_controller(divided.data.rows(np.sort(learned)))
        fit_s.append(time.process_time() - started_s)
        rows = np.flatnonzero(divided.fold == held_out)
        said = router.forecast([], features=divided.data.features.rows(rows)).quality
        gain = said[:, strong] - said[:, weak]
        gains[rows] = gain.argsort().argsort() / len(gain)
    found = pair_apgr(gains, divided.data, strong, weak)
    yield Line(
        "T8", f"MMLU pair id from {n_labels:,} labels, APGR", ">= .63", text(found), found.value >= 0.63
    )
    yield Line("T8", "fit, CPU s", "<= 5", f"{np.mean(fit_s):.1f}", float(np.mean(fit_s)) <= 5.0)


def speed(sets: Sets) -> Iterator[Line]:
    """T9, without a sentence embedding."""
    data = from_table(with_arms(sets.pair("mmlu")))
    with threadpool_limits(1):
        started_s = time.process_time()
        router = fit_controller(data)
        fit_s = time.process_time() - started_s
        one = cpu_s(lambda: router.route(data.prompts[0], data.model_ids), 200)
        batch = cpu_s(lambda: router.forecast(data.prompts[:10_000]), 1)
    yield Line("T9", f"fit of {len(data.prompts):,} x 2, CPU s", "<= 20", f"{fit_s:.1f}", fit_s <= 20.0)
    yield Line("T9", "a decision, CPU ms", "<= 1", f"{1e3 * one:.2f}", one <= 1e-3)
    yield Line("T9", "10,000 prompts in a batch, CPU s", "<= 1", f"{batch:.2f}", batch <= 1.0)


def scale(_: Sets) -> Iterator[Line]:
    """T9: time and memory of a fit against the number of prompts, each in a process of its own."""
    times, sizes = [], (10_000, 100_000, 1_000_000)
    for n_prompts in sizes:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            taken_s, peak_gb = alone.submit(made_and_fitted, n_prompts).result()
        times.append(sum(taken_s))
        reached = f"{taken_s[0]:.0f} + {taken_s[1]:.0f} CPU s, peak {peak_gb:.2f} GB"
        yield Line("T9", f"{n_prompts:,} synthetic prompts, made + fitted", "linear", reached, None)
    growth = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    yield Line("T9", "time ~ prompts to the power of", "<= 1.1", f"{growth:.2f}", growth <= 1.1)
    yield Line("T9", "peak of the last, GB", "<= 12", f"{peak_gb:.1f}", peak_gb <= 12.0)


def made_and_fitted(n_prompts: int) -> tuple[tuple[float, float], float]:
    """CPU seconds of making features and of the fit, and the peak memory of this process in GB."""
    with threadpool_limits(1):
        started_s = time.process_time()
        data, _ = synthetic(n_prompts)
        made_s = time.process_time() - started_s
        fit_controller(data)
        fitted_s = time.process_time() - started_s - made_s
    return (made_s, fitted_s), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sampled(_: Sets, *, n_learned: int = 200_000, n_asked: int = 20_000) -> Iterator[Line]:
    """What learning from a sample of the prompts loses: how often the model that is chosen is right."""
    data, chance = synthetic(n_learned + n_asked)
    learned, asked = np.arange(n_learned), np.arange(n_learned, n_learned + n_asked)
    truth = np.maximum(chance[asked], _CHANCE).mean()
    yield Line(
        "", "right, either model; the better one, by the truth", "", f"{_CHANCE:.4f}; {truth:.4f}", None
    )
    training, features = data.rows(learned), data.features.rows(asked)
    for most in (20_000, 50_000, TrainConfig().max_learned, n_learned):
        started_s = time.process_time()
        with threadpool_limits(1):
            router = fit_controller(training, config=TrainConfig(max_learned=most))
        fit_s = time.process_time() - started_s
        said = router.forecast([], features=features).quality
        right = np.where(said[:, 0] > said[:, 1], chance[asked], _CHANCE).mean()
        what = f"right, learned from {most:,} of {n_learned:,} prompts"
        yield Line("", what, "", f"{right:.4f}, fitted in {fit_s:.0f} CPU s", None)


def synthetic(n_prompts: int) -> tuple[TrainingData, np.ndarray]:
    """Prompts of 40 words of a vocabulary of 5,000, and [N] how likely the first of two models is right.

    The words say that, by a hidden direction; the other model is right half of the time.
    """
    rng, config = np.random.default_rng(0), FeatureConfig()
    words = np.array([f"word{number}" for number in range(5_000)], dtype=object)
    hidden = rng.normal(size=len(words))
    drawn = rng.integers(0, len(words), size=(n_prompts, 40), dtype=np.uint16)
    chance = 1.0 / (1.0 + np.exp(-4.0 * np.array([hidden[row].mean() for row in drawn])))
    chances = np.column_stack([chance, np.full(n_prompts, _CHANCE)])
    nothing = np.full((n_prompts, 2), np.nan)
    data = TrainingData(
        prompts=tuple(Prompt(str(number), "") for number in range(n_prompts)),
        groups=np.arange(n_prompts),
        model_ids=("synthetic/a", "synthetic/b"),
        quality=(rng.random((n_prompts, 2)) < chances).astype(float),
        cost_usd=np.tile([0.01, 0.001], (n_prompts, 1)),
        latency_s=nothing,
        input_tokens=nothing,
        output_tokens=nothing,
        answers=None,
        features=extract([" ".join(words[row]) for row in drawn], config),
        feature_config=config,
    )
    return data, chance


def with_arms(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its models as arms."""
    return table.assign(arm=table["model"], provider="recorded")


def cpu_s(action: Callable[[], object], n_times: int) -> float:
    """Mean CPU seconds of an action, after one that does not count."""
    action()
    started_s = time.process_time()
    for _ in range(n_times):
        action()
    return (time.process_time() - started_s) / n_times


TARGETS: dict[str, Callable[[Sets], Iterator[Line]]] = {
    "T1": mmlu_id,
    "T2": mmlu_ood,
    "T3": gsm8k,
    "T4": zeroeval_id,
    "T6": away,
    "T8": small_data,
    "T9": speed,
    "scale": scale,
}
PARTS = {**TARGETS, "sampled": sampled}


def main() -> None:
    """Print a line for each target as soon as it is known, and all of them at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--embedding", default=None, help="minilm: compare prompts by a sentence embedding too"
    )
    parser.add_argument("--only", default=",".join(TARGETS), help=f"some of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    console, started_s = Console(), time.monotonic()
    sets = Sets(arguments.folder, replace(FeatureConfig(), embedding=arguments.embedding))
    lines: list[Line] = []
    for name in arguments.only.split(","):
        for line in PARTS[name](sets):
            lines.append(line)
            console.print(
                f"[dim]{time.monotonic() - started_s:5.0f} s[/] {line.target} {line.what}: {line.reached}"
            )
    table = Table("target", "what", "asked", "reached", "met")
    for line in lines:
        is_met = "" if line.is_met is None else "yes" if line.is_met else "NO"
        table.add_row(line.target, line.what, line.asked, line.reached, is_met)
    console.print(table)


if __name__ == "__main__":
    main()
