"""Conversion of each source's format, on small files of our own writing in that format."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from workbench import outcomes
from workbench.datasets.originals import omnisbench, routellm, routerbench, zeroeval
from workbench.datasets.originals.estimate import cost_usd, tokens
from workbench.datasets.recorded import OriginalFile, benchmark
from workbench.errors import DataError

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


def lines(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def routellm_table(tmp_path: Path) -> pd.DataFrame:
    evals = tmp_path / "routellm" / "evals"
    for task, rows in {
        "art": [("None?", True, False)],
        "law": [("Sue?", False, True), ("Why?\nA. x", True, True)],
    }.items():
        path = evals / "mmlu" / "responses" / f"mmlu_{task}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=["prompt", WEAK, STRONG]).to_csv(path, index=False)
    solved = {"prompt": ["One and one?"], WEAK: [False], STRONG: [True]}
    solved |= {f"{WEAK}_response": ["It is 3."], f"{STRONG}_response": ["1 + 1 = 2, so #### 2"]}
    (evals / "gsm8k").mkdir()
    pd.DataFrame(solved).to_csv(evals / "gsm8k" / "gsm8k_responses.csv", index=False)
    lines(evals / "mmlu" / "contaminated_prompts.jsonl", {"eval_prompt": "Sue?"})
    lines(evals / "gsm8k" / "contaminated_prompts.jsonl")
    lines(evals / "mt_bench" / "contaminated_prompts.jsonl", {"eval_prompt": "And now?"})
    lines(
        evals / "mt_bench" / "question.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["Write.", "And now?"]},
    )
    scores = {(STRONG, 1): 10, (STRONG, 2): 9, (WEAK, 1): 1, (WEAK, 2): 1}
    lines(
        evals / "mt_bench" / "judgements.jsonl",
        *(
            {"question_id": 81, "model": model, "turn": turn, "score": s}
            for (model, turn), s in scores.items()
        ),
    )
    return outcomes.validate(routellm.convert(benchmark("routellm_pair"), tmp_path))


def test_routellm_qualities_are_its_booleans_and_mean_judgements(routellm_table: pd.DataFrame) -> None:
    quality = outcomes.pivot(routellm_table)
    assert quality.loc["mmlu-art-00000"].to_dict() == {STRONG: 0.0, WEAK: 1.0}
    assert quality.loc["gsm8k-gsm8k-00000"].to_dict() == {STRONG: 1.0, WEAK: 0.0}
    assert quality.loc["mtbench-81"].to_dict() == {STRONG: pytest.approx(8.5 / 9), WEAK: 0.0}


def test_routellm_marks_prompts_close_to_the_training_data(routellm_table: pd.DataFrame) -> None:
    contaminated = routellm_table[routellm_table["contaminated"]]["prompt_id"].unique()
    assert list(contaminated) == ["mmlu-law-00001", "mtbench-81"]


def test_routellm_numbers_prompts_across_tasks_and_keeps_text_as_it_is(routellm_table: pd.DataFrame) -> None:
    rows = routellm_table.drop_duplicates("prompt_id").set_index("prompt_id")
    assert rows.loc["mmlu-art-00000", "prompt"] == "None?"
    assert rows.loc["mmlu-law-00002", "prompt"] == "Why?\nA. x"


def test_estimated_cost_is_four_characters_a_token_at_the_list_price() -> None:
    spec = benchmark("routellm_pair")
    assert tokens("x" * 400) == 100
    assert cost_usd(spec, STRONG, input_tokens=100, output_tokens=10) == pytest.approx((1000 + 300) / 1e6)
    with pytest.raises(DataError, match="no price for 'gpt-9'"):
        cost_usd(spec, "gpt-9", input_tokens=1, output_tokens=1)


def test_routerbench_costs_and_responses_are_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "research/problems/llm_router/resources/reference_data.csv"
    path.parent.mkdir(parents=True)
    row = {"sample_id": "s1", "prompt": "not a list", "eval_name": "t", "m": "0.25"}
    pd.DataFrame([row | {"m|model_response": "['a']", "m|total_cost": "1e-05"}]).to_csv(path, index=False)
    table = routerbench.convert(benchmark("routerbench365"), tmp_path)
    kept = table[["prompt", "quality", "cost_usd", "response"]]
    assert kept.to_dict("records") == [
        {"prompt": "not a list", "quality": 0.25, "cost_usd": 1e-05, "response": "['a']"}
    ]


def test_omnisbench_keeps_the_first_call_and_seconds(tmp_path: Path) -> None:
    item = {"dataset": "gsm8k", "item_id": "g1", "chosen_model": "m", "passed": True, "cost_usd": 0.5}
    item |= {"latency_ms": 1500.0, "input_tokens": 7, "output_tokens": 2, "response_text": "four"}
    other = item | {"item_id": "unpublished", "passed": False}
    for run, items in {
        "2026-08-19": [item, item | {"cost_usd": 9.0}],
        "fresh-16k-2026-08-20": [other],
    }.items():
        lines(tmp_path / "runs" / run / "results.json", {"items": items})
    lines(tmp_path / "data" / "gsm8k.jsonl", {"id": "g1", "prompt": "2 + 2?"})
    lines(tmp_path / "data" / "humaneval.jsonl")
    table = outcomes.validate(omnisbench.convert(benchmark("omnisbench_latency"), tmp_path))
    assert table["latency_s"].to_list() == [1.5, 1.5]
    assert table["cost_usd"].to_list() == [0.5, 0.5]
    assert table["prompt"].isna().to_list() == [False, True]


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ('```json\n{"reasoning": "a\nb", "answer": "42"}\n```', "42"),
        ('{"reasoning": "x", "answer": -3.5}', "-3.5"),
        ('{"reasoning": "she said "hi"", "answer": "7"}', "7"),
        ("{reasoning: none, answer: 12, }", "12"),
        ("so it is $\\boxed{36}$", "36"),
        ("I do not know.", None),
        ("", None),
    ],
    ids=["fenced", "number", "broken-quotes", "no-quotes", "boxed", "none", "empty"],
)
def test_zeroeval_final_answers_are_found_in_what_models_write(output: str, answer: str | None) -> None:
    assert zeroeval.final_answer(output) == answer


@pytest.mark.parametrize(
    ("task", "answer", "reference", "right"),
    [
        ("gsm", "$70,000", "# 70000", True),
        ("gsm", "70 apples", "# 71", False),
        ("math-l5", "3/4", "0.75", True),
        ("math-l5", "x", "4", False),
        ("crux", "'abc'", "abc", True),
        ("crux", "[1, 2]", "[1,2]", False),
        ("crux", None, "''", False),
    ],
)
def test_zeroeval_is_scored_by_its_own_rules(
    task: str, answer: str | None, reference: str, right: bool
) -> None:
    assert zeroeval.is_right(task, answer, reference) is right


def test_zeroeval_counts_the_tokens_of_what_was_sent(tmp_path: Path) -> None:
    path = "result_dirs/gsm/gpt-4o-2024-08-06.json"
    item = {
        "id": "i1",
        "question": "1 + 1?",
        "answer": "# 2",
        "chat_history": ["x" * 40],
        "output": ['{"answer": "2"}'],
    }
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(json.dumps([item]))
    spec = replace(benchmark("zeroeval19"), files=(OriginalFile(path, "", 0),))
    (row,) = zeroeval.convert(spec, tmp_path).to_dict("records")
    assert (row["prompt_id"], row["quality"], row["input_tokens"], row["response"]) == (
        "gsm-i1",
        1.0,
        10,
        "2",
    )
    assert row["cost_usd"] == pytest.approx((10 * 2.5 + 4 * 10.0) / 1e6)
