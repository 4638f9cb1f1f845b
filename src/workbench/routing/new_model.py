"""A model added to a fitted controller from a few of its outcomes; nothing else is learned again.

To the controller a model is a point: its mean quality and its loadings on the patterns that models share
(`model_space`). The points of the known models say where another one is likely to be, and its outcomes where
it is.

Dimensions: N prompts, D dense features, M known models, R patterns.
"""

from dataclasses import fields, replace

import numpy as np

from workbench.errors import ConfigError, InsufficientDataError
from workbench.routing.base import Router
from workbench.routing.controller import MetaController
from workbench.routing.decide import check_weights
from workbench.routing.familiarity import Guard
from workbench.routing.forecast import Floats, KnownModels
from workbench.routing.model_space import ModelSpace
from workbench.routing.policy import Policy
from workbench.routing.spend import LogLinear, Spend, fit_spend
from workbench.routing.training_data import TrainingData

_NOISES = np.geomspace(0.02, 0.25, 24)
"""Variances of one outcome about what its prompt says of it; a quality in [0, 1] has 0.25 at most."""
_ENOUGH_SEEN = 0.5
"""Share of the known models whose outcomes say more of a prompt than its words do."""
_MEAN_SD = 0.25
"""How far the mean of a model is from another's, where one model alone is known."""


def add_model(router: Router, data: TrainingData, model_id: str) -> MetaController | Policy:
    """The router with one candidate more; what it forecasts of the others stays as it was.

    Of a policy it is the router that learns; its weights and constraints stay, and its promise, which was
    made without the model, is taken back.

    `data` has outcomes of `model_id` on prompts of any origin: 32 place its mean, some hundred its loadings.
    Where it has the known models' outcomes on the same prompts too, these say better than the words do what
    kind of prompts they are. A price or pace of which nothing was recorded stays unknown (NaN).

    Raises:
        ConfigError: the router is no learned controller, it knows the model, `data` does not or has features
            of another kind, or the router weighs a cost or latency that was not recorded of the model.
        InsufficientDataError: fewer than two prompts have an outcome of the model.
    """
    if isinstance(router, Policy):
        learned = _added(router.router, data, model_id)
        check_weights(learned.models, cost_weight=router.cost_weight, latency_weight=router.latency_weight)
        return replace(router, router=learned, promised=None)
    learned = _added(router, data, model_id)
    check_weights(learned.models, cost_weight=learned.cost_weight, latency_weight=learned.latency_weight)
    return learned


def _added(router: Router, data: TrainingData, model_id: str) -> MetaController:
    if not isinstance(router, MetaController):
        raise ConfigError(
            f"a model is added to a learned controller; router {router.name} must be fitted again with it"
        )
    rows = _rows_of(router, data, model_id)
    column = rows.model_ids.index(model_id)
    known, dense = router.heads.inputs(rows.features)
    said, _, _ = router.heads.scores(known, dense)
    scores = _scores(router, rows, said)
    point, mean_variance = _placed(router, scores, rows.quality[:, column])
    alone = _column(rows, column)
    return replace(
        router,
        models=_with_model(router.models, alone.models, float(point[0])),
        space=ModelSpace(
            np.append(router.space.mean, point[0]), np.vstack([router.space.loadings, point[1:]])
        ),
        guard=_guarded(router.guard, mean_variance),
        spend=_joined(router.spend, fit_spend(alone, dense)),
    )


def posterior(
    design: Floats, outcomes: Floats, *, centre: Floats, covariance: Floats, noise: float
) -> tuple[Floats, Floats, float]:
    """Mean [K] and covariance [K, K] of Bayesian linear regression, and the log evidence of `noise`.

    outcomes [N] = design [N, K] . weights + noise, with weights from N(`centre`, `covariance`).
    Source: Bishop (2006), Pattern Recognition and Machine Learning, sections 3.3 and 3.5.
    """
    surprise = outcomes - design @ centre
    reach = design @ covariance
    total = reach @ design.T + noise * np.eye(len(outcomes))
    gain = np.linalg.solve(total, reach).T
    _, log_determinant = np.linalg.slogdet(total)
    evidence = -0.5 * float(surprise @ np.linalg.solve(total, surprise) + log_determinant)
    return centre + gain @ surprise, covariance - gain @ reach, evidence


def _rows_of(router: MetaController, data: TrainingData, model_id: str) -> TrainingData:
    if model_id in router.models.model_ids:
        raise ConfigError(f"the router knows {model_id} already; fit it again to learn more of the model")
    if model_id not in data.model_ids:
        raise ConfigError(f"there is no outcome of {model_id}; the rows are of {', '.join(data.model_ids)}")
    if data.feature_config != router.feature_config:
        raise ConfigError(
            f"the rows have features of {data.feature_config}, the router takes {router.feature_config}"
        )
    seen = np.flatnonzero(np.isfinite(data.quality[:, data.model_ids.index(model_id)]))
    if len(seen) < 2:
        raise InsufficientDataError(
            f"{model_id} has {len(seen)} scored outcomes; two or more place it among the models"
        )
    return data.rows(seen)


def _scores(router: MetaController, rows: TrainingData, said: Floats) -> Floats:
    """[N, R] from what the known models made of a prompt where half of them saw it, else what it `said`."""
    quality = np.full((len(rows.prompts), len(router.models.model_ids)), np.nan)
    for column, known in enumerate(router.models.model_ids):
        if known in rows.model_ids:
            quality[:, column] = rows.quality[:, rows.model_ids.index(known)]
    is_seen = np.isfinite(quality).mean(axis=1) >= _ENOUGH_SEEN
    return np.where(is_seen[:, None], router.space.scores(quality), said)


def _placed(router: MetaController, scores: Floats, quality: Floats) -> tuple[Floats, float]:
    """[1 + R] the mean and the loadings, and the variance of the mean, at the noise of most evidence."""
    centre, covariance = _population(router)
    design = np.column_stack([np.ones(len(scores)), scores])
    found = [
        posterior(design, quality, centre=centre, covariance=covariance, noise=float(noise))
        for noise in _NOISES
    ]
    point, left, _ = max(found, key=lambda one: one[2])
    point[0] = np.clip(point[0], 0.0, 1.0)
    return point, float(left[0, 0])


def _population(router: MetaController) -> tuple[Floats, Floats]:
    """[1 + R] mean and [1 + R, 1 + R] covariance of the known models' points.

    One imaginary model is counted with them, so that no direction is ruled out where few are known.
    """
    seen = np.isfinite(router.models.quality)
    points = np.column_stack([router.space.mean, router.space.loadings])[seen]
    centre = points.mean(axis=0)
    apart = points - centre
    size = np.append(_MEAN_SD**2, np.full(router.space.rank, 1.0 / len(points)))
    return centre, (apart.T @ apart + np.diag(size)) / len(points)


def _column(rows: TrainingData, column: int) -> TrainingData:
    """The same prompts, and one of the models."""
    return replace(
        rows,
        model_ids=rows.model_ids[column : column + 1],
        quality=rows.quality[:, [column]],
        cost_usd=rows.cost_usd[:, [column]],
        latency_s=rows.latency_s[:, [column]],
        input_tokens=rows.input_tokens[:, [column]],
        output_tokens=rows.output_tokens[:, [column]],
        answers=None if rows.answers is None else rows.answers[:, [column]],
    )


def _with_model(known: KnownModels, added: KnownModels, quality: float) -> KnownModels:
    return KnownModels(
        model_ids=(*known.model_ids, *added.model_ids),
        quality=np.append(known.quality, quality),
        cost_usd=np.append(known.cost_usd, added.cost_usd),
        latency_s=np.append(known.latency_s, added.latency_s),
    )


def _guarded(guard: Guard, mean_variance: float) -> Guard:
    """Few rows say nothing of neighbourhoods: an ordinary spread, and what is not known of the mean."""
    ordinary = float((guard.between**2).mean())
    return replace(guard, between=np.append(guard.between, np.sqrt(ordinary + mean_variance)))


def _joined(known: Spend, added: Spend) -> Spend:
    def amounts(name: str) -> LogLinear:
        parts = (getattr(known, name), getattr(added, name))
        return LogLinear(
            *(np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(LogLinear))
        )

    return Spend(
        input_tokens=amounts("input_tokens"),
        output_tokens=amounts("output_tokens"),
        price=np.vstack([known.price, added.price]),
        pace=np.vstack([known.pace, added.pace]),
        cost_usd=amounts("cost_usd"),
        latency_s=amounts("latency_s"),
    )
