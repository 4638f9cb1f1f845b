"""A visit: what one call does at one candidate, through whichever of its accounts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from workbench.catalog import ModelSpec
from workbench.client.channel import Channel, is_of_account
from workbench.client.retry import is_outage, is_push_back
from workbench.errors import (
    AuthError,
    ContextTooLongError,
    ProviderError,
    QuotaExceededError,
    RequestError,
)

_Verdict = Literal["answer", "fail", "leave"]
_turns = count(1)


@dataclass(frozen=True, slots=True)
class Target:
    """A model, and the channels to ask it through: one for each account."""

    spec: ModelSpec
    channels: Sequence[Channel]

    @property
    def problem(self) -> str | None:
        """Why this is not the time to ask it; None: one of its channels may be asked."""
        problem = None
        for channel in self.channels:
            problem = channel.problem
            if problem is None:
                return None
        return problem


@dataclass(slots=True)
class Visit:
    """`n_left` counts the candidates that are left, this one included; `limit` is when it must be over."""

    target: Target
    n_left: int
    limit: float | None = None
    verdicts: dict[Channel, _Verdict] = field(default_factory=dict)
    probes: set[Channel] = field(default_factory=set)
    n_attempts: int = 0
    n_pushed_back: int = 0
    _n_answered: dict[Channel, int] = field(default_factory=dict)

    def enter(self) -> Channel:
        """The channel to ask next: the least busy one that is well, in turn."""
        channels = self.target.channels
        channel = channels[0] if len(channels) == 1 else min(channels, key=self._preference)
        channel.account.last_asked = next(_turns)
        if channel not in self.verdicts:
            self.verdicts[channel] = "leave"
            self._n_answered[channel] = channel.n_answered
            if channel.breaker.enter():
                self.probes.add(channel)
        return channel

    @property
    def has_fresh_account(self) -> bool:
        """Whether an account is left that may be asked at once and was not yet."""
        return any(
            channel not in self.verdicts and channel.problem is None and not channel.is_resting
            for channel in self.target.channels
        )

    @property
    def is_probe(self) -> bool:
        """Whether this visit is to find out if a channel is well again."""
        return bool(self.probes)

    def answered(self, channel: Channel) -> None:
        """The last request there was answered."""
        self.verdicts[channel] = "answer"

    def pushed_back(self, channel: Channel, failure: ProviderError, ticket: int) -> bool:
        """The last request there was told "not now"; False: that is a failure like any other.

        It is none where the server answers others: one was answered since this visit was last refused, or,
        where there was one request too many, an earlier one is still under way. Where another candidate is
        left, that is asked after the usual attempts.
        """
        n_answered, self._n_answered[channel] = self._n_answered[channel], channel.n_answered
        is_one_too_many = is_push_back(failure) and not channel.slots.is_oldest(ticket)
        is_free = self.n_left == 1 and (channel.n_answered > n_answered or is_one_too_many)
        self.n_pushed_back += is_free
        return is_free

    def failed(self, channel: Channel, failure: ProviderError) -> None:
        """The last request there failed; a refusal, unless of the account, shows that the server is well."""
        if is_outage(failure):
            self.verdicts[channel] = "fail"
        elif isinstance(failure, RequestError) and not is_of_account(failure):
            self.verdicts[channel] = "answer"

    def conclude(self) -> None:
        """Tell the breakers what came of it: one word for each, however many requests there were."""
        for channel, verdict in self.verdicts.items():
            is_probe = channel in self.probes
            if verdict == "answer":
                channel.breaker.answer()
            elif verdict == "fail":
                channel.breaker.fail(is_probe=is_probe)
            else:
                channel.breaker.leave(is_probe=is_probe)

    def _preference(self, channel: Channel) -> tuple[bool, bool, bool, int, int]:
        return (
            channel.problem is not None,
            channel.is_resting,
            channel in self.verdicts,
            channel.account.n_under_way,
            channel.account.last_asked,
        )


def rules_out(failure: ProviderError, target: Target, asked: Sequence[Target]) -> bool:
    """Whether `target` would fail as well: the same account, or a window that is no longer."""
    if isinstance(failure, AuthError | QuotaExceededError):
        return target.spec.provider == failure.provider
    if isinstance(failure, ContextTooLongError):
        too_short = next(t.spec.context_tokens for t in asked if t.spec.model == failure.model)
        window = target.spec.context_tokens
        return too_short is not None and window is not None and window <= too_short
    return False
