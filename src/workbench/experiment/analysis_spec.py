"""What is asked of the outcomes beside which arm is better, as written."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from workbench.experiment.arm_spec import Strict

Margin = Annotated[float, Field(gt=0, lt=1)]


class AnalysisSpec(Strict):
    """No part of a run's fingerprint: it changes no call, so that outcomes can be analysed anew.

    Margins are differences in quality: 0.02 is 2 points.
    """

    non_inferiority_margin: Margin | None = Field(
        default=None, description="is an arm worse than the control by less than this?"
    )
    equivalence_margin: Margin | None = Field(
        default=None, description="do an arm and the control differ by less than this?"
    )
    covariate: str | None = Field(
        default=None, description="a numeric column known before an answer was, such as predicted_quality"
    )

    @model_validator(mode="after")
    def _one_margin(self) -> Self:
        if self.non_inferiority_margin is not None and self.equivalence_margin is not None:
            raise ValueError("has either a `non_inferiority_margin` or an `equivalence_margin`")
        return self
