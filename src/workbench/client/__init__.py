"""One way to call a model: a slot, a deadline, retries, fallbacks, a budget, and a ledger of it all.

| question | module |
|---|---|
| which models and accounts there are | `client`, `connection`, `accounts` |
| where keys are | `key_sources`, `key_ring`, `key_file` |
| how many calls at once, and how fast | `limits`, `slots`, `rate` |
| what becomes of one call | `call`: its candidates; `visit`: one candidate; `request`: one request |
| whether a model of an account may be asked now | `channel`, `breaker` |
| when it is asked again | `retry`, `hedge` |
| what it cost | `bill`, `ledger`, `ledger_table` |
| who is told of it | `events`, `event_log`, `spans` |
| how several models answer as one | `panel`; `cascading`, `ensembling` |
| what a model says of an answer | `judging` |

Retries. There is one layer of them, here. A retryable failure is tried again after a random part of an
exponential backoff, or after what the provider asked for (`Retry-After`, plus up to a fifth), and never
when that would end after the deadline. An answer that cannot be trusted is asked for once more; a
provider that cannot be reached at all is not, where another candidate is left to ask. A server that keeps
failing is not worth retries (`RetryBudget`), nor, while there is another candidate, calls (`Breaker`).

Push-back. A 429 or a 503 says "not now". While the server answers others, it costs the last candidate no
attempt: the call gives its slot back and goes to the queue again, until its deadline, and for
`retry.MOST_REQUESTS` requests at most. All calls of the channel wait for what the server asked. Refused by a
429 beside others, fewer are sent at once (`AdaptiveSlots`); alone, they are spaced (`RateLimit`); a 503 that
says no time costs the retry budget. Where nobody is answered, or another candidate is left to ask, it is a
failure like any other.

Accounts. Each request goes to the least busy account that is well. One that was told to wait (429), whose
key was refused (401) or that has no credit (402) is passed over for as long as there is another.

Deadline. It starts when the first request may be sent, so that waiting in the queue does not count. Each
candidate has an equal share of what is left, so that one that hangs leaves time for the next.

Streams. A stream that fails before its first text is retried and replaced like any call. Afterwards its
error is raised, with the text in `partial_text`: what two models said is never joined.

Money. The most that a request can cost is reserved before it is sent. An answer is settled at its usage
(an upper estimate where the provider gave none); `budget` says at what a failed request is.
"""

from workbench.client.accounts import Account, accounts_of
from workbench.client.breaker import Breaker
from workbench.client.channel import ChannelKey
from workbench.client.client import DECODING, Client
from workbench.client.connection import connect
from workbench.client.events import Event, Observer, configure_events, configure_spans
from workbench.client.ledger import Ledger, Totals
from workbench.client.limits import Limits
from workbench.client.retry import wait_before_retry_s

__all__ = [
    "DECODING",
    "Account",
    "Breaker",
    "ChannelKey",
    "Client",
    "Event",
    "Ledger",
    "Limits",
    "Observer",
    "Totals",
    "accounts_of",
    "configure_events",
    "configure_spans",
    "connect",
    "wait_before_retry_s",
]
