"""What a response settles on, so that the answers of several models can be compared without a reference."""

from workbench.answers.final import final_answer, final_line
from workbench.answers.settled import is_refusal, settled

__all__ = ["final_answer", "final_line", "is_refusal", "settled"]
