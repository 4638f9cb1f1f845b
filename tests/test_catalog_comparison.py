"""Catalogs compared: with public price files, with each other, and with what a catalog should be."""

import json
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.catalog import Catalog, ModelSpec, Price
from workbench.catalog.check import check_against, check_rows
from workbench.catalog.difference import difference
from workbench.catalog.published import read_published
from workbench.catalog.table import read_rows
from workbench.errors import DataError


def price_of(usd: float, day: str, **rates: object) -> Price:
    return Price(usd, 2 * usd, "made up", date.fromisoformat(day), **rates)  # type: ignore[arg-type]


HEADER = (
    "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date,above_input_tokens,"
    "batch_discount,capabilities,checked"
)

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
    path = tmp_path / "models.csv"
    rows = (
        "p,bare,,,9000,,,,,,",
        "p,old,1,2,,s,2026-01-01,,,,",
        "p,kept,1,2,,s,2026-01-01,,,,2026-11-01",
        "p,twice,1,2,,s,2026-11-01,,,,",
        "p,twice,1,3,,s,2026-11-01,,,,",
        "p,bare-price,1,2,,,2026-11-01,,,,",
    )
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    found = [finding.problem for finding in check_rows(read_rows(path), on=READ_ON)]
    assert len(found) == 4
    for start in ("p/twice stands already", "the price of p/bare-price has no source", "p/bare has no price"):
        assert any(problem.startswith(start) for problem in found)
    assert "the price of p/old was last looked at 326 days ago" in found


def test_a_check_against_another_table_names_both_prices() -> None:
    other = Catalog([ModelSpec("p", "m", price_of(1.25, "2026-11-01"))])
    (first, second) = check_against(
        Catalog([ModelSpec("p", "m", price_of(2.0, "2026-06-01"))]), other, name="theirs", on=READ_ON
    )
    assert first.problem == "input_usd_per_mtok is 2, but 1.25 in theirs"
    assert second.problem == "output_usd_per_mtok is 4, but 2.5 in theirs"
