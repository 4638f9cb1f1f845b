"""What a router is: something that says which candidate should answer a prompt."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from workbench.types import Decision, Prompt


@runtime_checkable
class Router(Protocol):
    """Decides from the prompt alone, without I/O, and the same way every time for the same seed."""

    @property
    def name(self) -> str:
        """What tables and logs call it."""
        ...

    def route(self, prompt: Prompt, candidates: Sequence[str]) -> Decision:
        """Choose one of `candidates` (`provider/model` ids) for `prompt`.

        Raises:
            RoutingError: there are no candidates.
        """
        ...
