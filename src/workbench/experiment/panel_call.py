"""A call in which several models answer together: each answer is durable, and none is bought twice."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from hashlib import sha256

from workbench.budget import Budget
from workbench.client import DECODING, Client
from workbench.errors import BudgetError, ProviderError
from workbench.experiment.calls import Call
from workbench.experiment.journal import Journal
from workbench.experiment.part import Part
from workbench.experiment.plan import Plan
from workbench.types import Completion, Decision, Decoding, Prompt


async def answer_together(
    call: Call,
    plan: Plan,
    client: Client,
    journal: Journal,
    *,
    budget: Budget | None,
    kept: Mapping[str, Part],
) -> Completion:
    """The answer of the panel of `call`'s arm; what is `kept` of an earlier session is not bought again.

    The most that all requests can cost is reserved before the first leaves, so that no panel is asked in part
    because money ran out.

    Raises:
        BudgetError: less than that is left; nothing was sent. ProviderError: nobody answered.
    """
    panel = call.arm.panel
    if panel is None:
        raise TypeError(f"arm {call.arm.name!r} asks one model")
    with ExitStack() as stack:
        if budget is not None:
            bound_usd = plan.cost_bound_usd(call, Decision(call.arm.model_ids[0], call.arm.name))
            client = client.spending(stack.enter_context(budget.earmarked(bound_usd)))
        asker = _KeepingAsker(call, plan, client, journal, kept)
        return await panel.answer(asker, call.prompt, worded=call.asked, decoding=plan.decoding(call))


class _KeepingAsker:
    """A client whose every answer goes to the journal, and that looks there first."""

    def __init__(
        self, call: Call, plan: Plan, client: Client, journal: Journal, kept: Mapping[str, Part]
    ) -> None:
        self._call = call
        self._plan = plan
        self._client = client
        self._journal = journal
        self._kept = kept

    def check(self, model_ids: Iterable[str]) -> None:
        self._client.check(model_ids)

    async def complete(self, target: str, prompt: Prompt, *, decoding: Decoding = DECODING) -> Completion:
        name, key = _name(target, prompt), self._call.key
        if name in self._kept:
            return self._kept[name].completion()
        bound_usd = self._plan.request_bound_usd(target, prompt, self._call)
        self._journal.part_sent(key, name, bound_usd=bound_usd)
        try:
            completion = await self._client.complete(target, prompt, decoding=decoding)
        except BudgetError:
            self._journal.part_not_sent(key, name)
            raise
        except ProviderError as failure:
            self._journal.part_finished(key, name, Part(failure))
            raise
        self._journal.part_finished(key, name, Part(completion))
        return completion


def _name(model_id: str, prompt: Prompt) -> str:
    """Names a request of a call: a fusing model may be asked as a member before it is asked to fuse."""
    content = f"{prompt.system or ''}\0{prompt.text}".encode("utf-8", "surrogatepass")
    return f"{model_id} {sha256(content).hexdigest()[:12]}"
