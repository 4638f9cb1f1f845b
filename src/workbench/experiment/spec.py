"""The experiment as written down: one YAML file, every key checked before anything is spent."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from workbench.errors import ConfigError
from workbench.experiment.analysis_spec import AnalysisSpec
from workbench.experiment.arm_spec import (
    ArmDecodingSpec,
    CascadeSpec,
    DecodingSpec,
    Delivery,
    EnsembleSpec,
    FactorialSpec,
    ReadFrom,
    RouterSpec,
    Scalar,
    Strict,
    TableSpec,
)
from workbench.experiment.arm_spec import ArmSpec as ArmSpec
from workbench.experiment.design_spec import DesignSpec, StoppingSpec
from workbench.plain_yaml import read_yaml
from workbench.redaction import refuse_secrets
from workbench.routing.aim import Aim, read_aim
from workbench.scoring import ScorerOptions, read_options
from workbench.storage import safe_name
from workbench.types import Decoding


def _file_name(name: str) -> str:
    try:
        return safe_name(name, what="experiment")
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


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


class PromptsSpec(Strict):
    """Which prompts are asked: the embedded set `tasks`, or a file."""

    source: ReadFrom = "tasks"
    split: str | None = None
    tasks: tuple[str, ...] = ()
    n: Annotated[int, Field(ge=2)] | None = None


class ExperimentSpec(Strict):
    """A question, the arms that are to answer it, and how the answer is judged."""

    name: FileName
    question: Annotated[str, Field(min_length=3)]
    prompts: PromptsSpec = PromptsSpec()
    replay: TableSpec | None = None
    arms: tuple[ArmSpec, ...] = ()
    factorial: FactorialSpec | None = Field(default=None, exclude=True, description="more arms, combined")
    control: str | None = Field(default=None, description="the arm that the others are compared with")
    scorer: WrittenScorer = Field(default=read_options("answer"), description="how an answer is judged")
    metric: Literal["quality"] = "quality"
    decoding: DecodingSpec = DecodingSpec()
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    design: DesignSpec = DesignSpec()
    stopping: StoppingSpec = StoppingSpec()
    analysis: AnalysisSpec = AnalysisSpec()
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
        if self.factorial is not None:
            object.__setattr__(self, "arms", (*self.arms, *self.factorial.arms()))  # frozen from here on
        names = [arm.name for arm in self.arms]
        if not names:
            raise ValueError("there is nothing to compare; write `arms`, or a `factorial`")
        if len(set(names)) != len(names):
            raise ValueError(f"arms must have different names, not {names}")
        if self.control is not None and self.control not in names:
            raise ValueError(f"control {self.control!r} is not one of the arms {names}")
        return self

    @model_validator(mode="after")
    def _design_fits_the_arms(self) -> Self:
        names = {arm.name for arm in self.arms}
        if self.design.shares and set(self.design.shares) != names:
            raise ValueError(f"design.shares must name each of the arms {sorted(names)}")
        if self.stopping.is_sequential and self.design.kind == "randomised":
            raise ValueError("stopping: a sequential run looks at pairs; a randomised design has none")
        if self.stopping.is_sequential and any(map(self.is_batched, self.arms)):
            raise ValueError(
                "stopping: offline batches are handed in at once, so that nothing is saved by stopping"
            )
        if self.stopping.is_sequential and len(names) < 2:
            raise ValueError("stopping: a sequential run needs an arm besides the control")
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

    def decode(self, repeat: int, own: ArmDecodingSpec | None = None) -> Decoding:
        """The decoding of one repeat; its seed differs from repeat to repeat, and from spec to spec.

        `own` is what an arm has otherwise.
        """
        written = self.decoding.model_dump() | ({} if own is None else own.model_dump())
        return Decoding(**written, seed=self.seed * 1000 + repeat)

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share with the one before: all that changes a call or its score.

        Of a sequential run also all that its decision to stop depends on, as that was made before it began.
        """
        shared = self.model_dump(mode="json", include=set(_FINGERPRINTED))
        if design := self.design.fingerprint():
            shared["design"] = design
        if self.stopping.is_sequential:
            decided_by = {"alpha": self.alpha, "control": self.control_arm}
            shared["stopping"] = self.stopping.model_dump(mode="json") | decided_by
        return shared


class TrainingSpec(Strict):
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
    raw = read_yaml(path, purpose="experiment")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a spec is a mapping of keys, such as name and question")
    try:
        spec = model.model_validate(raw | {"file": path.resolve()})
    except ValidationError as exc:
        raise ConfigError("\n".join(f"{path}: {text}" for text in _explained(exc))) from exc
    refuse_secrets(_shown_texts(raw), what=f"{path}:")
    return spec


def digest(value: object) -> str:
    """SHA-256 of a JSON value, the same for the same content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _shown_texts(raw: Mapping[Any, Any]) -> dict[str, object]:
    """What a report and a tracking store show as written: checked now, not when the run has been paid."""
    arms = raw.get("arms", [])
    return {"question": raw["question"]} | {f"arms[{n}].name": arm["name"] for n, arm in enumerate(arms)}


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
    models = (
        ExperimentSpec,
        TrainingSpec,
        PromptsSpec,
        TableSpec,
        ArmSpec,
        RouterSpec,
        CascadeSpec,
        EnsembleSpec,
        FactorialSpec,
        DecodingSpec,
        DesignSpec,
        StoppingSpec,
        AnalysisSpec,
    )
    known = [name for model in models for name in model.model_fields]
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
