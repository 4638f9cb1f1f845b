"""What a provider is: something that answers a prompt, whole or as a stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Protocol, runtime_checkable

from workbench.types import Completion, Decoding, Delta, Prompt


@runtime_checkable
class Provider(Protocol):
    """One connection to one provider: over HTTP, from a recorded table, or anything else that answers.

    A provider sends one request and reports honestly what came of it. Retries, fallback, limits,
    price and budget are the client's.
    """

    @property
    def name(self) -> str:
        """The first part of the ids of its models."""
        ...

    async def complete(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> Completion:
        """One request, answered within `deadline_s` seconds, or a `ProviderError`."""
        ...

    def stream(
        self, model: str, prompt: Prompt, decoding: Decoding, *, deadline_s: float
    ) -> AsyncIterator[Delta]:
        """The same, piece by piece; the last delta carries the whole completion."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def closing(stream: AsyncIterator[Delta]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
    """Close `stream` at the end, if there is something to close: a provider may give a plain iterator."""
    return aclosing(stream) if isinstance(stream, AsyncGenerator) else nullcontext(stream)
