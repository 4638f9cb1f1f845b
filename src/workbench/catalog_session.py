"""What a person at a terminal gets of the catalog: models listed, shown, refreshed and checked."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path

from rich.console import Console

from workbench import terminal
from workbench.catalog import CAPABILITIES, Catalog, ModelSpec, Price, default_catalog, read_catalog, today
from workbench.catalog.check import Finding, check_against, check_rows
from workbench.catalog.difference import Change, Difference, difference
from workbench.catalog.installed import genai_prices_catalog
from workbench.catalog.price import DISCOUNTS, RATES
from workbench.catalog.published import read_published
from workbench.catalog.table import package_file, read_rows, write_catalog
from workbench.client.accounts import key_of_provider
from workbench.client.key_sources import first_key, key_sources
from workbench.errors import ConfigError, ProviderError
from workbench.experiment.wording import ABSENT, printable
from workbench.providers import registry
from workbench.providers.listing import download, listed_models
from workbench.settings import Secret, Settings
from workbench.storage import read_bytes

_MOST_NAMES = 20
"""How many added or removed models are named; a price file has thousands."""


def list_models(*, provider: str | None = None) -> None:
    """Print a line a model: prices of today, window, capabilities."""
    models = [spec for spec in _catalog() if provider in (None, spec.provider)]
    if not models:
        raise ConfigError(f"the catalog has no models of provider {provider!r}")
    header = ("model", "USD in", "out", "cached in", "batch", "window", "since", "can")
    console = terminal.console()
    console.print(terminal.cells(header, (_line(spec) for spec in models)))
    console.print("Prices are US dollars per million tokens; batch is what an offline batch takes off.")


def show_model(model_id: str) -> None:
    """Print all that is known of a model, and every price it had."""
    spec = _catalog()[model_id]
    lines = {
        "model": spec.model_id,
        "window": _tokens(spec.context_tokens),
        "longest answer": _tokens(spec.max_output_tokens),
        "can": " ".join(name for name in CAPABILITIES if name in spec.capabilities) or ABSENT,
        "these from": spec.facts_source or ABSENT,
    }
    console = terminal.console()
    for name, text in lines.items():
        console.print(f"{name:<15} {printable(text)}", soft_wrap=True, markup=False)
    for price in spec.prices:
        for text in _price_lines(price):
            console.print(printable(text), soft_wrap=True, markup=False)
    if not spec.prices:
        console.print("no price: it cannot be used under a budget")


async def refresh(*, provider: str | None = None, prices: str | None = None, write: bool = False) -> None:
    """Ask providers, or a public price file, what is new; print it, and write it down only where asked to.

    Raises:
        ConfigError: there is nobody to ask, or no file of the user's own to write to.
        DataError, ProviderError: what was asked for could not be had.
    """
    console, settings, on = terminal.console(), Settings(), today()
    own = _own_file(settings) if write else None
    found = await _found(console, provider=provider, prices=prices, on=on)
    told = difference(_catalog(), found, on=on)
    _print_difference(console, told)
    if not told.updates:
        console.print("nothing to write down")
    elif own is None:
        console.print("nothing was written; to write it into your own catalog file: --write")
    else:
        kept = read_catalog(own) if own.exists() else Catalog(())
        write_catalog(own, kept | told.updates)
        console.print(f"{len(told.updates)} models were written to {own}", soft_wrap=True, markup=False)


def check() -> bool:
    """Print what is wrong with the catalog files; whether nothing is."""
    console, on = terminal.console(), today()
    own = Settings().models_file
    findings = list(check_rows(read_rows(package_file()), on=on))
    if own is not None:
        findings += check_rows(read_rows(own), on=on)
    findings += _disagreements(console, on=on)
    for finding in findings:
        console.print(printable(f"{finding.where}: {finding.problem}"), soft_wrap=True, markup=False)
    console.print(f"{len(_catalog())} models, {len(findings)} findings")
    return not findings


def _catalog() -> Catalog:
    own = Settings().models_file
    return default_catalog() if own is None or not own.exists() else default_catalog() | read_catalog(own)


def _own_file(settings: Settings) -> Path:
    """The file to write to, which is never the package's.

    Raises:
        ConfigError: none is named, or it is the package's.
    """
    path = settings.models_file
    if path is None:
        raise ConfigError(
            "there is no file of your own to write to; name one, such as models.csv, in WORKBENCH_MODELS_FILE"
        )
    if path.resolve() == package_file().resolve():
        raise ConfigError(f"WORKBENCH_MODELS_FILE names the package's own {path}; name a file of your own")
    return path


async def _found(console: Console, *, provider: str | None, prices: str | None, on: date) -> Catalog:
    if prices is not None:
        is_url = "://" in prices
        content = await download(prices) if is_url else read_bytes(Path(prices), purpose="price file")
        published = read_published(content, source=prices, on=on)
        return Catalog(spec for spec in published if provider in (None, spec.provider))
    if provider is not None:
        return await listed_models(provider, on=on, key=key_of_provider(provider))
    found = Catalog(())
    for name, key in _reachable().items():
        try:
            found = found | await listed_models(name, on=on, key=key)
        except ProviderError as exc:
            console.print(f"{exc}; its models are as they were", style="yellow", soft_wrap=True, markup=False)
    return found


def _reachable() -> dict[str, Secret]:
    """The providers that there is a key for, each with its first.

    Raises:
        ConfigError: there is none.
    """
    sources = key_sources()
    keys = {row.name: first_key(sources, row.key_var) for row in registry.ENDPOINTS if row.key_var}
    reachable = {name: key for name, key in keys.items() if key is not None}
    if not reachable:
        raise ConfigError(
            "no key of any provider is set, so there is nobody to ask; export one, keep one by `workbench "
            "keys set`, name a --provider, or a price file by --prices"
        )
    return reachable


def _print_difference(console: Console, told: Difference) -> None:
    if told.changes:
        header = ("model", "what", "old", "new", "change")
        console.print(terminal.cells(header, (_change_line(change) for change in told.changes)))
    for verb, specs in (("added", told.added), ("removed", told.removed)):
        names = [spec.model_id for spec in specs]
        more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
        if names:
            text = f"{verb} ({len(names)}): {', '.join([*names[:_MOST_NAMES], *more])}"
            console.print(printable(text), soft_wrap=True, markup=False)
    if not told:
        console.print("no difference")


def _change_line(change: Change) -> tuple[str, ...]:
    percent = "" if change.percent is None else f"{change.percent:+.1f} %"
    return (change.model_id, change.what, _amount(change.old), _amount(change.new), percent)


def _disagreements(console: Console, *, on: date) -> Iterator[Finding]:
    try:
        other, version = genai_prices_catalog(on=on)
    except ImportError as exc:
        console.print(
            f"prices were not compared with those of genai-prices: {exc}", style="dim", markup=False
        )
        return
    yield from check_against(_catalog(), other, name=f"genai-prices {version}", on=on)


def _line(spec: ModelSpec) -> tuple[str, ...]:
    price = spec.price_on()
    return (
        spec.model_id,
        _amount(None if price is None else price.input_usd_per_mtok),
        _amount(None if price is None else price.output_usd_per_mtok),
        _amount(None if price is None else price.cached_input_usd_per_mtok),
        ABSENT if price is None or price.batch_discount is None else f"{100 * price.batch_discount:.0f} %",
        _tokens(spec.context_tokens),
        ABSENT if price is None else str(price.date),
        " ".join(name for name in CAPABILITIES if name in spec.capabilities) or ABSENT,
    )


def _price_lines(price: Price) -> Iterator[str]:
    for tier in price.tiers:
        above = f", prompts above {tier.above_input_tokens:,} tokens" if tier.above_input_tokens else ""
        yield f"from {tier.date}{above}"
        for field in fields(tier):
            value = getattr(tier, field.name)
            if field.name in (*RATES, *DISCOUNTS) and value is not None:
                yield f"  {field.name:<27} {value:g}"
    yield f"  {'source':<27} {price.source} ({price.checked or price.date})"


def _amount(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.6g}"


def _tokens(count: int | None) -> str:
    return ABSENT if count is None else f"{count:,}"
