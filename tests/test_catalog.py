"""Prices and models: read honestly, and never bounded below what a call can cost."""

import dataclasses
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog import (
    Catalog,
    ModelSpec,
    Price,
    default_catalog,
    read_catalog,
    today,
    token_bound,
)
from workbench.catalog.check import check_rows
from workbench.catalog.models import SAME_MODELS, with_prices
from workbench.catalog.table import package_file, read_rows, write_catalog
from workbench.errors import ConfigError, DataError, StorageError
from workbench.providers.registry import endpoint
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


@pytest.mark.parametrize(("alias", "listed"), sorted(SAME_MODELS.items()))
def test_another_address_has_the_models_of_the_one_that_is_listed(alias: str, listed: str) -> None:
    catalog = default_catalog()
    specs = [spec for spec in catalog if spec.provider == listed]
    assert specs
    for spec in specs:
        assert catalog[f"{alias}/{spec.model}"] == dataclasses.replace(spec, provider=alias)
        assert catalog.callable_model(f"{alias}/{spec.model}").price_on() == spec.price_on()
    assert {endpoint(alias).key_var} == {endpoint(listed).key_var}


def test_a_misspelt_model_of_another_address_is_refused() -> None:
    catalog = default_catalog()
    assert "openai-responses/gpt-4o-mini" in catalog
    assert "openai-responses/gpt-4o-mimi" not in catalog
    with pytest.raises(ConfigError, match="openai/gpt-4o-mini"):
        catalog.callable_model("openai-responses/gpt-4o-mimi")


def test_a_row_of_its_own_stands_for_another_address() -> None:
    own = Catalog([ModelSpec("openai", "m", PRICE, 8000), ModelSpec("openai-responses", "m", None, 9000)])
    assert own["openai-responses/m"].context_tokens == 9000
    assert own["openai/m"].context_tokens == 8000


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
        assert spec.prices
        for price in spec.prices:
            is_simulated = spec.provider == "simulator"
            assert price.source.startswith("made up by this project" if is_simulated else "https://")
            assert price.date >= date(2025, 1, 1)


def test_every_fact_that_comes_with_the_package_has_a_source() -> None:
    for spec in default_catalog():
        has_facts = spec.capabilities or spec.max_output_tokens
        assert not has_facts or spec.facts_source, spec.model_id


def test_the_file_that_comes_with_the_package_has_nothing_to_find_fault_with() -> None:
    rows = read_rows(package_file())
    newest = max(
        row.price.checked or row.price.date for row in rows if row.price and row.price.date <= today()
    )
    assert list(check_rows(rows, on=newest)) == []


def price_of(usd: float, day: str, **rates: object) -> Price:
    return Price(usd, 2 * usd, "made up", date.fromisoformat(day), **rates)  # type: ignore[arg-type]


HISTORY = with_prices(
    ModelSpec("p", "m"),
    [price_of(3.0, "2026-12-24"), price_of(1.0, "2026-01-01"), price_of(2.0, "2026-06-01")],
)


@pytest.mark.parametrize(
    ("day", "usd"),
    [
        ("2025-12-31", 1.0),
        ("2026-05-31", 1.0),
        ("2026-06-01", 2.0),
        ("2026-12-23", 2.0),
        ("2099-01-01", 3.0),
    ],
)
def test_a_call_is_billed_at_the_price_of_its_day(day: str, usd: float) -> None:
    price = Catalog([HISTORY]).price("p/m", on=date.fromisoformat(day))
    assert price is not None
    assert price.input_usd_per_mtok == usd


def test_an_announced_price_is_not_yet_the_price() -> None:
    coming = with_prices(ModelSpec("p", "m"), [price_of(1.0, "2026-01-01"), price_of(9.0, "2999-01-01")])
    assert coming.price == coming.price_on() == price_of(1.0, "2026-01-01")


def test_a_model_without_a_price_has_none_on_any_day() -> None:
    assert Catalog([ModelSpec("p", "m")]).price("p/m", on=date(2026, 1, 1)) is None


def test_a_price_of_ones_own_holds_from_its_date_and_the_older_one_before() -> None:
    mine = with_prices(ModelSpec("p", "m"), [price_of(0.5, "2026-03-01")])
    merged = Catalog([HISTORY]) | Catalog([mine])
    prices = {day: merged.price("p/m", on=date.fromisoformat(day)) for day in ("2026-02-28", "2026-07-01")}
    assert [price and price.input_usd_per_mtok for price in prices.values()] == [1.0, 0.5]


def test_what_a_file_of_ones_own_leaves_unsaid_is_taken_from_the_package() -> None:
    full = ModelSpec("p", "m", PRICE, 8000, 1000, frozenset({"tools"}), "a page")
    assert (Catalog([full]) | Catalog([ModelSpec("p", "m", max_output_tokens=50)]))[
        "p/m"
    ] == dataclasses.replace(full, max_output_tokens=50)


def test_each_token_is_billed_once_at_the_rate_of_its_kind() -> None:
    price = price_of(
        10.0,
        "2026-01-01",
        cached_input_usd_per_mtok=1.0,
        cache_write_usd_per_mtok=12.5,
        reasoning_usd_per_mtok=30.0,
    )
    usage = Usage(1000, 500, cached_input_tokens=600, reasoning_tokens=200, cache_write_tokens=100)
    by_hand = 300 * 10 + 600 * 1 + 100 * 12.5 + 300 * 20 + 200 * 30
    assert price.cost_usd(usage) == pytest.approx(by_hand / 1e6)


def test_a_rate_that_is_not_stated_is_that_of_its_kind() -> None:
    counted = Usage(1000, 500, cached_input_tokens=600, reasoning_tokens=200, cache_write_tokens=100)
    assert PRICE.cost_usd(counted) == PRICE.cost_usd(Usage(1000, 500))


@pytest.mark.parametrize(("input_tokens", "usd"), [(200_000, 1.0), (200_001, 3.0), (1_000_001, 5.0)])
def test_a_long_prompt_is_billed_at_its_tier_as_a_whole(input_tokens: int, usd: float) -> None:
    longest = price_of(5.0, "2026-01-01", above_input_tokens=1_000_000)
    longer = price_of(3.0, "2026-01-01", above_input_tokens=200_000, longer=longest)
    price = price_of(1.0, "2026-01-01", longer=longer)
    expected = (input_tokens * usd + 100 * 2 * usd) / 1e6
    assert price.cost_usd(Usage(input_tokens, 100)) == pytest.approx(expected)


def test_a_batch_takes_its_share_off_every_tier_and_what_it_says_off_a_cache() -> None:
    longer = price_of(4.0, "2026-01-01", above_input_tokens=10, cached_input_usd_per_mtok=2.0)
    listed = price_of(2.0, "2026-01-01", batch_discount=0.5, cached_input_usd_per_mtok=1.0, longer=longer)
    batch = listed.batch
    assert batch is not None
    usage = Usage(1000, 100, cached_input_tokens=400)
    assert batch.cost_usd(usage) == pytest.approx((600 * 2.0 + 400 * 2.0 + 100 * 4.0) / 1e6)
    assert batch.cost_usd(Usage(10, 10)) == pytest.approx(listed.cost_usd(Usage(10, 10)) / 2)


def test_a_model_without_a_batch_price_says_so() -> None:
    with pytest.raises(ConfigError, match=r"p/m has a price, but none in batches.*batch_discount"):
        ModelSpec("p", "m", PRICE).batch_price_on()


@given(
    usage=st.builds(
        Usage,
        st.integers(0, 3000),
        st.integers(0, 3000),
        cached_input_tokens=st.integers(0, 3000),
        reasoning_tokens=st.integers(0, 3000),
        cache_write_tokens=st.integers(0, 3000),
    ),
    rates=st.lists(st.floats(0, 100), min_size=6, max_size=6),
)
def test_the_bound_holds_whatever_is_cached_reasoned_or_long(usage: Usage, rates: list[float]) -> None:
    longer = Price(rates[3], rates[4], "s", date(2026, 1, 1), above_input_tokens=1000)
    price = Price(
        *rates[:2],
        "s",
        date(2026, 1, 1),
        cached_input_usd_per_mtok=rates[2],
        cache_write_usd_per_mtok=rates[3],
        reasoning_usd_per_mtok=rates[5],
        longer=longer,
    )
    assert 0 <= price.cost_usd(usage) <= price.bound_usd(3000, 3000) * (1 + 1e-9)


FULL_HEADER = (
    "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date,above_input_tokens,"
    "batch_discount,capabilities,checked\n"
)


def full_catalog(folder: Path, *rows: str) -> Catalog:
    (folder / "full.csv").write_text(FULL_HEADER + "".join(f"{row}\n" for row in rows))
    return read_catalog(folder / "full.csv")


def test_rows_of_one_model_are_its_history_and_its_tiers(tmp_path: Path) -> None:
    spec = full_catalog(
        tmp_path,
        "p,m,2,4,9000,s,2026-06-01,,0.5,tools images,2026-07-01",
        "p,m,3,6,,s,2026-06-01,1000,,,",
        "p,m,1,2,,s,2026-01-01,,,,",
    )["p/m"]
    assert [(price.date.month, price.input_usd_per_mtok) for price in spec.prices] == [(1, 1.0), (6, 2.0)]
    assert [tier.input_usd_per_mtok for tier in spec.prices[1].tiers] == [2.0, 3.0]
    assert (spec.context_tokens, spec.capabilities) == (9000, frozenset({"tools", "images"}))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("p,m,2,,,s,2026-06-01,,,,", "needs both"),
        ("p,m,2,4,,s,2026-06-01,,1.5,,", "share from 0 to 1"),
        ("p,m,2,4,,s,2026-06-01,,,flying,", "flying: no such capability"),
        ("p,m,2,4,,s,2026-06-01,1000,,,", "no row for short prompts"),
        ("p,m,2,4,,s,2026-06-01,-5,,,", "no number of tokens"),
        ("p,m,2,4,,s,2026-06-01,,,,,,", "not as many cells"),
    ],
    ids=["half a price", "discount", "capability", "tier", "negative", "cells"],
)
def test_a_row_that_means_nothing_is_refused(tmp_path: Path, row: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        full_catalog(tmp_path, row)


def test_a_misspelt_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_text(HEADER.strip() + ",batch_discont\np,m,1,2,,s,2026-01-01,0.5\n")
    with pytest.raises(DataError, match="columns that are not known: batch_discont"):
        read_catalog(tmp_path / "models.csv")


def test_a_row_may_be_about_a_model_without_a_price(tmp_path: Path) -> None:
    spec = full_catalog(tmp_path, "p,m,,,9000,,,,,tools,")["p/m"]
    assert (spec.price, spec.context_tokens) == (None, 9000)


def test_the_package_file_is_written_back_as_it_was_read(tmp_path: Path) -> None:
    write_catalog(tmp_path / "copy.csv", default_catalog())
    assert list(read_catalog(tmp_path / "copy.csv")) == list(default_catalog())
    assert (tmp_path / "copy.csv").read_bytes() == package_file().read_bytes()


def test_a_spec_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelSpec("p", "m").price = PRICE  # type: ignore[misc]  # the point of the test
