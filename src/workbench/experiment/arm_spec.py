"""What an arm is, as written: a model, router, cascade or ensemble, in whose words, with which decoding."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

PLACE_OF_PROMPT = "{prompt}"

_MAX_NAME_BYTES = 255  # of one file, on every usual file system
_LONGEST_ARM_NAME = 60
_MOST_ARMS = 64

Scalar = str | int | float | bool


def _path(text: str) -> str:
    if not text.isprintable() or max(len(part.encode()) for part in text.split("/")) > _MAX_NAME_BYTES:
        raise ValueError(f"{text[:60]!r} cannot be a path")
    return text


def _template(text: str) -> str:
    if text.count(PLACE_OF_PROMPT) != 1:
        raise ValueError(f"a template says once where the prompt goes, as {PLACE_OF_PROMPT}")
    return text


ReadFrom = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)]
"""A name, or a file of the author's that is read and never written, wherever it is."""

Template = Annotated[str, Field(max_length=100_000), AfterValidator(_template)]
"""What is asked in the place of the prompt, with `{prompt}` where the prompt's text goes."""

System = Annotated[str, Field(min_length=1, max_length=100_000)]
"""The system message, in the place of the prompt's own."""

Delivery = Literal["live", "batch"]
"""Whether the calls of an arm are sent one by one, or handed in as an offline batch, at its lower price.

It is no part of a run's fingerprint: the answers are those of the same model to the same prompts.
"""

_ADDED = ("cascade", "ensemble", "template", "system", "decoding", "levels")
"""Keys of an arm that came later: a run of an arm without them has the fingerprint that it had before."""


class Strict(BaseModel):
    """Keys of a spec: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableSpec(Strict):
    """Rows of a recorded outcome table: a benchmark's name, a Parquet file, or another experiment's YAML."""

    outcomes: ReadFrom
    where: dict[str, Scalar] = Field(default_factory=dict, description="keep the rows with these values")


class RouterSpec(Strict):
    """A router as an arm: fitted on an outcome table, or loaded from a checkpoint.

    With `folds`, the column of a recorded table that divides its prompts, each prompt is routed by a
    router that was fitted on the other folds.
    """

    kind: str | None = None
    fit_on: TableSpec | None = None
    folds: str | None = None
    checkpoint: ReadFrom | None = None
    cost_weight: Annotated[float, Field(ge=0)] = 0.0
    latency_weight: Annotated[float, Field(ge=0)] = 0.0
    options: dict[str, Scalar] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fitted_or_loaded(self) -> Self:
        if (self.checkpoint is None) == (self.kind is None):
            raise ValueError("needs either `kind` (and `fit_on`) or `checkpoint`")
        return self


class CascadeSpec(Strict):
    """A cascade as an arm: fitted on recorded answers, it asks models one after another until one will do."""

    fit_on: TableSpec
    cost_weight: Annotated[float, Field(ge=0)] = 0.0
    quality: Annotated[float, Field(gt=0, le=1)] | None = None
    max_asked: Annotated[int, Field(ge=1, le=20)] = 5

    @model_validator(mode="after")
    def _weight_or_quality(self) -> Self:
        if self.quality is not None and self.cost_weight:
            raise ValueError("has either a `cost_weight` or the `quality` to reach")
        return self


class EnsembleSpec(Strict):
    """An ensemble as an arm: all members answer, and one answer is taken, or written from theirs.

    Without `fit_on`, members are in the order in which ties are broken; with it, that is learned, and
    no `members` means all models of the table.
    """

    rule: Literal["majority", "weighted_vote", "best_of", "fusion"] = "majority"
    members: tuple[str, ...] = ()
    fuser: str | None = None
    fit_on: TableSpec | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.rule in ("weighted_vote", "best_of") and self.fit_on is None:
            raise ValueError(f"{self.rule} learns from recorded answers: name them under `fit_on`")
        if (self.fuser is not None) != (self.rule == "fusion"):
            raise ValueError(
                "`fuser`, the model that writes the answer, belongs to the rule fusion, and to it alone"
            )
        if len(set(self.members)) != len(self.members) or len(self.members) == 1:
            raise ValueError("`members` are two different models or more")
        if not self.members and self.fit_on is None:
            raise ValueError("needs `members`, or `fit_on` for all models of a table")
        return self


class DecodingSpec(Strict):
    """How models are asked to answer."""

    max_output_tokens: Annotated[int, Field(ge=1)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: tuple[str, ...] = ()


class ArmDecodingSpec(DecodingSpec):
    """What of the experiment's decoding an arm has otherwise: the keys that are written."""

    @model_serializer(mode="wrap")
    def _written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {key: value for key, value in dumped.items() if key in self.model_fields_set}


class ArmSpec(Strict):
    """One thing to compare: a model (`provider/model`), a router over models, a cascade or an ensemble."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_ARM_NAME)]
    model: str | None = None
    router: RouterSpec | None = None
    fallbacks: tuple[str, ...] = ()
    delivery: Delivery | None = Field(default=None, exclude=True, description="default: the experiment's")
    cascade: CascadeSpec | None = None
    ensemble: EnsembleSpec | None = None
    template: Template | None = None
    system: System | None = None
    decoding: ArmDecodingSpec | None = None
    levels: dict[str, str] = Field(default_factory=dict, description="of the factors: columns of the table")

    @property
    def kind(self) -> str:
        """Who answers, in a word or two: the model, the router's kind, or what several models do together."""
        if self.router is not None:
            return self.router.kind or "saved router"
        if self.ensemble is not None:
            return self.ensemble.rule
        return self.model or "cascade"

    @model_validator(mode="after")
    def _one_of_four(self) -> Self:
        if sum(kind is not None for kind in (self.model, self.router, self.cascade, self.ensemble)) != 1:
            raise ValueError("needs either `model` or `router`, `cascade` or `ensemble`")
        if self.fallbacks and (self.cascade or self.ensemble):
            raise ValueError("`fallbacks` are of a `model` or a `router`; others ask several models anyway")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {key: value for key, value in dumped.items() if value or key not in _ADDED}


class FactorialSpec(Strict):
    """Every combination of the levels of some factors, each an arm.

    A factor is a list, or a mapping from the names of its levels. In a list, a model is called by its name
    and anything else by its number.
    """

    model: tuple[str, ...] | dict[str, str] = ()
    router: dict[str, RouterSpec] = Field(default_factory=dict)
    cascade: dict[str, CascadeSpec] = Field(default_factory=dict)
    ensemble: dict[str, EnsembleSpec] = Field(default_factory=dict)
    template: tuple[Template, ...] | dict[str, Template] = ()
    system: tuple[System | None, ...] | dict[str, System | None] = ()
    decoding: tuple[ArmDecodingSpec, ...] | dict[str, ArmDecodingSpec] = ()

    def arms(self) -> list[ArmSpec]:
        """The arms, the last factor changing fastest.

        Raises:
            ValueError: there is none, or more than 64.
        """
        factors = {name: _named(name, getattr(self, name)) for name in type(self).model_fields}
        factors = {name: levels for name, levels in factors.items() if levels}
        who = [name for name in ("model", "router", "cascade", "ensemble") if name in factors]
        if len(who) != 1:
            raise ValueError(
                "factorial: needs one factor of those that answer: model, router, cascade or ensemble"
            )
        made = list(_combined(factors))
        if len(made) > _MOST_ARMS:
            raise ValueError(f"factorial: these are {len(made)} arms; at most {_MOST_ARMS} are compared")
        return made


def _combined(factors: Mapping[str, Mapping[str, Any]]) -> Iterator[ArmSpec]:
    for chosen in product(*(levels.items() for levels in factors.values())):
        levels = {factor: name for factor, (name, _) in zip(factors, chosen, strict=True)}
        values = {factor: value for factor, (_, value) in zip(factors, chosen, strict=True)}
        yield ArmSpec(name="/".join(levels.values())[:_LONGEST_ARM_NAME], levels=levels, **values)


def _named(factor: str, levels: tuple[Any, ...] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(levels, dict):
        return levels
    if factor == "model":
        names = [model_id.rpartition("/")[2] for model_id in levels]
        distinct = len(set(names)) == len(names)
        return dict(zip(names if distinct else levels, levels, strict=True))
    return {f"{factor} {number}": level for number, level in enumerate(levels, start=1)}
