"""The models of a catalog: who serves each, how much it can read and write, what it can do and costs."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from workbench.catalog.price import Price, in_force
from workbench.catalog.token_bound import token_bound
from workbench.errors import ConfigError
from workbench.types import Decoding, Prompt

CAPABILITIES = (
    "streaming",
    "tools",
    "images",
    "json_schema",
    "logprobs",
    "reasoning",
    "caching",
    "embeddings",
)
"""What a model can be said to do, in the words of a catalog file."""

SAME_MODELS = {"openai-responses": "openai", "gemini": "google"}
"""Providers that are another address of a listed one: its models, under the same names, at its prices."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of one provider.

    `price` is the one in force when the catalog was made; None: nobody has said what the model costs.
    `history` has all its dated prices, oldest first, those announced included; empty: only `price` is
    known. `capabilities` is what `facts_source` says that the model can do: one that is not there may only
    be unsaid. A limit that is None is not known.
    """

    provider: str
    model: str
    price: Price | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    facts_source: str = ""
    history: tuple[Price, ...] = ()

    @property
    def model_id(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def prices(self) -> tuple[Price, ...]:
        """Every price that is known, oldest first."""
        return self.history or (() if self.price is None else (self.price,))

    def price_on(self, day: date | None = None) -> Price | None:
        """What a call on this day (in UTC; None: today) is billed at; None where no price is known.

        Before the first price that is known, it is the first.
        """
        return in_force(self.prices, day or today())

    def cost_bound_usd(self, prompt: Prompt, decoding: Decoding, *, in_batch: bool = False) -> float:
        """The most that one call can cost today: what a budget reserves before sending.

        A token is at least one byte of UTF-8 text, so the bytes of the prompt bound its tokens.

        Raises:
            ConfigError: the model has no price, or none in batches, so no bound can be given.
        """
        price = self.batch_price_on() if in_batch else self.price_on()
        if price is None:
            raise ConfigError(
                f"{self.model_id} has no price, so a budget cannot be kept; add a row to a catalog file, "
                "or run without a budget"
            )
        return price.bound_usd(token_bound(prompt, decoding), decoding.max_output_tokens)

    def batch_price_on(self, day: date | None = None) -> Price | None:
        """The price of an offline batch that was handed in on this day; None: the model has no price.

        Raises:
            ConfigError: it has a price, but what a batch takes off is not known.
        """
        price = self.price_on(day)
        if price is None:
            return None
        if price.batch is None:
            raise ConfigError(
                f"{self.model_id} has a price, but none in batches; give its row in a catalog file a "
                "batch_discount, or send its calls live"
            )
        return price.batch


class Catalog:
    """Models by `provider/model`; a later one replaces an earlier one of the same name.

    A model of a provider in `SAME_MODELS` that is not listed itself is found as the other provider's.
    """

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        self._models = {spec.model_id: spec for spec in models}
        self._providers = {spec.provider for spec in self._models.values()}

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, model_id: str) -> ModelSpec:
        """The model of this id.

        Raises:
            ConfigError: there is none; the message names the nearest that exist.
        """
        spec = self.get(model_id)
        if spec is None:
            near = difflib.get_close_matches(model_id, self._models, n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(f"no model {model_id!r} in the catalog{hint}")
        return spec

    def get(self, model_id: str) -> ModelSpec | None:
        """The model of this id; None if it is not listed."""
        spec = self._models.get(model_id)
        if spec is not None:
            return spec
        provider, _, model = model_id.partition("/")
        listed = self._models.get(f"{SAME_MODELS.get(provider)}/{model}")
        return None if listed is None else replace(listed, provider=provider)

    def of_provider(self, provider: str) -> list[ModelSpec]:
        """The models of `provider`, also where it is another address of one that is listed."""
        listed = (provider, SAME_MODELS.get(provider))
        names = dict.fromkeys(spec.model for spec in self if spec.provider in listed)
        return [self[f"{provider}/{model}"] for model in names]

    def price(self, model_id: str, *, on: date) -> Price | None:
        """What a call of a model on a day is billed at; None: the model has no price.

        Raises:
            ConfigError: there is no such model.
        """
        return self[model_id].price_on(on)

    def callable_model(self, model_id: str) -> ModelSpec:
        """What is known of a model that is about to be called.

        A provider that the catalog has models of is held to those, so that a misspelt model costs
        nothing; any model of another provider may be called, and has no price.

        Raises:
            ConfigError: `model_id` is not written as provider/model, or is misspelt.
        """
        provider, _, model = model_id.partition("/")
        if not provider or not model:
            raise ConfigError(f"{model_id!r} is no model id; one is provider/model, as in openai/gpt-4o-mini")
        is_listed = not self._providers.isdisjoint({provider, SAME_MODELS.get(provider, provider)})
        return self[model_id] if is_listed else ModelSpec(provider, model)

    def __contains__(self, model_id: object) -> bool:
        return isinstance(model_id, str) and self.get(model_id) is not None

    def __or__(self, other: "Catalog") -> "Catalog":
        """Both catalogs; where they disagree, `other` is right.

        Its prices hold from the first of their dates on, and what it leaves unsaid is taken from here.
        """
        return Catalog([*self, *(_merged(self.get(spec.model_id), spec) for spec in other)])


def today() -> date:
    """The day in UTC, which is what the dates of prices are in."""
    return datetime.now(UTC).date()


def with_prices(spec: ModelSpec, prices: Iterable[Price]) -> ModelSpec:
    """`spec` with these prices and no others; of two of one date the later one stands."""
    by_date = {price.date: price for price in prices}
    history = tuple(by_date[day] for day in sorted(by_date))
    return replace(spec, price=in_force(history, today()), history=history if len(history) > 1 else ())


def _merged(base: ModelSpec | None, over: ModelSpec) -> ModelSpec:
    if base is None:
        return over
    whole = replace(
        over,
        context_tokens=base.context_tokens if over.context_tokens is None else over.context_tokens,
        max_output_tokens=base.max_output_tokens
        if over.max_output_tokens is None
        else over.max_output_tokens,
        capabilities=over.capabilities or base.capabilities,
        facts_source=over.facts_source or base.facts_source,
    )
    since = min((price.date for price in over.prices), default=date.max)
    return with_prices(whole, [*(price for price in base.prices if price.date < since), *over.prices])
