"""How prompts meet arms, and when a run may stop, as written."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workbench.experiment.arm_spec import ReadFrom, Strict

_BLOCK_SIZE = 20

Share = Annotated[float, Field(gt=0, lt=1)]


class DesignSpec(Strict):
    """Who is asked what, in which order; and what is assumed when the size is planned.

    `paired`: every arm is asked every prompt, arms in random order for each. `interleaved`: the same in
    blocks of prompts, arms in random order for each block, one after the other. `randomised`: each prompt is
    asked of one arm, drawn with its share.
    """

    kind: Literal["paired", "randomised", "interleaved"] = "paired"
    shares: dict[str, Share] = Field(default_factory=dict, description="of the arms; default: equal")
    block_size: Annotated[int, Field(ge=1)] = _BLOCK_SIZE
    clusters: str | None = Field(default=None, description="column of the prompts file; default: cluster")
    effect: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="difference in quality to find"
    )
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    discordant_share: Annotated[float, Field(gt=0, le=1)] | None = None
    sd: Annotated[float, Field(gt=0, le=1)] | None = None
    icc: Annotated[float, Field(ge=0, le=1)] | None = None
    output_tokens: Annotated[int, Field(ge=1)] | None = None
    latency_s: Annotated[float, Field(gt=0)] | None = None
    pilot: ReadFrom | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.shares and self.kind != "randomised":
            raise ValueError("`shares` are of the kind randomised; in the others every arm has every prompt")
        if self.shares and abs(sum(self.shares.values()) - 1.0) > 1e-9:
            raise ValueError(f"`shares` must add up to 1, not {sum(self.shares.values()):g}")
        if self.block_size != _BLOCK_SIZE and self.kind != "interleaved":
            raise ValueError("`block_size` is of the kind interleaved")
        if self.discordant_share is not None and self.sd is not None:
            raise ValueError(
                "assume either a `discordant_share` (scores of 0 and 1) or an `sd` of differences"
            )
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What of it changes the calls; empty for the default."""
        changing = {"kind", "shares", "clusters"} | ({"block_size"} if self.kind == "interleaved" else set())
        return self.model_dump(mode="json", include=changing, exclude_defaults=True)


class StoppingSpec(Strict):
    """When a run ends: at its planned size, or as soon as enough is known.

    `sequential`: after every `look_every` prompts, from `min_prompts` on, it is looked whether every arm
    is decided against the control, by p-values that hold at all looks, corrected for the arms (Holm); and,
    with `futility_margin`, whether every undecided arm is within so much of the control.
    """

    rule: Literal["fixed", "sequential"] = "fixed"
    min_prompts: Annotated[int, Field(ge=2)] = 30
    look_every: Annotated[int, Field(ge=1)] = 10
    futility_margin: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def is_sequential(self) -> bool:
        """Whether the run may stop before its planned size."""
        return self.rule == "sequential"

    @model_validator(mode="after")
    def _of_the_rule(self) -> Self:
        if not self.is_sequential and self.model_dump(exclude_defaults=True):
            raise ValueError("these keys are of `rule: sequential`; a fixed run does not look")
        return self
