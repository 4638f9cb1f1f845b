"""The leaderboard: what is fitted on what, what is scored, and what the numbers of known routers must be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ConfigError, DataError, InsufficientDataError
from workbench.outcomes import pivot, read
from workbench.routing.evaluate import cross_validate, evaluate
from workbench.routing.folds import folded
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.metrics import apgr
from workbench.routing.network import NetworkConfig
from workbench.routing.out_of_fold import Contender
from workbench.routing.train import TrainConfig

QUICK = (
    Contender("random"),
    Contender("cheapest"),
    Contender("best_single"),
    Contender("knn", label="knn", options={"k": 20}),
    Contender(
        "controller",
        options={"config": TrainConfig(n_parts=2, networks=NetworkConfig(max_epochs=6, n_hidden=8))},
    ),
)


@pytest.fixture(scope="module")
def board(table: pd.DataFrame) -> Leaderboard:
    return cross_validate(table, folds=4, contenders=QUICK, n_resamples=100)


@pytest.fixture(scope="module")
def pair_board(pair_table: pd.DataFrame) -> Leaderboard:
    return cross_validate(pair_table, folds=4, contenders=QUICK, n_resamples=100)


def line(board: Leaderboard, router: str) -> pd.Series:
    return board.table.set_index("router").loc[router]


def test_one_line_a_router_and_the_oracle_last(board: Leaderboard) -> None:
    assert board.table["router"].tolist() == [
        "random",
        "cheapest",
        "best_single",
        "knn",
        "controller",
        "no_information",
        "oracle",
    ]
    assert (board.table["n_prompts"] == 120).all()


def test_known_routers_have_known_quality_and_cost(board: Leaderboard) -> None:
    assert line(board, "best_single")[["quality", "cost_usd"]].tolist() == pytest.approx([1.0, 0.02])
    assert line(board, "cheapest")[["quality", "cost_usd"]].tolist() == pytest.approx([0.5, 0.001])
    assert line(board, "random")["quality"] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3, abs=0.12)
    # the oracle takes weak for poems, mid for algebra that it gets right (1/3 of all), strong for the rest
    assert line(board, "oracle")["cost_usd"] == pytest.approx(0.001 / 2 + 0.005 / 3 + 0.02 / 6)


def test_routers_that_say_the_same_of_every_prompt_have_apgr_one_half(pair_board: Leaderboard) -> None:
    for name in ("best_single", "cheapest"):
        assert line(pair_board, name)["apgr"] == pytest.approx(0.5)


def test_a_learned_router_beats_chance_on_a_pair(pair_board: Leaderboard) -> None:
    assert line(pair_board, "random")["apgr"] == pytest.approx(0.5, abs=0.15)
    assert line(pair_board, "oracle")["apgr"] == pytest.approx(0.75)  # half of the prompts gain: 1 - 1/4
    for name in ("knn", "controller"):
        assert line(pair_board, name)["apgr_low"] > 0.6
        assert line(pair_board, name)["cpt50"] < 0.4


def test_pair_measures_are_for_pairs_and_curve_measures_for_known_costs(
    board: Leaderboard, pair_board: Leaderboard
) -> None:
    assert board.table[["apgr", "cpt50", "cpt80"]].isna().all(axis=None)
    aiqlog = board.table.set_index("router")["aiqlog"]
    assert aiqlog["oracle"] >= aiqlog["knn"] >= aiqlog["no_information"]
    assert aiqlog[["random", "cheapest", "best_single"]].isna().all()
    assert line(board, "no_information")["saving"] == pytest.approx(0.0)


def test_what_is_not_predicted_is_not_calibrated(board: Leaderboard) -> None:
    is_absent = board.table.set_index("router")["ece"].isna()
    assert set(is_absent.index[is_absent]) == {"random", "cheapest", "no_information"}
    assert line(board, "oracle")["brier"] == 0.0


def test_no_information_is_the_hull_of_the_single_models(table: pd.DataFrame) -> None:
    kinds = ("no_information", "best_single", "label_oracle")
    contenders = [Contender(kind, label=f"{kind} fitted", cost_weight=30.0) for kind in kinds]
    board = cross_validate(table, folds=4, contenders=contenders, n_resamples=10)
    knows_nothing, best, _, _ = board.predictions
    assert np.array_equal(knows_nothing.choice, best.choice)
    fitted, hull = line(board, "no_information fitted"), line(board, "no_information")
    assert fitted["cost_usd"] < 0.02  # at this weight the best is not worth its price
    assert fitted["aiqlog"] == pytest.approx(hull["aiqlog"], abs=0.01)
    assert fitted["saving"] == hull["saving"] == pytest.approx(0.0)
    assert line(board, "label_oracle fitted")["aiqlog"] > hull["aiqlog"]


def test_forecasts_are_those_of_the_scored_prompts_in_their_order(table: pd.DataFrame) -> None:
    timed = table.assign(latency_s=table["quality"] + 1.0)
    board = cross_validate(timed, folds=4, contenders=[Contender("label_oracle")], n_resamples=10)
    said, data = board.predictions[0].forecast, board.scored.data
    weak = said.quality[:, data.model_ids.index("acme/weak")]
    assert weak.tolist() == [float(prompt.task == "poem") for prompt in data.prompts]
    assert said.latency_s[:, data.model_ids.index("acme/strong")] == pytest.approx(2.0)
    assert np.isnan(said.familiarity).all()


def test_no_prompt_is_predicted_by_a_router_that_saw_it() -> None:
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"unique{i}", "arm": arm, "quality": float((i + (arm == "b")) % 2)}
        for i in range(40)
        for arm in "ab"
    ]
    board = cross_validate(
        pd.DataFrame(rows), folds=4, contenders=[Contender("knn", options={"k": 1})], n_resamples=10
    )
    said = board.predictions[0].predicted[:, 0]
    assert (said != board.scored.data.quality[:, 0]).any()  # its own row would be its nearest neighbour


def test_duplicates_are_in_one_fold_where_folds_are_made() -> None:
    rows = [
        {
            "prompt_id": f"p{i}",
            "prompt": f"text {i // 2}",
            "arm": arm,
            "quality": 1.0 if arm == "a" else i % 2,
        }
        for i in range(40)
        for arm in "ab"
    ]
    scored = cross_validate(pd.DataFrame(rows), folds=3, contenders=[], n_resamples=10).scored
    assert np.array_equal(scored.fold[0::2], scored.fold[1::2])
    assert set(scored.fold) == {0, 1, 2}


def test_a_column_of_folds_is_obeyed_and_rows_without_one_left_out(table: pd.DataFrame) -> None:
    number = table["prompt_id"].str[1:].astype(int)
    folded = table.assign(part=(number % 2).where(number < 100))
    board = cross_validate(folded, folds="part", contenders=[Contender("best_single")], n_resamples=10)
    prompts = [int(prompt.prompt_id[1:]) for prompt in board.scored.data.prompts]
    assert sorted(prompts) == list(range(100))
    assert board.scored.fold.tolist() == [prompt % 2 for prompt in prompts]
    # fold 0 (poems) was predicted from fold 1 (algebra), where weak is never right
    weak = board.predictions[0].predicted[:, board.scored.data.model_ids.index("acme/weak")]
    assert weak.tolist() == [float(prompt % 2 == 1) for prompt in prompts]


def test_prompts_that_not_every_model_answered_are_learned_from_but_not_scored(table: pd.DataFrame) -> None:
    is_missing = (table["prompt_id"] == "p3") & (table["arm"] == "acme/mid")
    board = cross_validate(table[~is_missing], folds=3, contenders=[Contender("best_single")], n_resamples=10)
    assert "p3" not in {prompt.prompt_id for prompt in board.scored.data.prompts}
    assert board.table["n_prompts"].tolist() == [119, 119, 119]


def test_the_same_seed_gives_the_same_table(table: pd.DataFrame) -> None:
    few = [Contender("random"), Contender("knn", options={"k": 5})]
    tables = [cross_validate(table, contenders=few, seed=4, n_resamples=50).table for _ in range(2)]
    pd.testing.assert_frame_equal(*(t.drop(columns=["fit_s", "decide_ms"]) for t in tables))


@pytest.mark.slow
def test_two_processes_say_what_one_says(table: pd.DataFrame) -> None:
    few = [Contender("random"), Contender("label_oracle"), Contender("knn", options={"k": 5})]
    divided = folded(table, 3)
    boards = [evaluate(divided, few, n_processes=n, n_resamples=20, margin=0.0) for n in (1, 2)]
    one, two = (board.table.drop(columns=["fit_s", "decide_ms"]) for board in boards)
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it_and_ends(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_parquet(tmp_path / "table.parquet")
    script = tmp_path / "script.py"
    script.write_text(
        "import pandas as pd\n"
        "from workbench.routing.evaluate import evaluate\n"
        "from workbench.routing.folds import folded\n"
        "from workbench.routing.out_of_fold import Contender\n"
        "few = [Contender('random'), Contender('knn', options={'k': 5})]\n"
        "evaluate(folded(pd.read_parquet('table.parquet'), 3), few, n_processes=2, n_resamples=5)\n"
    )
    ended = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert 'call this under `if __name__ == "__main__":`' in ended.stderr.splitlines()[-1]


def test_a_router_that_cannot_be_fitted_is_left_out_and_told(table: pd.DataFrame) -> None:
    board = cross_validate(table.drop(columns="cost_usd"), contenders=[Contender("cheapest")], n_resamples=5)
    assert board.table["router"].tolist() == ["no_information", "oracle"]
    assert "cheapest is left out: no row has a cost_usd" in board.notes[0]


def test_the_table_by_task_adds_up(board: Leaderboard) -> None:
    by_task = board.by_task.set_index(["router", "task"])
    assert by_task.loc[("cheapest", "poem"), "quality"] == 1.0
    assert by_task.loc[("cheapest", "algebra"), ["quality", "quality_change"]].tolist() == [0.0, -1.0]
    assert by_task["n_prompts"].groupby("router").sum().eq(120).all()


def test_differences_are_of_the_same_draws(board: Leaderboard) -> None:
    result = next(result for result in board.results if result.router == "oracle")
    assert result.over_knn is not None
    assert result.aiqlog is not None
    knn = next(result for result in board.results if result.router == "knn").aiqlog
    assert knn is not None
    assert result.over_knn.value == pytest.approx(result.aiqlog.value - knn.value)
    assert result.over_knn.high - result.over_knn.low < 2 * (knn.high - knn.low)


def test_what_cannot_be_validated_is_explained(table: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="no column 'fold'"):
        cross_validate(table, folds="fold")
    with pytest.raises(ConfigError, match="2 or more"):
        cross_validate(table, folds=1)
    with pytest.raises(ConfigError, match="1 folds"):
        cross_validate(table.assign(fold=1), folds="fold")
    with pytest.raises(DataError, match="is in 3 folds"):
        cross_validate(table.assign(fold=range(len(table))), folds="fold")
    with pytest.raises(InsufficientDataError, match="by two of the 3 models"):
        cross_validate(
            table.drop_duplicates("prompt_id", keep="first").assign(
                arm=lambda t: [f"m{i % 3}" for i in range(len(t))], model=None
            ),
            contenders=[],
        )
    with pytest.raises(InsufficientDataError):
        cross_validate(table.head(0))


def test_more_folds_than_groups_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InsufficientDataError, match="folds"):
        cross_validate(table[table["prompt_id"].isin(["p0", "p1", "p2"])], folds=9, contenders=[])


@pytest.mark.slow
def test_the_published_accuracies_and_the_oracle_of_mmlu_are_reproduced(shared_data: Path) -> None:
    table = read(shared_data / "routellm_pair.parquet")
    mmlu = table[(table["benchmark"] == "mmlu") & ~table["contaminated"].astype(bool)]
    means = pivot(mmlu).mean().round(4).to_dict()
    assert means == {"gpt-4-1106-preview": 0.8059, "mistralai/Mixtral-8x7B-Instruct-v0.1": 0.6809}
    quality = pivot(mmlu).to_numpy()
    assert apgr(quality[:, 0] - quality[:, 1], quality[:, 0], quality[:, 1]) == pytest.approx(1.285, abs=5e-4)


@pytest.mark.slow
def test_knn_beats_chance_on_prompts_of_mmlu_that_it_did_not_see(shared_data: Path) -> None:
    table = read(shared_data / "routellm_pair.parquet")
    mmlu = table[(table["benchmark"] == "mmlu") & (table["id_fold"] <= 1)]
    part = mmlu[mmlu["prompt_id"].isin(mmlu["prompt_id"].unique()[::2])]
    knn, *_ = cross_validate(part, folds="id_fold", contenders=[Contender("knn")], n_resamples=200).results
    assert knn.apgr is not None
    assert knn.apgr.low > 0.55


def test_the_best_single_model_and_the_no_information_hull_of_zeroeval_are_reproduced(
    shared_data: Path,
) -> None:
    table = read(shared_data / "zeroeval19.parquet").assign(task="same")
    board = cross_validate(table, folds="id_fold", contenders=[], n_resamples=50)
    lines = board.table.set_index("router")
    assert board.best_single.model_id == "replay/claude-3-5-sonnet-20241022"
    assert board.best_single.quality == pytest.approx(0.8359, abs=5e-5)
    assert lines["quality"].to_dict() == pytest.approx({"no_information": 0.8359, "oracle": 0.9563}, abs=5e-5)
    assert lines["aiqlog"].to_dict() == pytest.approx({"no_information": 0.7849, "oracle": 0.9462}, abs=2e-4)
    assert lines["saving"]["oracle"] == pytest.approx(0.98, abs=0.005)
