"""What ensembles are worth on ZeroEval's recorded answers, against the best single model.

    python benchmarks/ensembles.py PATH/zeroeval19.parquet [--folds 0]

Everything (which model is best, who is a member, weights, rankers) is learned on folds that are not scored.
Folds 1 to 4 were looked at while this was developed: each is scored by what the other three of them teach.
Fold 0 was scored once, by what folds 1 to 4 teach (`--folds 0`). Intervals are of 95 %, by paired bootstrap
over prompts, of the difference to the best single model on the same prompts.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.outcomes import read
from workbench.routing.ballots import Ballots, ballots_of, columns_of
from workbench.routing.ensemble import Ensemble, Vote, fit_majority, fit_weighted_vote
from workbench.routing.forecast import Floats
from workbench.routing.linear import TfidfLogistic, fit_tfidf_lr
from workbench.routing.membership import Replayed, Selection, choose_members, replay
from workbench.routing.ranker import fit_best_of, predicted_out_of_part
from workbench.routing.training_data import TrainingData
from workbench.routing.training_table import from_table
from workbench.scoring.text import plain
from workbench.stats.bootstrap import bootstrap_mean, bootstrap_ratio

DEVELOPED_ON = (1, 2, 3, 4)
_NUMBER = re.compile(r"\$?\s?(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Part:
    """Prompts with their outcomes, ballots, and qualities predicted without having seen the prompt."""

    data: TrainingData
    ballots: Ballots
    predicted: Floats

    def replayed(self, ensemble: Ensemble) -> Replayed:
        """What `ensemble` would have done here."""
        columns = columns_of(ensemble.model_ids, self.data.model_ids)
        return replay(ensemble, self.data, self.ballots, predicted=self.predicted[:, columns])


def final_answer(text: str) -> str:
    """A response of this table, which is a final answer already: a lone number by its value, or its text."""
    bare = plain(text)
    number = _NUMBER.fullmatch(bare)
    return repr(float(number[1].replace(",", ""))) if number else bare


def parts(
    data: TrainingData, ballots: Ballots, learnt: NDArray[np.int64], judged: NDArray[np.int64]
) -> tuple[Part, Part]:
    """The rows to learn from and the rows to judge on."""
    training = data.rows(learnt)
    router: TfidfLogistic = fit_tfidf_lr(training)
    held_out = data.rows(judged)
    forecast = router.forecast(held_out.prompts, features=held_out.features)
    return (
        Part(training, ballots.rows(learnt), predicted_out_of_part(training, fit_tfidf_lr)),
        Part(held_out, ballots.rows(judged), forecast.quality),
    )


def ensembles(learnt: Part) -> dict[str, Ensemble]:
    """The lines of the table by name, the best single model first, each fitted on `learnt`."""
    data, ballots = learnt.data, learnt.ballots
    majority, weighted = fit_majority(data), fit_weighted_vote(data)
    best = majority.among(majority.model_ids[:1])
    best_usd = replay(best, data, ballots).mean_cost_usd
    by_cost = [data.model_ids[i] for i in np.argsort(data.models.cost_usd, kind="stable")]
    lines: dict[str, Ensemble] = {"best single": best, "cheapest single": majority.among(by_cost[:1])}
    groups: dict[str, Vote] = {
        "3 cheapest": majority.among(by_cost[:3]),
        "7 cheapest": majority.among(by_cost[:7]),
        "chosen, <= 20 % of its cost": chosen(weighted, learnt, 0.2 * best_usd),
        "chosen, <= 50 % of its cost": chosen(weighted, learnt, 0.5 * best_usd),
        "chosen, <= 100 % of its cost": chosen(weighted, learnt, best_usd),
        "3 most reliable": majority.among(majority.model_ids[:3]),
        "chosen, <= 400 % of its cost": chosen(weighted, learnt, 4.0 * best_usd),
    }
    for name, members in groups.items():
        ids = members.model_ids
        lines[f"{name}: majority"] = majority.among(ids)
        lines[f"{name}: weighted"] = weighted.among(ids)
        lines[f"{name}: best of n"] = fit_best_of(data, ballots, ids)
        lines[f"{name}: best of n, forecast"] = fit_best_of(data, ballots, ids, predicted=learnt.predicted)
    return lines


def chosen(vote: Vote, learnt: Part, most_usd: float) -> Vote:
    """The members that the training rows recommend for at most this mean cost."""
    return choose_members(vote, learnt.data, learnt.ballots, selection=Selection(most_usd=most_usd))


def with_oracle(model_ids: Sequence[str], held_out: Part) -> Replayed:
    """What the members would have done with a judge who always knows: the most that any rule can reach."""
    data = held_out.data
    replayed = held_out.replayed(fit_majority(data).among(model_ids))
    quality = data.quality[:, columns_of(model_ids, data.model_ids)]
    return replace(replayed, quality=quality.max(axis=1))


def line(name: str, parts_of: Sequence[Replayed], best: Sequence[Replayed], sizes: Sequence[int]) -> str:
    """A row of the table: quality, cost, and both against the best single model."""
    quality, cost = (np.concatenate([getattr(r, key) for r in parts_of]) for key in ("quality", "cost_usd"))
    reference, reference_usd = (
        np.concatenate([getattr(r, key) for r in best]) for key in ("quality", "cost_usd")
    )
    change = bootstrap_mean(100.0 * (quality - reference))
    ratio = bootstrap_ratio(cost, reference_usd)
    return (
        f"| {name} | {np.mean(sizes):.1f} | {100.0 * quality.mean():.1f} | {1000.0 * cost.mean():.2f} "
        f"| {change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}] "
        f"| {100.0 * (ratio.value - 1.0):+.0f} % "
        f"[{100.0 * (ratio.low - 1.0):+.0f}, {100.0 * (ratio.high - 1.0):+.0f}] |"
    )


def main() -> None:
    """Print the table for the folds that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="zeroeval19.parquet")
    parser.add_argument("--folds", type=int, nargs="+", default=list(DEVELOPED_ON))
    arguments = parser.parse_args()
    table = read(arguments.table)
    data = from_table(table[table["id_fold"].notna()])
    ballots = ballots_of(data, final_answer=final_answer)
    fold_of = table.groupby("prompt_id")["id_fold"].first()
    fold = fold_of.loc[[prompt.prompt_id for prompt in data.prompts]].to_numpy()
    replays: dict[str, list[Replayed]] = {}
    sizes: dict[str, list[int]] = {}
    for scored in arguments.folds:
        learnt = np.flatnonzero(np.isin(fold, DEVELOPED_ON) & (fold != scored))
        training, held_out = parts(data, ballots, learnt, np.flatnonzero(fold == scored))
        for name, ensemble in ensembles(training).items():
            replays.setdefault(name, []).append(held_out.replayed(ensemble))
            sizes.setdefault(name, []).append(len(ensemble.model_ids))
            if name.endswith("forecast"):
                name = name.replace("best of n, forecast", "all-knowing judge")
                replays.setdefault(name, []).append(with_oracle(ensemble.model_ids, held_out))
                sizes.setdefault(name, []).append(len(ensemble.model_ids))
    n_prompts = sum(len(replayed.quality) for replayed in replays["best single"])
    print(f"Folds {arguments.folds}, {n_prompts} prompts. Points are of 0.01 quality.\n")
    print(
        "| ensemble | members | quality % | USD per 1,000 | change, points | cost |"
        "\n|---|---|---|---|---|---|"
    )
    for name, parts_of in replays.items():
        print(line(name, parts_of, replays["best single"], sizes[name]))


if __name__ == "__main__":
    main()
