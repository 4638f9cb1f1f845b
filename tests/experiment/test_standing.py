"""Whether a router is better than what is simpler, where that is known."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InsufficientDataError
from workbench.experiment.standing import operating_point, standings, summary
from workbench.routing.evaluate import evaluate
from workbench.routing.folds import folded
from workbench.routing.leaderboard import Leaderboard
from workbench.routing.out_of_fold import Contender

CONTENDERS = (Contender("best_single"), Contender("label_oracle"), Contender("knn"))


def table(*, n_prompts: int = 160) -> pd.DataFrame:
    """The dear model is always right, the cheap one at poems only; the words say nothing of which it is."""
    rng = np.random.default_rng(0)
    words = rng.choice(["river", "garden", "engine", "planet", "window"], (n_prompts, 6))
    return pd.DataFrame(
        {
            "prompt_id": f"p{number}",
            "prompt": f"{' '.join(words[number])} {number}",
            "task": "algebra" if number % 2 else "poem",
            "arm": model,
            "quality": 1.0 if model == "dear" else float(number % 2 == 0),
            "cost_usd": 0.02 if model == "dear" else 0.001,
        }
        for number in range(n_prompts)
        for model in ("dear", "cheap")
    )


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return evaluate(folded(table(), 4), CONTENDERS, margin=0.0, n_resamples=100)


def test_words_that_say_nothing_are_not_said_to_help(board: Leaderboard) -> None:
    found = {standing.rival: standing for standing in standings(board, "knn")}
    assert list(found) == ["no_information", "label_oracle"]
    assert found["no_information"].finding == "undecided"
    assert found["label_oracle"].finding == "worse"
    said = summary(board, "knn")
    assert "worse than label_oracle" in said
    assert "not shown to differ from no_information" in said


def test_the_task_is_better_than_both_and_by_the_measure_of_a_pair(board: Leaderboard) -> None:
    found = standings(board, "label_oracle")
    assert [(one.rival, one.metric, one.finding) for one in found] == [
        ("no_information", "APGR", "better"),
        ("knn", "APGR", "better"),
    ]
    # All that is gained is gained with the half of the prompts that are ranked first: 0.75 against 0.5.
    assert found[0].difference.value == pytest.approx(0.25)
    assert "better than no_information and knn, on 160 prompts" in summary(board, "label_oracle")


def test_what_to_expect_in_use_is_the_honest_point(board: Leaderboard) -> None:
    assert "costs -48 % [" in operating_point(board, "label_oracle")  # 0.0105 for 0.02
    assert "at 0.0 points [0.0, 0.0] of quality" in operating_point(board, "label_oracle")


def test_without_costs_no_point_is_promised() -> None:
    free = evaluate(folded(table().drop(columns="cost_usd"), 4), CONTENDERS, margin=0.0, n_resamples=100)
    assert "costs of the models are not known" in operating_point(free, "knn")


def test_a_router_that_is_not_there_is_named(board: Leaderboard) -> None:
    with pytest.raises(InsufficientDataError, match="no router 'mlp'"):
        operating_point(board, "mlp")
    with pytest.raises(InsufficientDataError, match="no predictions of a router 'mlp'"):
        standings(board, "mlp")
