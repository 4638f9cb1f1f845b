"""What cascades and ensembles need of a client: to have one model answer one prompt."""

from collections.abc import Iterable
from typing import Protocol

from workbench.client.client import DECODING
from workbench.types import Completion, Decoding, Prompt


class Asker(Protocol):
    """Asks models by their ids; a `Client` is one, and so is what keeps each of a client's answers."""

    def check(self, model_ids: Iterable[str]) -> None:
        """Find a model that cannot be called before anything is sent.

        Raises:
            ConfigError: names it.
        """
        ...

    async def complete(self, target: str, prompt: Prompt, *, decoding: Decoding = DECODING) -> Completion:
        """The answer of the model `target`; errors as `Client.complete`."""
        ...
