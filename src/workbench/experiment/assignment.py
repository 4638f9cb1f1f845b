"""Which arm is asked which prompt, and in which order: what the design of an experiment says."""

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate

from workbench.experiment.arms import Arm
from workbench.experiment.calls import Call
from workbench.experiment.spec import ExperimentSpec
from workbench.types import Prompt


def ordered(spec: ExperimentSpec, prompts: Sequence[Prompt], arms: Sequence[Arm]) -> Iterator[Call]:
    """Every call of the run, in its order, which follows from the seed."""
    order = random.Random(spec.seed)
    if spec.design.kind == "randomised":
        return _drawn(spec, prompts, arms, order)
    if spec.design.kind == "interleaved":
        return _in_blocks(spec, prompts, arms, order)
    return _paired(spec, prompts, arms, order)


def _paired(
    spec: ExperimentSpec, prompts: Sequence[Prompt], arms: Sequence[Arm], order: random.Random
) -> Iterator[Call]:
    """Prompts in random order; for each, all arms one after another in random order.

    So the arms meet the same hour of the day, and a run that its budget ends has whole pairs (`turns`). Where
    a run may stop early, all repeats of a prompt and all prompts of a cluster come together, so that none is
    left half answered.
    """
    if spec.stopping.is_sequential:
        for prompt in _by_cluster(order.sample(prompts, len(prompts))):
            for repeat in range(spec.repeats):
                for arm in order.sample(arms, len(arms)):
                    yield Call(arm, prompt, repeat)
        return
    for repeat in range(spec.repeats):
        for prompt in order.sample(prompts, len(prompts)):
            for arm in order.sample(arms, len(arms)):
                yield Call(arm, prompt, repeat)


def _by_cluster(mixed: Sequence[Prompt]) -> list[Prompt]:
    """The same prompts, each cluster where its first prompt was."""
    clusters: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in mixed:
        alone = prompt.cluster is None
        name = ("prompt", prompt.prompt_id) if alone else ("cluster", prompt.cluster or "")
        clusters.setdefault(name, []).append(prompt)
    return [prompt for members in clusters.values() for prompt in members]


def _in_blocks(
    spec: ExperimentSpec, prompts: Sequence[Prompt], arms: Sequence[Arm], order: random.Random
) -> Iterator[Call]:
    """Prompts in random order, in blocks; in each block one arm after another, in random order."""
    mixed, size = order.sample(prompts, len(prompts)), spec.design.block_size
    for block, start in enumerate(range(0, len(mixed), size)):
        for arm in order.sample(arms, len(arms)):
            for prompt in mixed[start : start + size]:
                for repeat in range(spec.repeats):
                    yield Call(arm, prompt, repeat, block=block)


def _drawn(
    spec: ExperimentSpec, prompts: Sequence[Prompt], arms: Sequence[Arm], order: random.Random
) -> Iterator[Call]:
    """Prompts in random order, each for one arm, which is drawn with its share."""
    shares = [spec.design.shares.get(arm.name, 1.0 / len(arms)) for arm in arms]
    bounds = list(accumulate(shares))
    for prompt in order.sample(prompts, len(prompts)):
        # Of the seed and the prompt alone, so that more prompts change no other's arm.
        drawn = random.Random(f"{spec.seed} {prompt.prompt_id}").random() * bounds[-1]
        place = next(number for number, bound in enumerate(bounds) if drawn < bound)
        for repeat in range(spec.repeats):
            yield Call(arms[place], prompt, repeat, share=shares[place])
