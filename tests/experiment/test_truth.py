"""What is true of the simulated models lies inside the reported intervals as often as it should.

Each seed is an experiment: its own prompts, drawn from all, and its own answers. The number of misses is held
against its exact binomial distribution: a chance of 1 in 1,000 that a test fails by luck alone.
"""

import random

import pandas as pd
import pytest
from scipy.stats import binom

from workbench.datasets import tasks
from workbench.experiment.analyse import analyse
from workbench.experiment.arms import Arm
from workbench.experiment.assignment import ordered
from workbench.experiment.spec import ExperimentSpec
from workbench.experiment.stopping import StoppingRule
from workbench.providers.fleet import Fleet
from workbench.routing.baselines import Fixed
from workbench.types import Outcome, Prompt

FLEET = Fleet(tasks())
PROMPTS = [task.prompt for task in tasks()]
FAILS = {
    model: {
        p.prompt_id for p, q in zip(PROMPTS, FLEET.probabilities(model, PROMPTS), strict=True) if q == 0.0
    }
    for model in ("sim-small", "sim-large")
}
ALPHA = 0.05
LUCK = 0.001


def quality(model: str, prompt: Prompt, seed: int) -> float:
    """Of the answer of a model, 0 for a prompt that it always fails."""
    if prompt.prompt_id in FAILS[model]:
        return 0.0
    return float(FLEET.answer(model, prompt.text, seed, max_output_tokens=512).is_right)


def most_misses(n_runs: int) -> int:
    """No more than this many of `n_runs` intervals miss, but by a luck of 1 in 1,000."""
    return int(binom.isf(LUCK, n_runs, ALPHA))


def test_true_differences_lie_in_the_intervals_of_fixed_runs() -> None:
    truth = FLEET.true_difference("sim-large", "sim-small", PROMPTS)
    n_runs, n_missed, n_wrong_missed = 40, 0, 0
    for seed in range(n_runs):
        rows = [
            {"prompt_id": prompt.prompt_id, "arm": model, "quality": quality(model, prompt, seed)}
            for prompt in random.Random(seed).sample(PROMPTS, 120)
            for model in ("sim-small", "sim-large")
        ]
        found = analyse(pd.DataFrame(rows), question="Which?", control="sim-small", alpha=ALPHA)
        difference = found.comparisons[0].difference
        n_missed += not difference.low <= truth <= difference.high
        n_wrong_missed += not difference.low <= truth + 0.2 <= difference.high
    assert n_missed <= most_misses(n_runs)
    assert n_wrong_missed > n_runs / 2, "intervals that hold anything would hold the truth too"


@pytest.mark.parametrize(
    ("treatment", "control", "alternative_seed"),
    [("sim-large", "sim-small", 0), ("sim-small", "sim-small", 10_000)],
    ids=["a-difference", "none"],
)
def test_true_differences_lie_in_the_intervals_of_runs_that_stop_when_decided(
    treatment: str, control: str, alternative_seed: int
) -> None:
    truth = FLEET.true_difference(treatment, control, PROMPTS)
    n_runs, n_missed, n_decided, n_wrong = 40, 0, 0, 0
    for seed in range(n_runs):
        rule = stopped_rule(seed, treatment, control, alternative_seed)
        found = rule.results()["b"]
        n_missed += not found.low <= truth <= found.high
        n_decided += rule.reason == "decided"
        n_wrong += rule.reason == "decided" and (found.estimate > 0.0) != (truth > 0.0)
    assert n_missed <= most_misses(n_runs)
    if truth == 0.0:
        assert n_decided <= most_misses(n_runs), "a difference where there is none"
    else:
        assert n_decided > 0.7 * n_runs
        assert n_wrong <= most_misses(n_runs)


def stopped_rule(seed: int, treatment: str, control: str, alternative_seed: int) -> StoppingRule:
    """The looks of a run after every five of up to 150 prompts, until it is decided."""
    spec = ExperimentSpec.model_validate(
        {
            "name": "truth",
            "question": "Which?",
            "arms": [
                {"name": "a", "model": f"simulator/{control}"},
                {"name": "b", "model": f"simulator/{treatment}"},
            ],
            "stopping": {"rule": "sequential", "min_prompts": 10, "look_every": 5},
            "alpha": ALPHA,
            "seed": seed,
        }
    )
    chosen = random.Random(seed).sample(PROMPTS, 150)
    arms = [Arm(arm.name, Fixed(arm.model or ""), (arm.model or "",), is_routed=False) for arm in spec.arms]
    calls = list(ordered(spec, chosen, arms))
    rule = StoppingRule(spec, calls)
    for call in calls:
        model, drawn = (treatment, seed + alternative_seed) if call.arm.name == "b" else (control, seed)
        scored = quality(model, call.prompt, drawn)
        rule.add([Outcome(call.prompt.prompt_id, call.arm.name, model, "simulator", quality=scored)])
        if rule.reason is not None:
            break
    return rule
