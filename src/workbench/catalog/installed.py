"""The prices of an installed genai-prices, which is no dependency, as a catalog to compare with."""

import json
from datetime import date
from importlib import import_module
from importlib.metadata import version
from typing import Any

from workbench.catalog.models import Catalog
from workbench.catalog.published import read_published


def genai_prices_catalog(*, on: date) -> tuple[Catalog, str]:
    """Its models in the way of its published file, and its version.

    Raises:
        ImportError: it is not installed, or not whole.
    """
    providers = import_module("genai_prices.data").providers
    written = json.dumps([_provider(provider) for provider in providers])
    number = version("genai-prices")
    return read_published(written.encode(), source=f"genai-prices {number}", on=on), number


def _provider(provider: Any) -> dict[str, object]:
    return {"id": provider.id, "models": [_model(model) for model in provider.models]}


def _model(model: Any) -> dict[str, object]:
    stated = model.prices if isinstance(model.prices, list) else None
    return {
        "id": model.id,
        "context_window": model.context_window,
        "prices": _rates(model.prices) if stated is None else [_conditional(one) for one in stated],
    }


def _conditional(one: Any) -> dict[str, object]:
    constraint = {} if one.constraint is None else vars(one.constraint)
    return {
        "constraint": {name: str(value) for name, value in constraint.items()},
        "prices": _rates(one.prices),
    }


def _rates(prices: Any) -> dict[str, object]:
    return {name: _rate(value) for name, value in vars(prices).items() if value is not None}


def _rate(value: Any) -> object:
    """A decimal, or a base with tiers."""
    if not hasattr(value, "tiers"):
        return str(value)
    tiers = [{"start": tier.start, "price": str(tier.price)} for tier in value.tiers]
    return {"base": str(value.base), "tiers": tiers}
