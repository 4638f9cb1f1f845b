"""Whether a challenger would have done better than the champion on recorded outcomes."""

from collections.abc import Sequence

import numpy as np

from workbench.answers import settled
from workbench.errors import DataError
from workbench.routing.ballots import ballots_of
from workbench.routing.base import Router
from workbench.routing.cascade import Cascade
from workbench.routing.ensemble import Vote
from workbench.routing.forecast import Floats
from workbench.routing.fusion import Fusion
from workbench.routing.membership import replay
from workbench.routing.ranker import BestOf
from workbench.routing.training_data import TrainingData
from workbench.stats.promotion import Promotion, promotion


def contest(
    challenger: Router,
    champion: Router,
    data: TrainingData,
    *,
    candidates: tuple[Sequence[str], Sequence[str]] | None = None,
    min_gain: float = 0.0,
) -> Promotion:
    """The verdict on `challenger`, from what the model that each router chooses had made of each prompt.

    A cascade or an ensemble is played on the recorded answers. Prompts of one group count as one. Neither
    router may have been fitted on these prompts.

    Args:
        data: every model that is chosen has a quality on every prompt it is chosen for.
        candidates: those of the challenger and of the champion; None: all models of `data`. One that
            `data` does not have is left out.
        min_gain: what the challenger must gain in quality; negative: what it may lose.
    Raises:
        DataError: none of the candidates is in `data`, or a chosen model has no quality on a prompt; for a
            cascade or an ensemble, the table has no responses or other models; for a fusion, always.
    """
    named = candidates or (data.model_ids, data.model_ids)
    gains = _quality(challenger, data, named[0]) - _quality(champion, data, named[1])
    groups = np.unique(data.groups, return_inverse=True)[1]
    means: Floats = np.bincount(groups, weights=gains) / np.bincount(groups)
    return promotion(means, min_gain=min_gain)


def _quality(router: Router, data: TrainingData, candidates: Sequence[str]) -> Floats:
    """[N] the quality of what the router chooses."""
    if isinstance(router, Fusion):
        raise DataError("what a fusion would have written is in no table; run it as an arm of an experiment")
    if isinstance(router, Cascade | Vote | BestOf):
        return _played(router, data)
    column = {model_id: i for i, model_id in enumerate(data.model_ids)}
    known = [model_id for model_id in candidates if model_id in column]
    if not known:
        raise DataError(
            f"none of the candidates of router {router.name} is in the table: {', '.join(candidates)}"
        )
    chosen = [column[router.route(prompt, known).model_id] for prompt in data.prompts]
    quality: Floats = data.quality[np.arange(len(chosen)), chosen]
    if np.isnan(quality).any():
        row = int(np.argmax(np.isnan(quality)))
        raise DataError(
            f"router {router.name} chooses {data.model_ids[chosen[row]]} for prompt "
            f"{data.prompts[row].prompt_id!r}, which has no quality in the table; leave such prompts out"
        )
    return quality


def _played(router: Cascade | Vote | BestOf, data: TrainingData) -> Floats:
    """[N] the quality of the answers that it gives."""
    if isinstance(router, Cascade):
        quality: Floats = router.replay(data, [router.cost_weight]).quality[0]
    else:
        quality = replay(router, data, ballots_of(data, final_answer=settled)).quality
    if np.isnan(quality).any():
        row = int(np.argmax(np.isnan(quality)))
        raise DataError(
            f"the {router.name} finds no answer to prompt {data.prompts[row].prompt_id!r} in the table; "
            "leave such prompts out"
        )
    return quality
