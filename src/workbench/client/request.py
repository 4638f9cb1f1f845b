"""A request: what is known of it while it is under way, and what its provider is told beside the prompt."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from workbench.client.channel import Channel
from workbench.providers.exchange import head_observer, idempotency_key
from workbench.types import Completion


@dataclass(slots=True)
class Request:
    """A request under way. `limit` is when it must be over; `ticket` is that of its slot."""

    channel: Channel
    limit: float
    n_tokens: int
    ticket: int
    started_s: float
    completion: Completion | None = None
    n_text_bytes: int = 0
    first_token_s: float | None = None
    was_heard: bool = False

    @property
    def left_s(self) -> float:
        """Seconds until it must be over."""
        return max(0.001, self.limit - time.monotonic())

    def hear(self, headers: Mapping[str, str]) -> None:
        """The head of an answer came."""
        self.was_heard = self.channel.hear(headers, self.n_tokens) or self.was_heard


@contextmanager
def heard_by(request: Request, name: str) -> Iterator[None]:
    """Let the provider's HTTP tell `request` what it hears, and send the `name` of the call."""
    observer = head_observer.set(request.hear)
    key = idempotency_key.set(name)
    try:
        yield
    finally:
        idempotency_key.reset(key)
        head_observer.reset(observer)
