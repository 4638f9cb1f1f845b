"""Outcome tables as training data: model ids, missing answers, and rows that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError, InsufficientDataError
from workbench.routing.training_data import TrainingData, parts_by_group
from workbench.routing.training_table import from_table

COLUMNS = ["prompt_id", "prompt", "arm", "quality", "cost_usd"]


def small(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)


def test_models_are_named_by_provider_and_model_else_by_arm(table: pd.DataFrame) -> None:
    assert from_table(table).model_ids == ("acme/mid", "acme/strong", "acme/weak")
    unnamed = small(("a", "x", "big", 1, 1), ("b", "y", "big", 0, 1), ("a", "x", "small", 0, 1))
    assert from_table(unnamed).model_ids == ("replay/big", "replay/small")
    assert from_table(unnamed, model_ids={"big": "openai/gpt"}).model_ids == ("openai/gpt", "replay/small")


def test_missing_answers_are_nan_and_errors_count_zero() -> None:
    table = small(("a", "x", "m", None, 0.1), ("b", "y", "m", 0.5, 0.3), ("a", "x", "n", 1.0, None))
    table["error"] = ["ServerError", None, None]
    data = from_table(table)
    assert np.array_equal(data.quality, [[0.0, 1.0], [0.5, np.nan]], equal_nan=True)
    assert np.allclose(data.models.quality, [0.25, 1.0])
    assert np.allclose(data.models.cost_usd, [0.2, np.nan], equal_nan=True)


def test_repeats_are_averaged() -> None:
    table = small(("a", "x", "m", 1, 1), ("a", "x", "m", 0, 3), ("b", "y", "m", 1, 1)).assign(
        repeat=[0, 1, 0]
    )
    data = from_table(table)
    assert data.quality.tolist() == [[0.5], [1.0]]
    assert data.cost_usd.tolist() == [[2.0], [1.0]]


def test_latency_tokens_and_answers_are_matrices_too() -> None:
    table = small(("a", "x", "m", 1, 1), ("a", "x", "m", 0, 3), ("b", "y", "n", 1, 1)).assign(
        repeat=[1, 0, 0],
        latency_s=[2.0, 4.0, None],
        input_tokens=[10, 10, 7],
        output_tokens=[None, 4, 1],
        response=["second", "first", None],
    )
    data = from_table(table)
    assert np.array_equal(data.latency_s, [[3.0, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(data.input_tokens, [[10.0, np.nan], [np.nan, 7.0]], equal_nan=True)
    assert np.array_equal(data.output_tokens, [[4.0, np.nan], [np.nan, 1.0]], equal_nan=True)
    assert data.answers is not None
    assert data.answers.tolist() == [["first", None], [None, None]]
    assert np.array_equal(data.models.latency_s, [3.0, np.nan], equal_nan=True)
    assert data.rows(np.array([1, 0])).answers.tolist() == [[None, None], ["first", None]]


def test_a_table_without_responses_has_no_answers(data: TrainingData) -> None:
    assert data.answers is None
    assert np.isnan(data.latency_s).all()


@pytest.mark.parametrize("n_rows", [0, 1], ids=["empty", "one-row"])
def test_too_few_rows_are_said_to_be_too_few(n_rows: int) -> None:
    with pytest.raises(InsufficientDataError):
        from_table(small(("a", "x", "m", 1, 1)).head(n_rows))


@pytest.mark.parametrize("column", ["quality", "cost_usd"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_names_its_prompt(column: str, value: float) -> None:
    table = small(("a", "x", "m", 1, 1), ("bad-one", "y", "m", 1, 1)).astype(
        {"quality": float, "cost_usd": float}
    )
    table.loc[1, column] = value
    with pytest.raises(DataError, match="bad-one"):
        from_table(table)


def test_a_poisoned_reward_is_refused() -> None:
    with pytest.raises(DataError, match="quality"):
        from_table(small(("a", "x", "m", 1, 1), ("b", "y", "m", 1e9, 1)))


@pytest.mark.parametrize("column", ["quality", "cost_usd", "latency_s", "output_tokens"])
def test_matrices_made_by_hand_are_checked_too(data: TrainingData, column: str) -> None:
    values = {name: getattr(data, name) for name in TrainingData.__slots__}
    values[column] = values[column].copy()
    values[column][3, 1] = -1.0
    with pytest.raises(DataError, match="'p3'"):
        TrainingData(**values)


def test_a_row_without_text_is_named() -> None:
    with pytest.raises(DataError, match="'b' has no text"):
        from_table(small(("a", "x", "m", 1, 1), ("b", None, "m", 1, 1)))


def test_a_table_without_quality_is_refused() -> None:
    with pytest.raises(DataError, match="quality"):
        from_table(small(("a", "x", "m", 1, 1)).drop(columns="quality"))


def test_duplicate_prompts_stay_in_one_part() -> None:
    table = small(*((f"p{i}", f"Text {i // 2}", "m", 1, 1) for i in range(40)))
    groups = from_table(table).groups
    part = parts_by_group(groups, 4, seed=1)
    assert np.array_equal(part[0::2], part[1::2])
    assert set(part) == {0, 1, 2, 3}
