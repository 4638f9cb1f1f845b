"""What a spec says of its scorer: a name, or a mapping of a `kind` and its options."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from workbench.answers.number import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from workbench.errors import ConfigError
from workbench.scoring.pattern import MOST_PATTERN, check_pattern

_SCALE = re.compile(r"\s*(\d{1,3})\s*-\s*(\d{1,3})\s*")
_MOST_RUBRIC = 20_000

ModelId = Annotated[str, Field(pattern=r"^[^/\s]+/\S+$")]
"""`provider/model`."""


def _checked_pattern(pattern: str) -> str:
    try:
        check_pattern(pattern)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc
    return pattern


def _checked_scale(scale: str) -> str:
    found = _SCALE.fullmatch(scale)
    if found is None or int(found[1]) >= int(found[2]):
        raise ValueError("a scale is two whole numbers, the worst first, such as 1-5")
    return f"{int(found[1])}-{int(found[2])}"


class ScorerOptions(BaseModel):
    """A scorer as it is written. It prints, and is kept, as briefly as it can be written."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: str

    @property
    def written(self) -> str | dict[str, Any]:
        """The name alone, or a mapping with the options that are not the default."""
        changed = self._changed()
        return {"kind": self.kind} | changed if changed else self.kind

    def __str__(self) -> str:
        told = ", ".join(f"{name}: {value}" for name, value in self._changed().items())
        return f"{self.kind} ({told})" if told else self.kind

    def _changed(self) -> dict[str, Any]:
        """The options that are not the default, under the names that a spec has for them."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"kind"})


class Plain(ScorerOptions):
    """A scorer without options; `recorded` takes the quality from a replayed table."""

    kind: Literal[
        "answer", "exact", "normalised", "choice", "contains", "json_fields", "token_f1", "recorded"
    ]


class Numeric(ScorerOptions):
    """The last number within a share of the reference's, or within an amount."""

    kind: Literal["numeric"] = "numeric"
    relative_tolerance: Annotated[float, Field(ge=0, lt=1)] = RELATIVE_TOLERANCE
    absolute_tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = ABSOLUTE_TOLERANCE


class Pattern(ScorerOptions):
    """A regular expression that is found in the answer."""

    kind: Literal["regex"] = "regex"
    pattern: Annotated[str, Field(min_length=1, max_length=MOST_PATTERN), AfterValidator(_checked_pattern)]


class Schema(ScorerOptions):
    """JSON that follows the schema in a file."""

    kind: Literal["json_schema"] = "json_schema"
    file: Annotated[str, Field(alias="schema", min_length=1, max_length=1000)]


class RougeL(ScorerOptions):
    """The longest common subsequence of words."""

    kind: Literal["rouge_l"] = "rouge_l"
    beta: Annotated[float, Field(gt=0, le=100)] = 1.0


class Code(ScorerOptions):
    """The reference's tests, run on the answer's code."""

    kind: Literal["code"] = "code"
    timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 5.0
    memory_mb: Annotated[int, Field(ge=64, le=65_536)] = 256
    all_or_nothing: bool = False


class Embedding(ScorerOptions):
    """The cosine of two embeddings: `minilm` on this machine, or a provider's model."""

    kind: Literal["embedding"] = "embedding"
    model: Literal["minilm"] | ModelId = "minilm"


class Judge(ScorerOptions):
    """A model that judges one answer by a rubric."""

    kind: Literal["judge"] = "judge"
    model: ModelId
    rubric: Annotated[str, Field(min_length=3, max_length=_MOST_RUBRIC)]
    scale: Annotated[str, AfterValidator(_checked_scale)] = "1-5"
    with_reference: bool = True
    max_output_tokens: Annotated[int, Field(ge=64, le=32_768)] = 512

    @property
    def bounds(self) -> tuple[int, int]:
        """The worst and the best score."""
        low, high = self.scale.split("-")
        return int(low), int(high)


class PairwiseJudge(ScorerOptions):
    """A model that says which of two answers is better, asked in both orders."""

    kind: Literal["pairwise_judge"] = "pairwise_judge"
    model: ModelId
    against: Annotated[str, Field(min_length=1, max_length=60)] = "control"
    rubric: Annotated[str, Field(min_length=3, max_length=_MOST_RUBRIC)] = (
        "The better answer is the one that is right, and does what is asked; length is no merit."
    )
    with_reference: bool = True
    max_output_tokens: Annotated[int, Field(ge=64, le=32_768)] = 512


class Human(ScorerOptions):
    """Labels by people, in a CSV file."""

    kind: Literal["human"] = "human"
    labels: Annotated[str, Field(min_length=1, max_length=1000)]


_KINDS: Mapping[str, type[ScorerOptions]] = dict.fromkeys(
    ("answer", "exact", "normalised", "choice", "contains", "json_fields", "token_f1", "recorded"), Plain
) | {
    "numeric": Numeric,
    "regex": Pattern,
    "json_schema": Schema,
    "rouge_l": RougeL,
    "code": Code,
    "embedding": Embedding,
    "judge": Judge,
    "pairwise_judge": PairwiseJudge,
    "human": Human,
}
KINDS = tuple(_KINDS)


def read_options(written: object) -> ScorerOptions:
    """The scorer of a spec, from its name or a mapping with `kind`.

    >>> read_options({"kind": "numeric", "relative_tolerance": 0.01}).written
    {'kind': 'numeric', 'relative_tolerance': 0.01}
    >>> read_options({"kind": "numeric"}).written
    'numeric'

    Raises:
        ConfigError: an unknown kind or option, one that is missing, or a value that cannot be; one message.
    """
    if isinstance(written, ScorerOptions):
        return written
    options = {"kind": written} if isinstance(written, str) else written
    if not isinstance(options, Mapping) or not isinstance(options.get("kind"), str):
        raise ConfigError("a scorer is a name, such as normalised, or a mapping with a `kind`")
    kind = str(options["kind"])
    if kind not in _KINDS:
        raise ConfigError(f"there is no scorer {kind!r}{_nearest(kind, KINDS)}; known are {', '.join(KINDS)}")
    try:
        return _KINDS[kind].model_validate(dict(options))
    except ValidationError as exc:
        raise ConfigError(_explained(kind, exc)) from exc


def _explained(kind: str, exc: ValidationError) -> str:
    """The first error, in one line."""
    error = exc.errors()[0]
    name = str(error["loc"][0]) if error["loc"] else "kind"
    fields = _KINDS[kind].model_fields.items()
    known = [field.alias or name for name, field in fields if name != "kind"]
    if error["type"] == "extra_forbidden":
        has = f"it has {', '.join(known)}" if known else "it has none"
        return f"the scorer {kind} has no option {name!r}{_nearest(name, known)}; {has}"
    if error["type"] == "missing":
        return f"the scorer {kind} needs the option {name!r}"
    return f"the scorer {kind}: {name}: {error['msg'].removeprefix('Value error, ')}"


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
