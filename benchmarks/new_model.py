"""What a few outcomes of a new model are worth to a router that was fitted without it.

    python benchmarks/new_model.py PATH/zeroeval19.parquet                          # scores fold 0
    python benchmarks/new_model.py PATH/zeroeval19.parquet --scored 1 --without 0   # chooses, without fold 0

Folds are those of the column `id_fold`. A controller is fitted without one model, without the scored fold
and without the one after it, from some prompts of which the model is then added. "Others' outcomes":
those of the known models on the same prompts are known too; "words": they are not. "Mean": a model is the
mean of its rows, for every prompt. "Refit": all models on all rows of the other folds. Every figure is the
mean over the models that were left out and over draws of the rows; AIQlog is that of routing among all
models.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from workbench.outcomes import read
from workbench.routing.controller import MetaController
from workbench.routing.cost_curve import aiq_log, router_curve
from workbench.routing.forecast import Floats, Forecast
from workbench.routing.metrics import brier
from workbench.routing.new_model import add_model
from workbench.routing.train import fit_controller
from workbench.routing.training_data import TrainingData, column_means
from workbench.routing.training_table import from_table

_SIZES = (32, 128, 512)
_N_DRAWS = 3


def among(data: TrainingData, columns: NDArray[np.int64]) -> TrainingData:
    """The same prompts, and some of the models."""
    return replace(
        data,
        model_ids=tuple(data.model_ids[i] for i in columns),
        quality=data.quality[:, columns],
        cost_usd=data.cost_usd[:, columns],
        latency_s=data.latency_s[:, columns],
        input_tokens=data.input_tokens[:, columns],
        output_tokens=data.output_tokens[:, columns],
        answers=None,
    )


def spread_out(quality: Floats, n_models: int) -> NDArray[np.int64]:
    """Models from the worst to the best [M] quality, evenly."""
    places = np.linspace(0, len(quality) - 1, n_models).round().astype(np.int64)
    return np.argsort(quality, kind="stable")[places]


def aiq(forecast: Forecast, judged: TrainingData) -> float:
    """AIQlog of routing among the models of `judged`."""
    singles = judged.models
    best = int(np.argmax(singles.quality))
    curve = router_curve(forecast.quality, forecast.cost_usd, judged.quality, judged.cost_usd)
    return aiq_log(curve, low_usd=float(singles.cost_usd.min()), high_usd=float(singles.cost_usd[best]))


def figures(forecast: Forecast, judged: TrainingData) -> tuple[float, float]:
    """Brier score of the last model, and AIQlog of all."""
    return brier(forecast.quality[:, -1:], judged.quality[:, -1:]), aiq(forecast, judged)


def ways(router: MetaController, rows: TrainingData, judged: TrainingData) -> Iterator[tuple[str, Forecast]]:
    """The last model of `rows` added in each way, and what is then expected of the prompts of `judged`."""
    model_id = rows.model_ids[-1]
    words = among(rows, np.array([len(rows.model_ids) - 1]))
    for name, taught in (("others' outcomes", rows), ("words", words)):
        yield name, add_model(router, taught, model_id).forecast([], features=judged.features)
    plain = add_model(router, words, model_id).forecast([], features=judged.features)
    quality, cost_usd = plain.quality.copy(), plain.cost_usd.copy()
    quality[:, -1], cost_usd[:, -1] = column_means(words.quality)[0], column_means(words.cost_usd)[0]
    yield "mean", replace(plain, quality=quality, cost_usd=cost_usd)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="zeroeval19.parquet")
    parser.add_argument("--models", type=int, default=5, help="how many are left out, one at a time")
    parser.add_argument("--scored", type=int, default=0, help="the fold that is scored")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="folds that are not looked at")
    arguments = parser.parse_args()
    table = read(arguments.table)
    data = from_table(table[table["id_fold"].notna()])
    fold = table.groupby("prompt_id")["id_fold"].first()[[p.prompt_id for p in data.prompts]].to_numpy()
    scored = fold == arguments.scored
    others = sorted(set(np.unique(fold)) - {arguments.scored, *arguments.without})
    taught = next((name for name in others if name > arguments.scored), others[0])
    fitted = np.isin(fold, others) & (fold != taught)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    everyone = np.arange(len(data.model_ids))
    with threadpool_limits(1):
        refit = fit_controller(data.rows(np.flatnonzero(np.isin(fold, others))))
        for left_out in spread_out(data.models.quality, arguments.models):
            order = np.append(np.delete(everyone, left_out), left_out)
            ordered = among(data, order)
            judged = ordered.rows(np.flatnonzero(scored))
            new = ordered.rows(np.flatnonzero(fold == taught))
            router = fit_controller(among(ordered.rows(np.flatnonzero(fitted)), everyone[:-1]))
            whole = refit.forecast([], features=judged.features).columns(order)
            found.setdefault(("refit", len(refit.models.model_ids)), []).append(figures(whole, judged))
            for size in _SIZES:
                for draw in range(_N_DRAWS):
                    some = np.random.default_rng(draw).permutation(len(new.prompts))[:size]
                    for name, forecast in ways(router, new.rows(np.sort(some)), judged):
                        found.setdefault((name, size), []).append(figures(forecast, judged))
    print("| way | rows of the new model | Brier score | AIQlog |\n|---|---|---|---|")
    for (name, size), each in sorted(found.items(), key=lambda one: (one[0][1], one[0][0])):
        score, area = np.mean(each, axis=0)
        print(f"| {name} | {'all' if name == 'refit' else size} | {score:.4f} | {area:.4f} |")


if __name__ == "__main__":
    main()
