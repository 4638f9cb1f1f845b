"""The calls that go into one offline batch, as they are handed in, and what is set aside for them."""

import secrets
from dataclasses import dataclass, field

from workbench.budget import Reservation
from workbench.experiment.calls import Call
from workbench.experiment.journal import custom_id


@dataclass(slots=True)
class Chunk:
    """Calls of one model that will be one batch: by their `custom_id`, and as they are handed in."""

    model_id: str
    token: str = field(default_factory=lambda: secrets.token_hex(12))
    calls: dict[str, Call] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    held: dict[str, Reservation] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    n_bytes: int = 0

    @property
    def next_name(self) -> str:
        """What the next call is called."""
        return custom_id(self.token, len(self.lines))

    def add(self, call: Call, line: bytes, bound_usd: float, reservation: Reservation | None) -> None:
        """Take `call` as the next."""
        name = self.next_name
        self.calls[name], self.bounds[name] = call, bound_usd
        if reservation is not None:
            self.held[name] = reservation
        self.lines.append(line)
        self.n_bytes += len(line) + 1

    def release(self) -> None:
        """Give back what is held: nothing was bought."""
        for reservation in self.held.values():
            reservation.release()
