"""`workbench evaluate-routers`: what it prints, as a table and as JSON, for tables of every shape."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from workbench import cli
from workbench.routing.evaluate import CONTENDERS, applicable
from workbench.routing.folds import folded

QUICK = "random,cheapest,best_single,no_information_fitted,label_oracle,knn,tfidf_lr"
KEYS = [
    "name", "kind", "quality", "cost_usd", "aiqlog", "aiqlog_interval", "apgr", "apgr_interval", "cpt50",
    "cpt80", "saving_at_parity", "saving_interval", "honest", "ece", "brier", "fit_s", "decide_ms",
]  # fmt: skip
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["workbench", "evaluate-routers", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out, captured.err

    return run


def recorded(n_models: int = 3, n_prompts: int = 60) -> pd.DataFrame:
    """A benchmark as they are recorded: `model`, no `arm`, no `provider`. A dearer model knows more."""
    rows = [
        {
            "prompt_id": f"p{number}",
            "prompt": f"{'add the numbers' if number % 2 else 'a poem on rivers'} {number * 7919 % 101}",
            "benchmark": "made",
            "task": "sum" if number % 2 else "poem",
            "model": f"model-{place}",
            "quality": float((number * 31 % 10) < 4 + place * (5 if number % 2 else 1)),
            "cost_usd": 0.001 * 2**place,
            "response": f"answer {(number * 31 % 10) < 4 + place}",
            "fold": number // 2 % 3,
        }
        for number in range(n_prompts)
        for place in range(n_models)
    ]
    return pd.DataFrame(rows)


def saved(table: pd.DataFrame, folder: Path) -> str:
    table.to_parquet(folder / "table.parquet")
    return str(folder / "table.parquet")


SHAPES = {
    "pair without cost": lambda: recorded(2).drop(columns=["cost_usd", "response"]),
    "pair with cost": lambda: recorded(2).drop(columns="response"),
    "three with cost": lambda: recorded(3).drop(columns="response"),
    "no tasks": lambda: recorded(3).drop(columns=["task", "response"]),
    "missing pairs": lambda: recorded(4).drop(columns="response").sample(frac=0.6, random_state=1),
    "numbers as names": lambda: recorded(3).assign(
        prompt_id=lambda t: t["prompt_id"].str[1:].astype(int), response=7
    ),
    "one that is always right": lambda: recorded(3).assign(
        quality=lambda t: t["quality"].where(t["model"] != "model-1", 1.0)
    ),
    "nothing costs": lambda: recorded(3).drop(columns="response").assign(cost_usd=0.0),
    "some not scored": lambda: recorded(3).assign(quality=lambda t: t["quality"].mask(t.index % 9 == 0)),
    "the same text twice": lambda: recorded(3).assign(
        prompt=lambda t: "number " + (t["fold"] * 100 + t.index // 3 % 7).astype(str)
    ),
    "latency and few costs": lambda: recorded(3).assign(
        latency_s=1.0, cost_usd=lambda t: t["cost_usd"].mask(t.index % 7 == 0)
    ),
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_table_of_any_shape_is_evaluated(run: Run, tmp_path: Path, shape: str) -> None:
    table = SHAPES[shape]()
    code, out, err = run(saved(table, tmp_path), "--folds", "fold", "--json", "--routers", _allowed(table))
    assert code == 0, err
    told = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(told) == ["table", "n_prompts", "n_models", "best_single", "routers"]
    assert told["table"] == "table.parquet"
    assert told["best_single"]["model"].startswith("model-")
    assert all(list(line) == KEYS for line in told["routers"])
    line = {line["name"]: line for line in told["routers"]}
    is_pair, is_priced = told["n_models"] == 2, "cost_usd" in table and table["cost_usd"].max() > 0.0
    assert (line["tfidf_lr"]["apgr"] is not None) == is_pair
    assert (line["tfidf_lr"]["aiqlog"] is not None) == is_priced
    assert (line["tfidf_lr"]["honest"]["cost_change"] is not None) == is_priced
    assert line["knn"]["kind"] == "learned"
    assert line["oracle"]["kind"] == line["no_information"]["kind"] == "baseline"
    assert line["random"]["ece"] is None


def _allowed(table: pd.DataFrame) -> str:
    without = {"cheapest": "cost_usd", "label_oracle": "task"}
    return ",".join(name for name in QUICK.split(",") if without.get(name, "model") in table)


def test_a_table_with_responses_has_cascades(run: Run, tmp_path: Path) -> None:
    code, out, err = run(saved(recorded(3), tmp_path), "--folds", "fold", "--json", "--routers", "cascade")
    assert code == 0, err
    kinds = {line["name"]: line["kind"] for line in json.loads(out)["routers"]}
    answered = ("cascade", "agreement_rule", "majority_vote", "weighted_vote", "best_of_n")
    assert [kinds[name] for name in answered] == ["cascade"] * 5


def test_by_default_all_routers_that_the_table_allows_are_compared() -> None:
    table = recorded(3).assign(arm=lambda t: t["model"])
    data = folded(table, "fold").data
    assert [contender.label or contender.kind for contender in applicable(data)] == [
        "random", "cheapest", "best_single", "no_information_fitted", "label_oracle", "knn", "clusters",
        "tfidf_lr", "matrix_factorisation", "mlp", "controller", "cascade",
    ]  # fmt: skip
    bare = folded(table.drop(columns=["cost_usd", "task"]), "fold").data
    assert len(applicable(bare)) == len(CONTENDERS) - 3


def test_without_json_a_table_is_printed(run: Run, tmp_path: Path) -> None:
    code, out, err = run(saved(recorded(3), tmp_path), "--routers", "best_single,knn")
    assert code == 0
    assert "60 prompts, 3 models. Best single model: model-2" in out
    assert all(name in out for name in ("best_single", "knn", "no_information", "oracle", "AIQlog"))
    assert "2 of 2: knn" in err


@pytest.mark.parametrize(
    ("change", "arguments", "told"),
    [
        (lambda t: t, ("--folds", "part"), "no column 'part'"),
        (lambda t: t.assign(fold=1), ("--folds", "fold"), "column 'fold' has 1 folds"),
        (lambda t: t.assign(fold=None), ("--folds", "fold"), "column 'fold' has 0 folds"),
        (lambda t: t.drop(columns="quality"), (), "no 'quality'"),
        (lambda t: t[t["model"] == "model-0"], (), "one model"),
        (lambda t: t, ("--routers", "oracle-2"), "there is no router 'oracle-2'"),
        (lambda t: t.iloc[:12], (), "4 different prompts cannot make 5 folds"),
        (lambda t: t.assign(quality=float("nan")), (), "no scored row to learn from"),
        (lambda t: t.assign(quality=t["quality"] * 100), (), "column 'quality' is not in [0, 1]"),
        (lambda t: pd.concat([t, t]), (), "repeats an earlier row of the same prompt_id, arm and repeat"),
        (lambda t: t.assign(fold=range(len(t))), ("--folds", "fold"), "prompt 'p0' is in 3 folds of 'fold'"),
    ],
    ids=[
        "column",
        "one-fold",
        "no-fold",
        "quality",
        "one-model",
        "router",
        "few",
        "nan",
        "percent",
        "twice",
        "torn",
    ],
)
def test_a_mistake_is_one_clear_error(
    run: Run,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    code, out, err = run(saved(change(recorded()), tmp_path), *arguments)
    assert (code, out) == (1, "")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert told in errors[0]


def test_a_file_that_is_missing_or_no_parquet_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_text("prompt_id,model\n")
    for name, told in (("nowhere.parquet", "nowhere.parquet"), ("table.parquet", "not a whole Parquet file")):
        code, out, err = run(str(tmp_path / name))
        assert (code, out) == (1, "")
        assert told in err
