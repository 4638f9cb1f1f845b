"""Prices and models: read honestly, and never bounded below what a call can cost."""

import dataclasses
import json
from contextlib import suppress
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
from workbench.catalog.check import check_against, check_rows
from workbench.catalog.difference import difference
from workbench.catalog.models import with_prices
from workbench.catalog.published import read_published
from workbench.catalog.table import package_file, read_rows, write_catalog
from workbench.errors import ConfigError, DataError, StorageError
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


LITELLM = b"""{
 "sample_spec": {"mode": "one of: chat", "litellm_provider": "x", "input_cost_per_token": 0.0},
 "gpt-x": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1000, "max_output_tokens": 100,
  "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "cache_read_input_token_cost": 5e-07,
  "input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 4e-06,
  "input_cost_per_token_above_200k_tokens": 4e-06, "output_cost_per_token_above_200k_tokens": 1.2e-05,
  "supports_vision": true, "supports_reasoning": false, "source": "https://o.example/pricing"},
 "gemini/g-x": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": "1e-6",
  "output_cost_per_token": -1},
 "dall-e": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.02},
 "elsewhere/m": {"litellm_provider": "elsewhere", "mode": "chat", "input_cost_per_token": 1e-06}
}"""

GENAI = b"""[{"id": "x-ai", "pricing_urls": ["https://x.example"], "models": [
 {"id": "g", "context_window": 1000, "prices": [
   {"prices": {"input_mtok": 9, "output_mtok": 9}},
   {"constraint": {"start_date": "2026-04-30"}, "prices":
     {"input_mtok": {"base": 1, "tiers": [{"start": 200000, "price": 2}]}, "output_mtok": 5}},
   {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": 3, "output_mtok": 6}}],
  "price_variants": [{"when": {"processing": "batch"}, "prices":
     {"input_mtok": {"base": 0.8, "tiers": [{"start": 200000, "price": 1.6}]}, "output_mtok": 4}}]},
 {"id": "h", "prices": [
   {"prices": {"input_mtok": 1, "output_mtok": 2}},
   {"constraint": {"start_time": "01:00:00Z", "end_time": "04:00:00Z"},
    "prices": {"input_mtok": 2, "output_mtok": 4}}]},
 {"id": "image-only", "prices": {"requests_kcount": 5}}]},
 {"id": "nobody", "models": [{"id": "m", "prices": {"input_mtok": 1, "output_mtok": 1}}]}]"""

READ_ON = date(2026, 11, 23)


def test_a_litellm_file_is_read_with_its_tiers_caches_and_batches() -> None:
    found = read_published(LITELLM, source="the file", on=READ_ON)
    assert {spec.model_id for spec in found} == {"openai/gpt-x", "google/g-x"}
    spec = found["openai/gpt-x"]
    page = "https://o.example/pricing (by the file)"
    longer = Price(4.0, 12.0, page, READ_ON, cached_input_usd_per_mtok=0.5, above_input_tokens=200_000)
    assert spec.price == Price(
        2.0,
        8.0,
        page,
        READ_ON,
        cached_input_usd_per_mtok=0.5,
        batch_discount=0.5,
        batch_cache_discount=0.0,
        longer=longer,
    )
    assert (spec.context_tokens, spec.max_output_tokens, spec.capabilities) == (1000, 100, {"images"})
    assert found["google/g-x"].price is None


def test_a_genai_prices_file_is_read_with_its_dates_tiers_and_batches() -> None:
    found = read_published(GENAI, source="the file", on=READ_ON)
    assert {spec.model_id for spec in found} == {"xai/g", "xai/h", "xai/image-only"}
    dated = [(str(price.date), price.input_usd_per_mtok) for price in found["xai/g"].prices]
    assert dated == [("2026-04-30", 1.0), ("2027-01-01", 3.0)]
    price = found["xai/g"].price_on(READ_ON)
    assert price is not None
    assert price.batch is not None
    tiers = [
        (tier.above_input_tokens, tier.input_usd_per_mtok, tier.output_usd_per_mtok)
        for tier in price.batch.tiers
    ]
    assert tiers == [
        (0, pytest.approx(0.8), pytest.approx(4.0)),
        (200_000, pytest.approx(1.6), pytest.approx(4.0)),
    ]


def test_of_prices_by_the_hour_the_dearest_is_taken() -> None:
    price = read_published(GENAI, source="the file", on=READ_ON)["xai/h"].price
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (2.0, 4.0)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b"3", b"[" * 100_000, b'{"a": {"mode": []}}'])
def test_what_is_no_price_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="the file is no"):
        read_published(content, source="the file", on=READ_ON)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["1", "openai", "chat", "2026-01-01", ""]),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["base", "tiers", "start", "prices"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["id", "prices", "context_window", "price_variants"]), _JSON),
    st.dictionaries(st.sampled_from(["input_mtok", "output_mtok", "cache_write_mtok"]), _JSON),
)
def test_whatever_a_price_file_has_in_a_model_it_is_read_or_refused(
    model: dict[str, object], rates: dict[str, object]
) -> None:
    models = [{"id": "m", "prices": rates} | model]
    with suppress(DataError):
        read_published(json.dumps([{"id": "openai", "models": models}]).encode(), source="s", on=READ_ON)


def test_a_difference_names_old_new_and_percent() -> None:
    known = Catalog(
        [ModelSpec("p", "m", price_of(2.0, "2026-01-01"), 8000), ModelSpec("p", "gone"), ModelSpec("q", "n")]
    )
    found = Catalog([ModelSpec("p", "m", price_of(1.5, "2026-11-23"), 9000, 50), ModelSpec("p", "new")])
    result = difference(known, found, on=READ_ON)
    assert [(change.what, change.old, change.new, change.percent) for change in result.changes] == [
        ("max_output_tokens", None, 50, None),
        ("input_usd_per_mtok", 2.0, 1.5, -25.0),
        ("output_usd_per_mtok", 4.0, 3.0, -25.0),
    ]
    assert [spec.model_id for spec in result.added] == ["p/new"]
    assert [spec.model_id for spec in result.removed] == ["p/gone"]
    assert {spec.model_id: spec.context_tokens for spec in result.updates} == {"p/new": None, "p/m": 8000}


def test_what_a_source_leaves_unsaid_is_no_difference() -> None:
    known = ModelSpec("p", "m", price_of(2.0, "2026-01-01", batch_discount=0.5), 8000)
    assert not difference(Catalog([known]), Catalog([ModelSpec("p", "m")]), on=READ_ON)


def test_a_check_names_rows_without_price_old_ones_and_repeated_ones(tmp_path: Path) -> None:
    full_catalog(
        tmp_path,
        "p,bare,,,9000,,,,,,",
        "p,old,1,2,,s,2026-01-01,,,,",
        "p,kept,1,2,,s,2026-01-01,,,,2026-11-01",
        "p,twice,1,2,,s,2026-11-01,,,,",
        "p,twice,1,3,,s,2026-11-01,,,,",
        "p,bare-price,1,2,,,2026-11-01,,,,",
    )
    found = [finding.problem for finding in check_rows(read_rows(tmp_path / "full.csv"), on=READ_ON)]
    assert len(found) == 4
    for start in ("p/twice stands already", "the price of p/bare-price has no source", "p/bare has no price"):
        assert any(problem.startswith(start) for problem in found)
    assert "the price of p/old was last looked at 326 days ago" in found


def test_a_check_against_another_table_names_both_prices() -> None:
    other = Catalog([ModelSpec("p", "m", price_of(1.25, "2026-11-01"))])
    (first, second) = check_against(Catalog([HISTORY]), other, name="theirs", on=READ_ON)
    assert first.problem == "input_usd_per_mtok is 2, but 1.25 in theirs"
    assert second.problem == "output_usd_per_mtok is 4, but 2.5 in theirs"


def test_a_spec_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelSpec("p", "m").price = PRICE  # type: ignore[misc]  # the point of the test
