"""One call of a run: an arm asked a prompt once."""

from dataclasses import dataclass

from workbench.experiment.arms import Arm
from workbench.experiment.journal import Key
from workbench.types import Prompt


@dataclass(frozen=True, slots=True)
class Call:
    """One arm asked one prompt once; `block` and `share` are of the design, where it has any.

    `share` is the probability with which this arm was drawn for this prompt.
    """

    arm: Arm
    prompt: Prompt
    repeat: int
    block: int | None = None
    share: float | None = None

    @property
    def key(self) -> Key:
        """What the journal calls it."""
        return (self.prompt.prompt_id, self.arm.name, self.repeat)

    @property
    def asked(self) -> Prompt:
        """The prompt in the words of the arm."""
        return self.arm.phrasing.of(self.prompt)
