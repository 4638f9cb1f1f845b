"""The experiment as written down: one YAML file, every key checked before anything is spent."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from workbench.errors import ConfigError, DataError
from workbench.redaction import holds_secret, refuse_secrets
from workbench.routing.aim import Aim, read_aim
from workbench.scoring import ScorerOptions, read_options
from workbench.storage import read_bytes, safe_name
from workbench.types import Decoding

_MAX_BYTES = 1_000_000
_MAX_NAME_BYTES = 255  # of one file, on every usual file system

Scalar = str | int | float | bool


def _file_name(name: str) -> str:
    try:
        return safe_name(name, what="experiment")
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


def _path(text: str) -> str:
    if not text.isprintable() or max(len(part.encode()) for part in text.split("/")) > _MAX_NAME_BYTES:
        raise ValueError(f"{text[:60]!r} cannot be a path")
    return text


def _aim(written: object) -> Aim:
    try:
        return read_aim(written)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


def _scorer(written: object) -> ScorerOptions:
    try:
        return read_options(written)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


FileName = Annotated[str, AfterValidator(_file_name)]
"""A name that can be a folder's, since a run's folder has it."""

ReadFrom = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_path)]
"""A name, or a file of the author's that is read and never written, wherever it is."""

# YAML reads a bare `off` as false.
CacheKind = Annotated[
    Literal["off", "memory", "disk", "redis"],
    BeforeValidator(lambda value: "off" if value is False else value),
]
"""Where answers are looked for before they are paid for; no part of a run's fingerprint."""

WrittenAim = Annotated[InstanceOf[Aim], BeforeValidator(_aim), PlainSerializer(str)]
"""An aim in words, or as a mapping with the fields of `Aim`."""

WrittenScorer = Annotated[
    InstanceOf[ScorerOptions],
    BeforeValidator(_scorer),
    PlainSerializer(lambda options: options.written),
]
"""A scorer by its name, or as a mapping of its kind and options; kept as briefly as it can be written."""

_Spec = TypeVar("_Spec", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableSpec(_Strict):
    """Rows of a recorded outcome table: a benchmark's name, a Parquet file, or another experiment's YAML."""

    outcomes: ReadFrom
    where: dict[str, Scalar] = Field(default_factory=dict, description="keep the rows with these values")


class PromptsSpec(_Strict):
    """Which prompts are asked: the embedded set `tasks`, or a file."""

    source: ReadFrom = "tasks"
    split: str | None = None
    tasks: tuple[str, ...] = ()
    n: Annotated[int, Field(ge=2)] | None = None


class RouterSpec(_Strict):
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


Delivery = Literal["live", "batch"]
"""Whether the calls of an arm are sent one by one, or handed in as an offline batch, at its lower price.

It is no part of a run's fingerprint: the answers are those of the same model to the same prompts.
"""


class ArmSpec(_Strict):
    """One thing to compare: a model (`provider/model`) or a router over models."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    model: str | None = None
    router: RouterSpec | None = None
    fallbacks: tuple[str, ...] = ()
    delivery: Delivery | None = Field(default=None, exclude=True, description="default: the experiment's")

    @model_validator(mode="after")
    def _model_or_router(self) -> Self:
        if (self.model is None) == (self.router is None):
            raise ValueError("needs either `model` or `router`")
        return self


class DecodingSpec(_Strict):
    """How every arm is asked to answer."""

    max_output_tokens: Annotated[int, Field(ge=1)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: tuple[str, ...] = ()


class ExperimentSpec(_Strict):
    """A question, the arms that are to answer it, and how the answer is judged."""

    name: FileName
    question: Annotated[str, Field(min_length=3)]
    prompts: PromptsSpec = PromptsSpec()
    replay: TableSpec | None = None
    arms: Annotated[tuple[ArmSpec, ...], Field(min_length=1)]
    control: str | None = Field(default=None, description="the arm that the others are compared with")
    scorer: WrittenScorer = Field(default=read_options("answer"), description="how an answer is judged")
    metric: Literal["quality"] = "quality"
    decoding: DecodingSpec = DecodingSpec()
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    deadline_s: Annotated[float, Field(gt=0)] = 60.0
    seed: int = 0
    delivery: Delivery = "live"
    cache: CacheKind = "off"
    notebook: ReadFrom = "02_compare_models.ipynb"
    file: Path = Field(default=Path("spec.yaml"), exclude=True, description="the YAML itself")

    @model_validator(mode="after")
    def _arms_are_distinct_and_known(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"arms must have different names, not {names}")
        if self.control is not None and self.control not in names:
            raise ValueError(f"control {self.control!r} is not one of the arms {names}")
        return self

    @model_validator(mode="after")
    def _batches_have_one_model(self) -> Self:
        for arm in self.arms:
            if self.is_batched(arm) and (arm.model is None or arm.fallbacks):
                raise ValueError(f"arm {arm.name!r}: a batch is of one `model`, without `fallbacks`")
            if self.is_batched(arm) and self.replay is not None:
                raise ValueError(f"arm {arm.name!r}: what is replayed cannot be handed in as a batch")
        return self

    def is_batched(self, arm: ArmSpec) -> bool:
        """Whether the calls of `arm` are handed in as an offline batch."""
        return (arm.delivery or self.delivery) == "batch"

    @property
    def folder(self) -> Path:
        """Where the YAML lies: paths in it start here."""
        return self.file.parent

    @property
    def control_arm(self) -> str:
        """The control: as written, or the first arm."""
        return self.control or self.arms[0].name

    def decode(self, repeat: int) -> Decoding:
        """The decoding of one repeat; its seed differs from repeat to repeat, and from spec to spec."""
        return Decoding(**self.decoding.model_dump(), seed=self.seed * 1000 + repeat)

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share with the one before: all that changes a call or its score."""
        return self.model_dump(mode="json", include=set(_FINGERPRINTED))


class TrainingSpec(_Strict):
    """A router to train, and how it is measured: by cross-validation over `folds`."""

    name: FileName
    question: Annotated[str, Field(min_length=3)]
    kind: str = "controller"
    fit_on: TableSpec
    folds: str | Annotated[int, Field(ge=2, le=50)] = 5
    cost_weight: Annotated[float, Field(ge=0)] = 0.0
    latency_weight: Annotated[float, Field(ge=0)] = 0.0
    aim: WrittenAim | None = Field(default=None, description="what the weights are chosen for")
    options: dict[str, Scalar] = Field(default_factory=dict)
    seed: int = 0
    file: Path = Field(default=Path("spec.yaml"), exclude=True, description="the YAML itself")

    @model_validator(mode="after")
    def _aim_or_weights(self) -> Self:
        if self.aim is not None and (self.cost_weight or self.latency_weight):
            raise ValueError("has either an `aim`, for which the weights are chosen, or weights")
        return self

    @property
    def folder(self) -> Path:
        """Where the YAML lies: paths in it start here."""
        return self.file.parent


_FINGERPRINTED = ("prompts", "replay", "arms", "scorer", "decoding", "repeats", "seed")


def load_spec(path: str | Path) -> ExperimentSpec:
    """The experiment in a YAML file.

    Raises:
        StorageError: there is no such file.
        ConfigError: it is not plain YAML, it holds what looks like a secret, or a key is unknown, missing or
            wrong; the message names it.
    """
    return _parsed(ExperimentSpec, Path(path))


def load_training_spec(path: str | Path) -> TrainingSpec:
    """The training of a router in a YAML file; errors as `load_spec`."""
    return _parsed(TrainingSpec, Path(path))


def _parsed(model: type[_Spec], path: Path) -> _Spec:
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a spec is a mapping of keys, such as name and question")
    try:
        spec = model.model_validate(raw | {"file": path.resolve()})
    except ValidationError as exc:
        raise ConfigError("\n".join(f"{path}: {text}" for text in _explained(exc))) from exc
    refuse_secrets(_shown_texts(raw), what=f"{path}:")
    return spec


def read_yaml(path: Path) -> object:
    """Plain YAML: no tags, no anchors, no repeated keys, no key of a provider, at most 1 MB."""
    try:
        content = read_bytes(path, purpose="experiment", max_bytes=_MAX_BYTES)
    except DataError as exc:
        raise ConfigError(str(exc)) from exc
    if holds_secret(content.decode(errors="replace")):  # before a parser quotes it in an error
        raise ConfigError(
            f"{path} holds what looks like a key, and would be kept in plain text; "
            "leave it out and set the provider's key in the environment"
        )
    try:
        return yaml.load(content, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader that allows less
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"{path} is not plain YAML: {' '.join(str(exc).split())}") from exc


def digest(value: object) -> str:
    """SHA-256 of a JSON value, the same for the same content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _shown_texts(raw: Mapping[Any, Any]) -> dict[str, object]:
    """What a report and a tracking store show as written: checked now, not when the run has been paid."""
    arms = raw.get("arms", [])
    return {"question": raw["question"]} | {f"arms[{n}].name": arm["name"] for n, arm in enumerate(arms)}


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors (which can grow a small file to gigabytes) and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases (& and *) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep)


def _explained(exc: ValidationError) -> list[str]:
    """Every error as one line, without those that only follow from an error inside the same key."""
    errors = exc.errors()
    inner = {error["loc"][:depth] for error in errors for depth in range(1, len(error["loc"]))}
    return [_explain(error) for error in errors if error["loc"] not in inner]


def _explain(error: Any) -> str:
    """One pydantic error as `key: what is wrong`, with the nearest known key for an unknown one."""
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_nearest(error['loc'])}"
    if error["type"] == "missing":
        return f"{key}: this key is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _nearest(loc: tuple[str | int, ...]) -> str:
    models = (ExperimentSpec, TrainingSpec, PromptsSpec, TableSpec, ArmSpec, RouterSpec, DecodingSpec)
    known = [name for model in models for name in model.model_fields]
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
