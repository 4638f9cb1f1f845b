"""Channels: one model through one account, and how it is doing."""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from workbench.client.accounts import Account
from workbench.client.breaker import Breaker
from workbench.client.limits import Limits
from workbench.client.rate import RateLimit
from workbench.client.retry import RetryBudget, is_outage, is_push_back
from workbench.client.slots import AdaptiveSlots
from workbench.errors import AuthError, ProviderError, QuotaExceededError, RateLimitError

SHUT_S = 60.0
"""How long an account is left alone that refused its key or has no credit."""


class ChannelKey(NamedTuple):
    """What a channel is known by; `account` is an alias."""

    provider: str
    model: str
    account: str


class AccountInUse:
    """An account of this client, and what is under way on it."""

    def __init__(self, account: Account, limits: Limits) -> None:
        self.provider = account.provider
        self.alias = account.alias
        self.rate = RateLimit(
            requests_per_minute=account.requests_per_minute or limits.requests_per_minute,
            tokens_per_minute=account.tokens_per_minute or limits.tokens_per_minute,
        )
        self.n_under_way = 0
        self.last_asked = 0
        self.shut_until = 0.0


class Channel:
    """One model through one account: whether it may be asked now, and at what rate."""

    def __init__(self, account: AccountInUse, model: str, limits: Limits) -> None:
        self.key = ChannelKey(account.provider.name, model, account.alias)
        self.account = account
        self.breaker = Breaker(n_failures=limits.breaker_failures, open_s=limits.breaker_open_s)
        self.retries = RetryBudget()
        self.slots = AdaptiveSlots(limits.concurrency)
        self.rate = RateLimit()
        self.n_answered = 0
        self._patience_s = limits.deadline_s
        self._ready_at = 0.0

    @property
    def problem(self) -> str | None:
        """Why this is not the time to ask; None: it may be asked, at once or after a short wait."""
        if not self.breaker.admits:
            return "breaker open"
        now = time.monotonic()
        if self.account.shut_until > now:
            return "account shut"
        wait_s = max(self._ready_at - now, self.rate.wait_s(0))
        return "rate limit" if wait_s > self._patience_s else None

    @property
    def is_resting(self) -> bool:
        """Whether it was told to wait."""
        return self._rest_s > 0.0

    @property
    def _rest_s(self) -> float:
        return self._ready_at - time.monotonic()

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a limit on tokens."""
        return self.rate.tokens is not None or self.account.rate.tokens is not None

    async def admit(self, n_tokens: int) -> int:
        """Wait until a request of at most `n_tokens` tokens may be sent; `release` must follow.

        What would take longer than a call may take is not waited for: the server has its say.

        Returns:
            The ticket of its slot.
        """
        await self._rest()
        await self.account.rate.reserve(n_tokens)
        try:
            ticket = await self._reserve(n_tokens)
        except asyncio.CancelledError:
            self.account.rate.settle(n_tokens, 0)
            raise
        self.account.n_under_way += 1
        return ticket

    async def _reserve(self, n_tokens: int) -> int:
        await self.rate.reserve(n_tokens, patience_s=self._patience_s)
        try:
            ticket = await self.slots.acquire()
            while 0.0 < self._rest_s <= self._patience_s:  # told while it waited
                self.slots.release(ticket)
                await self._rest()
                ticket = await self.slots.acquire()
        except asyncio.CancelledError:
            self.rate.settle(n_tokens, 0)
            raise
        return ticket

    async def _rest(self) -> None:
        if 0.0 < (rest_s := self._rest_s) <= self._patience_s:
            await asyncio.sleep(rest_s)

    def release(self, ticket: int, n_tokens: int, *, n_used: int, was_heard: bool) -> None:
        """A request that was admitted is over, and used `n_used` tokens.

        Where the server told what remains (`was_heard`), its own count stands.
        """
        self.account.n_under_way -= 1
        self.slots.release(ticket)
        self.rate.settle(n_tokens, n_tokens if was_heard else n_used)
        self.account.rate.settle(n_tokens, n_used)

    def hear(self, headers: Mapping[str, str], n_tokens: int) -> bool:
        """Learn from the headers of an answer; False: they say nothing of limits."""
        return self.rate.hear(headers, n_tokens)

    def answer(self) -> None:
        """A request was answered; it is still admitted."""
        self.n_answered += 1
        self.retries.answer()
        self.slots.answer()
        self.rate.answer()

    def push_back(self, failure: ProviderError, ticket: int, *, rest_s: float) -> None:
        """A request was refused as one too many; it is still admitted.

        Beside others, it was one too many at once; alone, it came too soon after those before.

        Args:
            rest_s: how long to leave the channel alone where `failure` does not say.
        """
        if self.slots.n_held == 1:
            self.rate.refuse(failure.retry_after_s or 0.0)
        self.slots.refuse(ticket)
        wait_s = rest_s if failure.retry_after_s is None else failure.retry_after_s
        self._ready_at = max(self._ready_at, time.monotonic() + wait_s)

    def fail(self, failure: ProviderError) -> None:
        """A request failed, and not because of others; it is still admitted."""
        if is_outage(failure):
            self.retries.fail()
        elif is_of_account(failure) and not is_push_back(failure):
            self.account.shut_until = time.monotonic() + SHUT_S


def is_of_account(failure: ProviderError) -> bool:
    """Whether `failure` is the account's, so that another account may be answered."""
    if isinstance(failure, AuthError):
        return failure.status == 401
    return isinstance(failure, QuotaExceededError | RateLimitError)
