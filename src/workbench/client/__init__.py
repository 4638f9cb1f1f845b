"""One way to call a model: a slot, a deadline, retries, fallbacks, a budget, and a ledger of it all.

Retries. There is one layer of them, here. A retryable failure is tried again after a random part of an
exponential backoff, or after what the provider asked for (`Retry-After`, plus up to a fifth), and never
when that would end after the deadline. An answer that cannot be trusted is asked for once more; a
provider that cannot be reached at all is not, where another candidate is left to ask.

Deadline. It starts when the call has its slot, so that waiting in the queue does not count. Each
candidate has an equal share of what is left, so that one that hangs leaves time for the next.

Streams. A stream that fails before its first text is retried and replaced like any call. Afterwards its
error is raised, with the text in `partial_text`: what two models said is never joined.

Money. The most that a request can cost is reserved before it is sent. An answer is settled at its usage
(an upper estimate where the provider gave none); `budget` says at what a failed request is.
"""

from workbench.client.client import DECODING, Client, connect
from workbench.client.limits import Limits
from workbench.client.retry import wait_before_retry_s

__all__ = ["DECODING", "Client", "Limits", "connect", "wait_before_retry_s"]
