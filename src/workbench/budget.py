"""A limit on what a run may spend: reserved before a request is sent, settled when its cost is known.

What a request without a good answer is settled at:

| what came of the request | settled at |
|---|---|
| it was refused, failed with an error of the server's, or was never sent | nothing |
| a stream that broke off or was left | the prompt's bound, and the bytes that came, as tokens |
| no answer in time, cancelled, or an answer that cannot be read: it may have been billed | its bound |
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from workbench.catalog import token_bound
from workbench.errors import (
    BadResponseError,
    BudgetError,
    ConfigError,
    ConnectError,
    ProviderError,
    ProviderTimeoutError,
)
from workbench.types import Decoding, Prompt, Usage

_ROUNDING = 1e-12
"""Relative slack, so that ten calls of 0.1 fit into 1.0 in binary arithmetic."""


class Reservation:
    """Money set aside for one request; a `with` block releases what was not settled in it."""

    def __init__(self, budget: "Budget", bound_usd: float) -> None:
        self.bound_usd = bound_usd
        self._budget = budget
        self._is_open = True

    def settle(self, actual_usd: float) -> None:
        """Replace the reservation by what the request cost, even where that is more."""
        _checked(actual_usd, what="a cost")
        self.release()
        self._budget.spent_usd += actual_usd

    def release(self) -> None:
        """Give the money back: the request cost nothing. After settling, this does nothing."""
        if self._is_open:
            self._is_open = False
            self._budget.reserved_usd -= self.bound_usd

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.release()


class Budget:
    """What may be spent in all, in US dollars; `spent_usd` is what an earlier part of the run has spent.

    `name` is what its errors call it.

    The sum of what is spent and reserved never exceeds the limit, however many tasks reserve at once
    on one event loop; only a provider that charges more than the bound of a request can exceed it.

    >>> budget = Budget(1.0)
    >>> with budget.reserve(0.25) as reservation:
    ...     reservation.settle(0.2)
    >>> budget.spent_usd, budget.left_usd
    (0.2, 0.8)

    Raises:
        ConfigError: an amount is negative, infinite or not a number.
    """

    def __init__(self, limit_usd: float, *, spent_usd: float = 0.0, name: str = "the budget") -> None:
        self.name = name
        self.limit_usd = _checked(limit_usd, what="a budget")
        self.spent_usd = _checked(spent_usd, what="what is spent of a budget")
        self.reserved_usd = 0.0

    @property
    def left_usd(self) -> float:
        """What can still be reserved; never negative."""
        return max(0.0, self.limit_usd - self.spent_usd - self.reserved_usd)

    def reserve(self, bound_usd: float) -> Reservation:
        """Set aside the most that a request can cost.

        Raises:
            BudgetError: less than that is left; nothing is set aside.
        """
        _checked(bound_usd, what="the cost of a call")
        committed = self.spent_usd + self.reserved_usd
        if committed + bound_usd > self.limit_usd * (1 + _ROUNDING):
            raise BudgetError(
                f"the call could cost ${bound_usd:.6f}, but ${self.left_usd:.6f} of {self.name} of "
                f"${self.limit_usd:.6f} is left (${self.spent_usd:.6f} spent, ${self.reserved_usd:.6f} "
                f"reserved by calls under way); raise {self.name}, or ask for fewer output tokens"
            )
        return self.hold(bound_usd)

    def hold(self, bound_usd: float) -> Reservation:
        """Set aside what a request can cost that was sent already, also where it is more than is left."""
        self.reserved_usd += _checked(bound_usd, what="the cost of a call")
        return Reservation(self, bound_usd)

    @contextmanager
    def earmarked(self, bound_usd: float) -> Iterator["Budget"]:
        """A budget of its own for requests that belong together, set aside before the first is sent.

        What it does not need goes back at the end of the block. Where it needs more, as for a request
        that has to be sent again, it takes that from this budget, if there is as much.

        >>> budget = Budget(1.0)
        >>> with budget.earmarked(0.5) as own:
        ...     own.reserve(0.25).settle(0.2)
        >>> budget.spent_usd, budget.reserved_usd
        (0.2, 0.0)

        Raises:
            BudgetError: less than `bound_usd` is left; nothing is set aside.
        """
        own = _Earmarked(self, bound_usd)
        try:
            yield own
        finally:
            own.hand_back()

    def __repr__(self) -> str:
        return f"Budget({self.limit_usd!r}, spent_usd={self.spent_usd!r})"


class _Earmarked(Budget):
    """A part of a budget: reserved of the whole while it is open, and then what was spent of it."""

    def __init__(self, whole: Budget, bound_usd: float) -> None:
        super().__init__(bound_usd, name=whole.name)
        self._whole = whole
        self._taken = [whole.reserve(bound_usd)]

    def reserve(self, bound_usd: float) -> Reservation:
        missing_usd = self.spent_usd + self.reserved_usd + bound_usd - self.limit_usd
        if missing_usd > self.limit_usd * _ROUNDING:
            self._taken.append(self._whole.reserve(missing_usd))
            self.limit_usd += missing_usd
        return self.hold(bound_usd)

    def hand_back(self) -> None:
        """Give back what was taken, and count what was spent."""
        for reservation in self._taken:
            reservation.release()
        self._whole.spent_usd += self.spent_usd


def billable_usage(
    failure: BaseException, prompt: Prompt, decoding: Decoding, *, n_text_bytes: int = 0
) -> Usage | None:
    """The tokens that a request which ended in `failure` may be billed for, from above; None: it is not.

    Args:
        failure: a provider's error, or what ended the call from outside, such as a cancellation.
        n_text_bytes: bytes of the answer that had come.
    """
    if isinstance(failure, ProviderError):
        if not (failure.partial_text or _may_be_billed(failure)):
            return None
        n_text_bytes = max(n_text_bytes, len(failure.partial_text.encode()))
    most = decoding.max_output_tokens
    return Usage(token_bound(prompt, decoding), min(most, n_text_bytes) or most, is_estimated=True)


def _may_be_billed(failure: ProviderError) -> bool:
    """Whether the provider may have done its work, though no answer that can be used came back."""
    if isinstance(failure, ProviderTimeoutError):
        return failure.was_sent
    return failure.status == 200 and isinstance(failure, BadResponseError | ConnectError)


def _checked(usd: float, *, what: str) -> float:
    if not 0.0 <= usd < math.inf:
        raise ConfigError(f"{what} is {usd} US dollars; it must be a finite number, zero or more")
    return usd
