"""Prices and models: read honestly, and never bounded below what a call can cost."""

import csv
import dataclasses
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog import Catalog, ModelSpec, Price, default_catalog, read_catalog, token_bound
from workbench.errors import ConfigError, DataError, StorageError
from workbench.settings import data_dir
from workbench.types import Decoding, Image, Message, Prompt, Tool, ToolCall, Usage

HEADER = "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date\n"
PRICE = Price(1.0, 4.0, "made up", date(2026, 11, 1))


def catalog_of(folder: Path, *rows: str) -> Catalog:
    path = folder / "models.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return read_catalog(path)


def test_a_row_becomes_a_model(tmp_path: Path) -> None:
    spec = catalog_of(tmp_path, "p,a/b,0.5,2,8000,https://p.example/prices,2026-11-01")["p/a/b"]
    assert spec == ModelSpec("p", "a/b", Price(0.5, 2.0, "https://p.example/prices", date(2026, 11, 1)), 8000)


def test_a_window_nobody_has_stated_is_none(tmp_path: Path) -> None:
    assert catalog_of(tmp_path, "p,m,0,0,,s,2026-11-01")["p/m"].context_tokens is None


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("p,m,-1,2,,s,2026-11-01", "a price of p/m: input_usd_per_mtok is -1"),
        ("p,m,1,nan,,s,2026-11-01", "p/m: output_usd_per_mtok is nan: negative or not a number"),
        ("p,m,1,inf,,s,2026-11-01", "a price of p/m"),
        ("p,m,cheap,2,,s,2026-11-01", "cheap"),
        ("p,m,1,2,,s,1 November", "1 November"),
        ("p,m,1,2,many,s,2026-11-01", "many"),
        ("p,m,1", "line 3"),
        (",m,1,2,,s,2026-11-01", "needs a provider and a model"),
    ],
    ids=["negative", "nan", "infinite", "words", "date", "window", "short", "nameless"],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str, what: str) -> None:
    with pytest.raises(DataError, match=r"models\.csv, line 3") as caught:
        catalog_of(tmp_path, "p,good,1,2,,s,2026-11-01", row)
    assert what in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_text("provider,model,source\np,m,s\n")
    with pytest.raises(DataError, match="lacks the columns context_tokens, date, input_usd_per_mtok"):
        read_catalog(tmp_path / "models.csv")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(DataError, match=r"models\.csv is not UTF-8"):
        read_catalog(tmp_path / "models.csv")


def test_a_missing_catalog_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="model catalog: there is no file"):
        read_catalog(tmp_path / "none.csv")


def test_an_unknown_model_is_told_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"no model 'openai/gpt-4o-mimi'.*did you mean openai/gpt-4o-mini"):
        default_catalog()["openai/gpt-4o-mimi"]


def test_of_two_catalogs_the_second_is_right() -> None:
    ours, theirs = ModelSpec("p", "m"), ModelSpec("p", "m", PRICE)
    assert (Catalog([ours, ModelSpec("q", "n")]) | Catalog([theirs]))["p/m"] == theirs
    assert {spec.model_id for spec in Catalog([ours]) | Catalog([ModelSpec("q", "n")])} == {"p/m", "q/n"}


def test_a_model_without_a_price_gives_no_bound() -> None:
    with pytest.raises(ConfigError, match="p/m has no price, so a budget cannot be kept"):
        ModelSpec("p", "m").cost_bound_usd(Prompt("1", "hi"), Decoding())


def test_a_cost_is_tokens_times_price() -> None:
    assert PRICE.cost_usd(Usage(1_000_000, 500_000)) == pytest.approx(1.0 + 2.0)


@given(text=st.text(), system=st.none() | st.text(), limit=st.integers(1, 4096), share=st.floats(0, 1))
def test_the_bound_is_never_below_what_a_call_costs(
    text: str, system: str | None, limit: int, share: float
) -> None:
    prompt = Prompt("p", text, system=system)
    worst_tokens = sum(len(message.content.encode()) + 8 for message in prompt.messages)  # a token a byte
    usage = Usage(worst_tokens, round(limit * share))
    assert PRICE.cost_usd(usage) <= ModelSpec("p", "m", PRICE).cost_bound_usd(prompt, Decoding(limit))


def test_the_token_bound_counts_bytes_not_letters() -> None:
    assert token_bound(Prompt("p", "é" * 100)) >= 200


PLAIN = Prompt("p", "Look.")


@pytest.mark.parametrize(
    ("prompt", "at_least"),
    [
        (Prompt("p", "Look.", images=(Image(url="https://a.example/b.png"),) * 2), 2 * 16_384),
        (Prompt("p", "Look.", images=(Image(b"png"),)), 16_384),
        (Prompt("p", "Look.", history=(Message("user", "x" * 500), Message("assistant", "y" * 500))), 1000),
        (Prompt("p", "", history=(Message("tool", "x" * 500, tool_call_id="c" * 40),)), 540),
        (
            Prompt("p", "", history=(Message("assistant", "", tool_calls=(ToolCall("c", "f", "é" * 300),)),)),
            600,
        ),
    ],
    ids=["image-urls", "image", "history", "tool-result", "tool-call"],
)
def test_everything_in_a_prompt_is_in_its_token_bound(prompt: Prompt, at_least: int) -> None:
    assert token_bound(prompt) >= at_least


@pytest.mark.parametrize(
    ("decoding", "at_least"),
    [
        (Decoding(tools=(Tool("f", "d" * 300, '{"type": "object"}'),)), 300 + 530),
        (Decoding(json_schema='{"title": "' + "t" * 300 + '"}'), 300),
    ],
    ids=["tools", "schema"],
)
def test_tools_and_a_schema_are_in_the_bound_of_a_call(decoding: Decoding, at_least: int) -> None:
    assert token_bound(PLAIN, decoding) - token_bound(PLAIN) >= at_least
    model = ModelSpec("p", "m", PRICE)
    more_usd = model.cost_bound_usd(PLAIN, decoding) - model.cost_bound_usd(PLAIN, Decoding())
    assert more_usd >= PRICE.cost_usd(Usage(at_least, 0))


def test_every_price_that_comes_with_the_package_has_a_page_and_a_date() -> None:
    for spec in default_catalog():
        assert spec.price is not None
        is_simulated = spec.provider == "simulator"
        assert spec.price.source.startswith("made up by this project" if is_simulated else "https://")
        assert spec.price.date >= date(2026, 1, 1)


def test_the_file_that_comes_with_the_package_names_no_model_twice() -> None:
    with (data_dir() / "models.csv").open() as file:
        ids = [(row["provider"], row["model"]) for row in csv.DictReader(file)]
    assert len(ids) == len(set(ids)) == len(list(default_catalog()))


def test_a_spec_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelSpec("p", "m").price = PRICE  # type: ignore[misc]  # the point of the test
