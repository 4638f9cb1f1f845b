"""Replay a recorded benchmark as live traffic: how fast a bandit learns, and whether its log tells the truth.

    python benchmarks/online.py PATH/llmrouter9.parquet
    python benchmarks/online.py PATH/llmrouter9.parquet --ood
    python benchmarks/online.py PATH/llmrouter9.parquet --degrade --half-life 500
    python benchmarks/online.py PATH/zeroeval19.parquet

kNN (`--router`: another kind) is fitted on a tenth of the prompts (`--ood`: on all tasks but those of one
fold of `ood_fold`, each seed another fold). The other prompts come one by one, in an order that the seed
gives. Only what was chosen is told, `--delay` requests later. `--degrade`: from the middle on, the model that
kNN chooses most answers as the worst one does. Settings of the bandits are the defaults, set before any of
this was run.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import ConfigError
from workbench.features import PromptFeatures
from workbench.outcomes import read
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed, Random
from workbench.routing.champion import Trial, judge
from workbench.routing.decide import Predictor, decide
from workbench.routing.exploration import Exploration, LinUCB, Thompson
from workbench.routing.feedback import Feedback
from workbench.routing.forecast import Floats, Forecast, KnownModels
from workbench.routing.off_policy import target_probabilities
from workbench.routing.online import Bandit, Learning
from workbench.routing.registry import fit
from workbench.routing.served_log import ServedLog, served_log
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.stats.off_policy import doubly_robust, snips
from workbench.types import Decision, Prompt

Rows = NDArray[np.int64]
N_STRETCHES = 5


@dataclass(frozen=True)
class Precomputed:
    """A fitted router with its forecasts of all prompts of the stream, so that a replay takes seconds."""

    name: str
    models: KnownModels
    position: dict[str, int]
    said: Forecast
    cost_weight: float = 0.0
    latency_weight: float = 0.0

    def forecast(self, prompts: Sequence[Prompt], *, features: PromptFeatures | None = None) -> Forecast:
        """What was forecast of these prompts."""
        return self.said.rows(np.array([self.position[p.prompt_id] for p in prompts], dtype=np.int64))

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """As `decide`."""
        return decide(self, prompt, candidates)


@dataclass(frozen=True)
class Stream:
    """[N] prompts in order, what each of M models makes of them, and the router fitted beforehand."""

    prompts: list[Prompt]
    quality: Floats
    model_ids: tuple[str, ...]
    frozen: Precomputed
    best_single: int


@dataclass(frozen=True)
class Replay:
    """[N] columns chosen, and [N, M] the probability with which each could have been."""

    chosen: Rows
    chances: Floats


def stream(data: TrainingData, rows: tuple[Rows, Rows], *, kind: str, seed: int) -> Stream:
    """A router of this kind fitted on the first of `rows`, and the second in a random order."""
    training, live = data.rows(rows[0]), np.random.default_rng(seed).permutation(rows[1])
    router = fit(kind, training, seed=seed)
    if not isinstance(router, Predictor):
        raise ConfigError(f"a {kind} router makes no forecast for a bandit to start from")
    prompts = [data.prompts[i] for i in live]
    said = router.forecast(prompts, features=data.features.rows(live))
    position = {prompt.prompt_id: i for i, prompt in enumerate(prompts)}
    return Stream(
        prompts=prompts,
        quality=data.quality[live],
        model_ids=data.model_ids,
        frozen=Precomputed(router.name, training.models, position, said),
        best_single=int(np.argmax(training.models.quality)),
    )


def degraded(live: Stream) -> Stream:
    """The same, but from the middle on the frozen router's favourite answers as the worst model does."""
    favourite = int(np.bincount(chosen_by(live, live.frozen)).argmax())
    quality, middle = live.quality.copy(), len(live.prompts) // 2
    quality[middle:, favourite] = quality[middle:, quality.mean(axis=0).argmin()]
    return replace(live, quality=quality)


def replay(bandit: Bandit, live: Stream, *, delay: int) -> Replay:
    """The stream through a bandit, which is told of each answer `delay` requests later."""
    chances = np.zeros_like(live.quality)
    chosen = np.zeros(len(live.prompts), dtype=np.int64)
    for i, prompt in enumerate(live.prompts):
        chances[i] = bandit.probabilities(prompt, live.model_ids)
        chosen[i] = live.model_ids.index(bandit.route(prompt, live.model_ids).model_id)
        if (late := i - delay) >= 0:
            model_id, quality = live.model_ids[chosen[late]], float(live.quality[late, chosen[late]])
            bandit.learn([Feedback(str(late), live.prompts[late], model_id, quality, at=late)])
    return Replay(chosen, chances)


def chosen_by(live: Stream, router: Precomputed) -> Rows:
    """[N] what the frozen router chooses."""
    return np.array(
        [live.model_ids.index(router.route(prompt, live.model_ids).model_id) for prompt in live.prompts]
    )


def calibration(replays: Sequence[Replay]) -> pd.DataFrame:
    """Logged probabilities against how often the model was chosen, by tenths, and the deviation in units of
    its standard error."""
    chance = np.concatenate([r.chances.ravel() for r in replays])
    hits = np.concatenate([(r.chosen[:, None] == np.arange(r.chances.shape[1])).ravel() for r in replays])
    part = np.digitize(chance, [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    lines = []
    for name in np.unique(part):
        p, hit = chance[part == name], hits[part == name]
        error = np.sqrt((p * (1.0 - p)).sum())
        lines.append(
            {"n": len(p), "logged": p.mean(), "chosen": hit.mean(), "z": (hit.sum() - p.sum()) / error}
        )
    return pd.DataFrame(lines)


def log_of(live: Stream, made: Replay) -> ServedLog:
    """What a server would have written."""
    rows = np.arange(len(made.chosen))
    names = [live.model_ids[i].split("/", 1) for i in made.chosen]
    table = pd.DataFrame(
        {
            "prompt_id": [prompt.prompt_id for prompt in live.prompts],
            "prompt": [prompt.text for prompt in live.prompts],
            "arm": "live",
            "provider": [name[0] for name in names],
            "model": [name[1] for name in names],
            "quality": live.quality[rows, made.chosen],
            "propensity": made.chances[rows, made.chosen],
        }
    )
    return served_log(table, candidates=live.model_ids)


def coverage(live: Stream, made: Replay) -> list[dict[str, object]]:
    """Whether the bandit's log tells the true quality of routers that were fixed beforehand."""
    log = log_of(live, made)
    found = []
    routers: list[Router] = [live.frozen, Random(), *(Fixed(model_id) for model_id in live.model_ids)]
    for router in routers:
        target = target_probabilities(router, log)
        truth = float((target * live.quality).sum(axis=1).mean())
        for estimator, value in (
            ("snips", snips(log.quality, target)),
            ("doubly robust", doubly_robust(log.quality, target, model=log.expected_quality)),
        ):
            found.append(
                {
                    "router": router.name if not isinstance(router, Fixed) else "each fixed model",
                    "estimator": estimator,
                    "is_warned_of": value.warning is not None,
                    "covers": value.estimate.low <= truth <= value.estimate.high,
                    "error": abs(value.estimate.value - truth),
                    "width": value.estimate.high - value.estimate.low,
                }
            )
    return found


def succession(live: Stream) -> dict[str, object]:
    """The frozen router, tried on half of the prompts, as challenger of the best single model."""
    champion = Fixed(live.model_ids[live.best_single])
    trial = Trial(champion, live.frozen)
    target = np.array([trial.probabilities(prompt, live.model_ids) for prompt in live.prompts])
    chosen = [live.model_ids.index(trial.route(prompt, live.model_ids).model_id) for prompt in live.prompts]
    log = log_of(live, Replay(np.array(chosen), target))
    found = judge(live.frozen, champion, log, max_weight=trial.max_weight)
    rows = np.arange(len(live.prompts))
    true_gain = (live.quality[rows, chosen_by(live, live.frozen)] - live.quality[:, live.best_single]).mean()
    return {
        "true_gain": true_gain,
        "verdict": found.verdict,
        "low": found.gain.low,
        "high": found.gain.high,
        "decided_at": found.decided_at,
        "n": found.n,
    }


def parts(
    table: pd.DataFrame, data: TrainingData, arguments: argparse.Namespace, seed: int
) -> tuple[Rows, Rows]:
    """What is learned from beforehand, and what comes live; prompts that are the same stay together."""
    if arguments.ood:
        fold = table.groupby("prompt_id")["ood_fold"].first()
        of_prompt = fold.loc[[prompt.prompt_id for prompt in data.prompts]].to_numpy()
        held_out = np.unique(of_prompt)[seed % len(np.unique(of_prompt))]
        return np.flatnonzero(of_prompt != held_out), np.flatnonzero(of_prompt == held_out)
    _, codes = np.unique(data.groups, return_inverse=True)
    is_warm = np.random.default_rng(seed).random(codes.max() + 1)[codes] < arguments.warm
    return np.flatnonzero(is_warm), np.flatnonzero(~is_warm)


def over_time(live: Stream, chosen: Rows) -> list[float]:
    """Mean quality in each fifth of the stream, and over all of it."""
    quality = live.quality[np.arange(len(chosen)), chosen]
    return [float(part.mean()) for part in np.array_split(quality, N_STRETCHES)] + [float(quality.mean())]


def main() -> None:
    """Print quality over time, calibration of the propensities, coverage, and verdicts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--router", default="knn", help="the kind of router to start from")
    parser.add_argument("--warm", type=float, default=0.1, help="share of the prompts to fit on beforehand")
    parser.add_argument("--ood", action="store_true", help="other tasks come live than were fitted on")
    parser.add_argument("--degrade", action="store_true", help="a model becomes worse in the middle")
    parser.add_argument("--half-life", type=float, help="requests after which feedback counts half")
    parser.add_argument("--delay", type=int, default=20, help="requests until the answer's quality is told")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    started_s = time.perf_counter()
    table = read(arguments.table)
    if arguments.ood:
        table = table[table["ood_fold"].notna()]
    data = from_table(table)
    explorations: list[Exploration] = [Thompson(), LinUCB()]
    lines: dict[str, list[list[float]]] = {}
    replays: dict[str, list[Replay]] = {rule.name: [] for rule in explorations}
    covered: list[dict[str, object]] = []
    verdicts: list[dict[str, object]] = []
    for seed in range(arguments.seeds):
        live = stream(data, parts(table, data, arguments, seed), kind=arguments.router, seed=seed)
        if arguments.degrade:
            live = degraded(live)
        n = len(live.prompts)
        lines.setdefault("best single of the training", []).append(
            over_time(live, np.full(n, live.best_single))
        )
        best = int(np.argmax(live.quality.mean(axis=0)))
        lines.setdefault("best single of the stream", []).append(over_time(live, np.full(n, best)))
        lines.setdefault(f"{live.frozen.name}, frozen", []).append(
            over_time(live, chosen_by(live, live.frozen))
        )
        for rule in explorations:
            bandit = Bandit(live.frozen, rule, learning=Learning(half_life=arguments.half_life, seed=seed))
            made = replay(bandit, live, delay=arguments.delay)
            replays[rule.name].append(made)
            lines.setdefault(bandit.name, []).append(over_time(live, made.chosen))
            covered += [{"log": rule.name} | line for line in coverage(live, made)]
        verdicts.append(succession(live))
    columns = [f"fifth {i + 1}" for i in range(N_STRETCHES)] + ["all"]
    board = pd.DataFrame({name: np.mean(runs, axis=0) for name, runs in lines.items()}, index=columns).T
    reference = np.array(lines["best single of the stream"])[:, -1]
    board["regret"] = [(n * (reference - np.array(runs)[:, -1])).mean() for runs in lines.values()]
    print(f"{n} prompts in the last stream, {len(data.model_ids)} models, {arguments.seeds} seeds")
    print("quality, and regret in answers against the best single model of the stream")
    print(board.to_string(float_format="%.4f"))
    for name, made_all in replays.items():
        print(f"\npropensities of {name}")
        print(calibration(made_all).to_string(index=False, float_format="%.4f"))
    print("\noff-policy estimates from the bandits' logs")
    print(
        pd.DataFrame(covered)
        .groupby(["log", "router", "estimator", "is_warned_of"])
        .agg(
            n=("covers", "size"), covers=("covers", "mean"), error=("error", "mean"), width=("width", "mean")
        )
        .to_string(float_format="%.4f")
    )
    print(f"\n{live.frozen.name} as challenger of the best single of the training")
    print(pd.DataFrame(verdicts).to_string(index=False, float_format="%.4f"))
    print(f"{time.perf_counter() - started_s:.0f} s")


if __name__ == "__main__":
    main()
