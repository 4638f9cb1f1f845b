"""Several models that answer a prompt together, as if they were one: an ensemble, a fusion or a cascade."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.answers import settled
from workbench.client.asking import Asker
from workbench.client.cascading import cascade
from workbench.client.ensembling import ask_ensemble, fuse
from workbench.routing.base import Router
from workbench.routing.cascade import Cascade
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import Ensemble, Vote
from workbench.routing.fusion import MAX_ANSWER_CHARS, Fusion, fusion_prompt
from workbench.routing.online import Bandit
from workbench.routing.ranker import BestOf
from workbench.types import Completion, Decoding, Prompt

_Together = Cascade | Fusion | Vote | BestOf
_WIDEST = "\U0001f600"  # a character of four bytes: no answer of as many characters has more


@dataclass(frozen=True, slots=True)
class Panel:
    """Who answers together, and the rule by which they do."""

    policy: Cascade | Fusion | Ensemble

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every model that may be asked."""
        if isinstance(self.policy, Cascade):
            return self.policy.models.model_ids
        fuser = (self.policy.fuser,) if isinstance(self.policy, Fusion) else ()
        return tuple(dict.fromkeys((*self.policy.model_ids, *fuser)))

    @property
    def kind(self) -> str:
        """What tables and logs call it."""
        return self.policy.name

    @property
    def is_fused(self) -> bool:
        """Whether a model is asked about the answers of others."""
        return isinstance(self.policy, Fusion)

    async def answer(self, asker: Asker, prompt: Prompt, *, worded: Prompt, decoding: Decoding) -> Completion:
        """The answer to `prompt`, which is sent as `worded`, with the cost of all calls.

        Raises:
            ConfigError, BudgetError, ProviderError: as `ask_ensemble` and `cascade`.
        """
        if isinstance(self.policy, Cascade):
            return await cascade(asker, self.policy, prompt, worded=worded, decoding=decoding)
        if isinstance(self.policy, Fusion):
            fused = await fuse(asker, self.policy, worded, final_answer=settled, decoding=decoding)
            return fused.completion
        answered = await ask_ensemble(
            asker, self.policy, prompt, worded=worded, final_answer=settled, decoding=decoding
        )
        return answered.completion

    def bound_usd(self, prompt: Prompt, request_usd: Callable[[str, Prompt], float]) -> float:
        """The most that one request to each model that is asked can cost, by the most that one can."""
        asked, most = self.requests(prompt)
        return sum(sorted(request_usd(model_id, sent) for model_id, sent in asked)[-most:])

    def requests(self, prompt: Prompt) -> tuple[list[tuple[str, Prompt]], int]:
        """Each model with what it may be sent, and how many are sent at most."""
        if isinstance(self.policy, Cascade):
            asked = [(model_id, prompt) for model_id in self.policy.models.model_ids]
            return asked, min(self.policy.max_asked, len(asked))
        asked = [(model_id, prompt) for model_id in self.policy.model_ids]
        if isinstance(self.policy, Fusion):
            asked.append(
                (self.policy.fuser, fusion_prompt(prompt, [_WIDEST * MAX_ANSWER_CHARS] * len(asked)))
            )
        return asked, len(asked)


def panel_of(router: Router) -> Panel | None:
    """The models that a cascade, an ensemble or a fusion asks; None: the router chooses one model."""
    return Panel(router) if isinstance(router, _Together) else None


def models_of(router: Router) -> tuple[str, ...]:
    """The models that a router knows or asks; empty: it chooses from any that it is given."""
    if (panel := panel_of(router)) is not None:
        return panel.model_ids
    return router.models.model_ids if isinstance(router, Predictor | Bandit) else ()
