"""Price files that others publish, read as models: litellm's and genai-prices', told apart by their form.

Sources: https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json and
https://github.com/pydantic/genai-prices/blob/main/prices/data.json. Only models of providers that the
workbench knows are taken, and only tokens of text: prices of images, audio and searches are not.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from workbench.catalog.models import Catalog, ModelSpec, with_prices
from workbench.catalog.price import Price
from workbench.errors import DataError

JsonObject = Mapping[str, Any]

_LITELLM_PROVIDERS = {
    "anthropic": "anthropic",
    "cerebras": "cerebras",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "nvidia_nim": "nvidia",
    "openai": "openai",
    "openrouter": "openrouter",
    "sambanova": "sambanova",
    "together_ai": "together",
    "xai": "xai",
}
_GENAI_PROVIDERS = {
    name: name
    for name in (
        *("anthropic", "cerebras", "deepseek", "fireworks", "google"),
        *("groq", "mistral", "openai", "openrouter", "together"),
    )
} | {"x-ai": "xai"}
_LITELLM_MODES = {"chat", "completion", "responses", "embedding"}
_LITELLM_CAPABILITIES = {
    "supports_native_streaming": "streaming",
    "supports_function_calling": "tools",
    "supports_vision": "images",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_prompt_caching": "caching",
}
_LITELLM_RATES = {
    "input_usd_per_mtok": "input_cost_per_token",
    "output_usd_per_mtok": "output_cost_per_token",
    "cached_input_usd_per_mtok": "cache_read_input_token_cost",
    "cache_write_usd_per_mtok": "cache_creation_input_token_cost",
    "reasoning_usd_per_mtok": "output_cost_per_reasoning_token",
}
_LITELLM_TIER = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)")
_GENAI_RATES = {
    "input_usd_per_mtok": "input_mtok",
    "output_usd_per_mtok": "output_mtok",
    "cached_input_usd_per_mtok": "cache_read_mtok",
    "cache_write_usd_per_mtok": "cache_write_mtok",
    "reasoning_usd_per_mtok": "output_reasoning_mtok",
}

_Rates = Mapping[str, float]
"""Rates by the name of their field in `Price`; one that is not stated is not there."""


def read_published(content: bytes, *, source: str, on: date) -> Catalog:
    """The models of a public price file of either form.

    Args:
        source: where the file was read, which becomes the source of its prices.
        on: the day on which it was: the date of every price that the file gives no date of its own.

    Raises:
        DataError: it is not JSON, or of neither form.
    """
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{source} is not JSON: {exc}") from exc
    if isinstance(parsed, dict) and isinstance(parsed.get("providers"), list):
        parsed = parsed["providers"]
    if isinstance(parsed, list):
        models = list(_genai_models(_objects(parsed), source=source, on=on))
    elif isinstance(parsed, dict):
        models = list(_litellm_models(parsed, source=source, on=on))
    else:
        models = []
    if not models:
        raise DataError(f"{source} is no price file of litellm or genai-prices: no model of it can be read")
    first: dict[str, ModelSpec] = {}
    for spec in models:
        first.setdefault(spec.model_id, spec)
    return Catalog(first.values())


def _litellm_models(entries: JsonObject, *, source: str, on: date) -> Iterator[ModelSpec]:
    for key, entry in entries.items():
        if not isinstance(entry, dict) or _text(entry.get("mode")) not in _LITELLM_MODES:
            continue
        given = _text(entry.get("litellm_provider"))
        provider = _LITELLM_PROVIDERS.get(given)
        model = key.removeprefix(f"{given}/")
        if provider is None or not model:
            continue
        told = f"{_text(entry.get('source'))} (by {source})" if entry.get("source") else source
        spec = ModelSpec(
            provider,
            model,
            context_tokens=_count(entry.get("max_input_tokens")),
            max_output_tokens=_count(entry.get("max_output_tokens")),
            capabilities=frozenset(
                [name for field, name in _LITELLM_CAPABILITIES.items() if entry.get(field) is True]
                + ["embeddings"] * (entry["mode"] == "embedding")
            ),
            facts_source=source,
        )
        yield with_prices(spec, _litellm_prices(entry, source=told, on=on))


def _litellm_prices(entry: JsonObject, *, source: str, on: date) -> Iterator[Price]:
    suffixes = {0: ""} | {
        1000 * int(match[2]): match[1] for field in entry if (match := _LITELLM_TIER.fullmatch(field))
    }
    tiers = {
        above: (_litellm_rates(entry, suffix), _litellm_rates(entry, f"{suffix}_batches"))
        for above, suffix in suffixes.items()
    }
    if price := _tiered(tiers, source=source, on=on):
        yield price


def _litellm_rates(entry: JsonObject, suffix: str) -> _Rates:
    """The rates in US dollars per million tokens."""
    found = {ours: _number(entry.get(theirs + suffix)) for ours, theirs in _LITELLM_RATES.items()}
    return {name: round(rate * 1e6, 9) for name, rate in found.items() if rate is not None}


def _genai_models(providers: Iterable[JsonObject], *, source: str, on: date) -> Iterator[ModelSpec]:
    for entry in providers:
        provider = _GENAI_PROVIDERS.get(_text(entry.get("id")))
        pages = entry.get("pricing_urls")
        page = f"{pages[0]} (by {source})" if isinstance(pages, list) and pages else source
        for model in _objects(entry.get("models")) if provider else ():
            name = _text(model.get("id"))
            if not name:
                continue
            spec = ModelSpec(
                provider or "", name, context_tokens=_count(model.get("context_window")), facts_source=source
            )
            yield with_prices(spec, _genai_prices(model, source=page, on=on))


def _genai_prices(model: JsonObject, *, source: str, on: date) -> Iterator[Price]:
    """Every price with a date, also one to come; one without is dated `on` where none has begun by then."""
    stated = model.get("prices")
    conditional = _objects(stated) if isinstance(stated, list) else [{"prices": stated}]
    batch: object = next(
        (
            variant.get("prices")
            for variant in _objects(model.get("price_variants"))
            if variant.get("when") == {"processing": "batch"}
        ),
        {},
    )
    dated: dict[date, list[Price]] = {}
    for one in conditional:
        start = _start(one.get("constraint"), on=on)
        if price := _genai_price(one.get("prices"), batch, source=source, on=start):
            dated.setdefault(start, []).append(price)
    if len([day for day in dated if day <= on]) > 1 and not _is_hourly(conditional):
        dated.pop(on, None)
    for prices in dated.values():  # of the hours of a day, the dearest; a base without a date is one of them
        yield max(prices, key=lambda price: price.input_usd_per_mtok + price.output_usd_per_mtok)


def _genai_price(stated: object, batch: object, *, source: str, on: date) -> Price | None:
    rates, batch_rates = _genai_rates(stated), _genai_rates(batch)
    return _tiered(
        {above: (rates[above], batch_rates.get(above, {})) for above in sorted(rates)}, source=source, on=on
    )


def _genai_rates(stated: object) -> Mapping[int, _Rates]:
    """The rates of each tier, from the shortest prompts; a rate without tiers is one of the first."""
    found: dict[int, dict[str, float]] = {0: {}}
    fields = stated if isinstance(stated, dict) else {}
    for ours, theirs in _GENAI_RATES.items():
        value = fields.get(theirs)
        steps = {0: value}
        if isinstance(value, dict):
            steps = {0: value.get("base")} | {
                above: step.get("price")
                for step in _objects(value.get("tiers"))
                if (above := _count(step.get("start")))
            }
        for above, rate in steps.items():
            if (number := _number(rate)) is not None:
                found.setdefault(above, {})[ours] = number
    return found


def _is_hourly(conditional: Iterable[JsonObject]) -> bool:
    constraints = (one.get("constraint") for one in conditional)
    return any(isinstance(constraint, dict) and "start_time" in constraint for constraint in constraints)


def _start(constraint: object, *, on: date) -> date:
    day = constraint.get("start_date") if isinstance(constraint, dict) else None
    try:
        return date.fromisoformat(day) if isinstance(day, str) else on
    except ValueError:
        return on


def _tiered(tiers: Mapping[int, tuple[_Rates, _Rates]], *, source: str, on: date) -> Price | None:
    """A price of these tiers; None where input or output of the first is not stated.

    What a tier does not state is as in the tier below it. A write to a cache that is said to cost less than
    reading the same tokens is what is charged on top of that, and is left out: it is then billed as input.
    """
    price: Price | None = None
    whole: dict[int, dict[str, float]] = {}
    for above in sorted(tiers):
        rates = {**(whole[max(whole)] if whole else {}), **tiers[above][0]}
        if rates.get("cache_write_usd_per_mtok", math.inf) < rates.get("input_usd_per_mtok", 0.0):
            del rates["cache_write_usd_per_mtok"]
        if rates.get("reasoning_usd_per_mtok") == rates.get("output_usd_per_mtok"):
            rates.pop("reasoning_usd_per_mtok", None)  # not billed apart
        whole[above] = rates
    if not {"input_usd_per_mtok", "output_usd_per_mtok"} <= whole[0].keys():
        return None
    for above in sorted(tiers, reverse=True):
        discount, cache_discount = _discounts(whole[above], tiers[above][1])
        price = Price(
            **whole[above],  # type: ignore[arg-type]  # the rates are fields of a price
            source=source,
            date=on,
            batch_discount=discount,
            batch_cache_discount=cache_discount,
            above_input_tokens=above,
            longer=price,
        )
    return price


def _discounts(rates: _Rates, batch: _Rates) -> tuple[float | None, float | None]:
    """What a batch takes off input and output, and off a cache; the smaller share where they differ."""
    shares = {
        name: 1 - batch[name] / rates[name]
        for name in batch
        if rates.get(name) and batch[name] <= rates[name]
    }
    texts = [share for name, share in shares.items() if "cache" not in name]
    caches = [share for name, share in shares.items() if "cache" in name]
    if not texts:
        return None, None
    return round(min(texts), 6), round(min(caches), 6) if caches else 0.0


def _objects(value: object) -> Sequence[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A rate; None: it is not stated, or cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number else None
