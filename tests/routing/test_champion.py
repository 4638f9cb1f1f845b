"""A challenger is tried beside the champion, and replaces it only when the log says so."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from routing.online_world import MODELS, PLAIN, A, B, C, prompt_at, true_quality
from workbench.errors import ConfigError, DataError
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed, Random
from workbench.routing.champion import Trial, judge
from workbench.routing.off_policy import value_of
from workbench.routing.online import Bandit, Learning
from workbench.routing.randomised import Randomised
from workbench.routing.served_log import ServedLog, served_log
from workbench.types import Decision, Prompt


@dataclass(frozen=True)
class Best:
    """Knows the world."""

    name: str = "best"

    def route(self, prompt: Prompt, candidates: list[str]) -> Decision:
        return Decision(MODELS[int(np.argmax(true_quality(prompt)))], self.name)


def serve(router: Router, n: int, *, seed: int = 0) -> ServedLog:
    """The log of `router` on n prompts."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        prompt = replace(prompt_at(float(rng.uniform(-1.0, 1.0))), text=f"What is asked? {i}")
        decision = router.route(prompt, MODELS)
        truth = true_quality(prompt)[MODELS.index(decision.model_id)]
        provider, _, model = decision.model_id.partition("/")
        rows.append(
            {
                "prompt_id": prompt.prompt_id,
                "prompt": prompt.text,
                "arm": "live",
                "provider": provider,
                "model": model,
                "quality": float(rng.random() < truth),
                "propensity": decision.propensity,
            }
        )
    return served_log(pd.DataFrame(rows), candidates=MODELS)


def test_a_better_challenger_replaces_the_champion_and_a_worse_one_does_not():
    trial = Trial(Fixed(C), Best())
    log = serve(trial, 700)
    promoted = judge(Best(), Fixed(C), log, max_weight=trial.max_weight)
    kept = judge(Fixed(C), Best(), log, max_weight=trial.max_weight)
    assert promoted.verdict == "promote"
    assert promoted.gain.low > 0.0
    assert promoted.gain.low < 0.2 < promoted.gain.high  # the mean of |0.4 x| over x in [-1, 1]
    assert kept.verdict == "keep"


def test_a_champion_does_not_replace_itself():
    trial = Trial(Best(), Best())
    log = serve(trial, 200)
    found = judge(Best(), Best(), log, max_weight=trial.max_weight)
    assert found.verdict == "undecided"
    assert (log.quality.propensity == 1.0).all()


def test_a_cheaper_challenger_is_promoted_where_little_enough_is_lost():
    trial = Trial(Best(), Fixed(C))
    log = serve(trial, 700)
    assert judge(Fixed(C), Best(), log, max_weight=trial.max_weight, min_gain=-0.5).verdict == "promote"


def test_the_trials_propensity_is_over_both_routers():
    trial = Trial(Fixed(A), Random(), share=0.3)
    chances = trial.probabilities(prompt_at(0.0), MODELS)
    assert isinstance(trial, Randomised)
    assert chances == pytest.approx([0.7 + 0.1, 0.1, 0.1])
    for i in range(20):
        decision = trial.route(prompt_at(i / 20.0), MODELS)
        assert decision.propensity == pytest.approx(chances[MODELS.index(decision.model_id)])


def test_a_trial_asks_the_challenger_for_its_share_and_the_same_prompt_the_same_way():
    trial = Trial(Fixed(A), Fixed(B), share=0.2)
    asked = [prompt_at(i / 1_000.0) for i in range(1_000)]
    chosen = [trial.route(prompt, MODELS).model_id for prompt in asked]
    assert chosen.count(B) == pytest.approx(200, abs=4.0 * (1_000 * 0.16) ** 0.5)
    assert chosen == [trial.route(prompt, MODELS).model_id for prompt in asked]


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_leaves_one_of_them_out_is_refused(share):
    with pytest.raises(ConfigError, match="must be between 0 and 1"):
        Trial(Fixed(A), Fixed(B), share=share)


def test_a_max_weight_below_the_logs_own_is_refused():
    log = serve(Trial(Fixed(A), Fixed(B), share=0.1), 100)
    with pytest.raises(DataError, match="max_weight is 2"):
        judge(Fixed(B), Fixed(A), log, max_weight=2.0)


def test_the_log_of_a_bandit_tells_what_a_fixed_model_would_have_achieved():
    log = serve(Bandit(PLAIN, learning=Learning(0.3)), 700)
    for estimate in (value_of(Fixed(A), log).quality.snips, value_of(Fixed(B), log).quality.doubly_robust):
        assert estimate.estimate.low < 0.5 < estimate.estimate.high
        assert estimate.warning is None
