"""What of a table is learned from, what is scored, and what is said about the rest."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.folds import folded, scored


def small(n_prompts: int = 8, arms: str = "abc") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "prompt_id": f"p{i}",
                "prompt": f"text {i}",
                "arm": arm,
                "quality": float((i + place) % 2),
                "cost_usd": 1.0 + place,
            }
            for i in range(n_prompts)
            for place, arm in enumerate(arms)
        ]
    )


def test_rows_without_a_fold_or_a_text_are_left_out_and_counted() -> None:
    table = small().assign(fold=lambda t: t["prompt_id"].map(lambda name: int(name[1:]) % 2))
    table["fold"] = table["fold"].astype("Int64").mask(table["prompt_id"] == "p0")
    table["prompt"] = table["prompt"].mask(table["prompt_id"] == "p1")
    divided = folded(table, "fold")
    assert [prompt.prompt_id for prompt in divided.data.prompts] == [f"p{i}" for i in range(2, 8)]
    assert divided.notes == (
        "3 rows of 1 prompts have no value in 'fold': left out",
        "3 rows of 1 prompts have no text: left out",
    )


def test_duplicates_in_two_folds_are_told() -> None:
    table = small().assign(prompt="the same", fold=lambda t: t["prompt_id"].map(lambda p: int(p[1:]) % 2))
    assert "1 groups of prompts with the same text" in folded(table, "fold").notes[0]


def test_where_most_prompts_are_complete_the_others_are_not_scored() -> None:
    table = small()
    table = table[~((table["prompt_id"] == "p3") & (table["arm"] == "b"))]
    found, rows = scored(folded(table, 2))
    assert found.is_complete
    assert rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert "1 of 8 prompts" in found.notes[0]


def test_where_few_are_complete_a_choice_is_among_those_that_answered() -> None:
    table = small()
    lacks = table["prompt_id"].map(lambda name: "abc"[int(name[1:]) % 3])
    found, rows = scored(folded(table[table["arm"] != lacks], 2))
    assert len(rows) == 8
    assert (found.answered.sum(axis=1) == 2).all()
    alone = found.single_models()
    asked = np.take_along_axis(found.answered, alone.T, axis=1)
    assert asked.all()  # where a model has no answer, another one is asked
    assert (alone[0][found.answered[:, 0]] == 0).all()
    assert "scored are the 8 that two or more answered" in found.notes[0]


def test_an_unknown_cost_is_the_models_mean_and_told() -> None:
    table = small()
    table["cost_usd"] = table["cost_usd"].mask((table["prompt_id"] == "p0") & (table["arm"] == "b"))
    found, _ = scored(folded(table, 2))
    assert found.cost_usd is not None
    assert found.cost_usd[0].tolist() == [1.0, 2.0, 3.0]
    assert "the cost of 1 answers is not known" in found.notes[0]
    assert scored(folded(small().drop(columns="cost_usd"), 2))[0].cost_usd is None


def test_one_model_is_no_choice() -> None:
    with pytest.raises(InsufficientDataError, match="one model"):
        folded(small(arms="a"), 2)


def test_a_table_without_quality_is_refused() -> None:
    with pytest.raises(DataError, match="quality"):
        folded(small().drop(columns="quality"), 2)
