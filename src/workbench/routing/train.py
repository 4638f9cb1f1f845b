"""Fitting the controller: its heads, what they count for, how far they are trusted, and calibration.

Every head is fitted several times: without one random part of the prompts after the other, and without one
neighbourhood after the other. What it says of withheld prompts decides what it counts for (random parts) and
how far it is trusted away from the training (neighbourhoods). All of it runs on one thread: the result is the
same on any number of cores.

Dimensions: N prompts, D dense features, K networks, P parts, M models, R patterns.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workbench.errors import ConfigError
from workbench.features import inverse_document_frequency, positions, select_weighted
from workbench.routing.calibration_fit import fit_calibration
from workbench.routing.controller import Heads, MetaController, Neighbours, unit_rows
from workbench.routing.decide import check_weights
from workbench.routing.familiarity_fit import Withheld, fit_guard
from workbench.routing.forecast import Floats
from workbench.routing.held_out import fit_held_out
from workbench.routing.lesson import Lesson
from workbench.routing.model_space import fit_model_space
from workbench.routing.network import NetworkConfig, Observer, fit_networks
from workbench.routing.projection import fit_projection
from workbench.routing.ridge import ridges
from workbench.routing.spend import fit_spend
from workbench.routing.stacking import over_plain
from workbench.routing.task_head import fit_task_head, task_codes
from workbench.routing.training_data import TrainingData, column_means
from workbench.routing.views import fit_views
from workbench.routing.withheld import random_parts, regions

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the controller is fitted; the defaults were chosen on inner splits of training folds.

    `penalties` are those of the ridges, `n_neighbours` how many are averaged over; `n_parts` random parts
    and at most `n_regions` neighbourhoods (0: none) are withheld. Buckets that fewer than `min_prompts` have
    are not learned.

    However many prompts there are, n-grams are learned from `max_learned` of them at most, all else from
    `max_prompts` of these, of which `max_compared` are kept as neighbours, and what is learned is weighed on
    `max_weighed`; the seed draws them. A fit then needs no more time or memory beyond that than it takes to
    hold the features, and a decision takes no longer than with so many neighbours.
    """

    penalties: tuple[float, ...] = (5.0, 20.0)
    n_neighbours: tuple[int, ...] = (40, 160)
    n_parts: int = 5
    n_regions: int = 4
    min_prompts: int = 3
    max_learned: int = 100_000
    max_prompts: int = 20_000
    max_compared: int = 4_000
    max_weighed: int = 5_000
    networks: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        at_least_1 = ("n_parts", "min_prompts", "max_learned", "max_prompts", "max_compared", "max_weighed")
        for name in at_least_1:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of the controller is {getattr(self, name)}; it must be 1 or more")
        if not self.penalties or not self.n_neighbours:
            raise ConfigError("the controller needs one of penalties and one of n_neighbours or more")


def fit_controller(
    data: TrainingData,
    *,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    config: TrainConfig | None = None,
    observer: Observer | None = None,
) -> MetaController:
    """Fit, weigh and calibrate; the same for the same data, config and seed.

    Raises:
        ConfigError: a weight needs costs or latencies that the rows do not have.
        RoutingError: a loss or a weight is not finite.
    """
    config = config or TrainConfig()
    models = data.models
    check_weights(models, cost_weight=cost_weight, latency_weight=latency_weight)
    if len(data.prompts) > config.max_learned:
        data = data.rows(_sample(len(data.prompts), config.max_learned, seed))
    chosen = _sample(len(data.prompts), config.max_prompts, seed)
    sample = data.rows(chosen)
    idf = inverse_document_frequency(data.features.ngrams)
    projection = fit_projection(sample.features, seed=seed, weights=idf)
    position = positions(data.features.ngrams, min_prompts=config.min_prompts)
    rows = select_weighted(data.features.ngrams, idf, position, max(int(position.max()) + 1, 1))
    space = fit_model_space(data.quality)
    scores = space.scores(data.quality)
    dense = projection.dense(sample.features)
    text = projection.text_of(dense)
    withheld = random_parts(sample.groups, config.n_parts, seed=seed)
    tasks = [prompt.task for prompt in sample.prompts]
    lesson = Lesson(
        rows=rows[chosen],
        dense=dense,
        text=unit_rows(text),
        tasks=task_codes(tasks),
        quality=sample.quality,
        scores=scores[chosen],
        space=space,
        withheld=np.hstack([withheld, regions(tasks, text, config.n_regions, seed=seed)]),
        n_random=withheld.shape[1],
    )
    compared = _sample(len(chosen), config.max_compared, seed)
    neighbours = Neighbours(
        lesson.text[compared], lesson.scores[compared].astype(np.float32), config.n_neighbours
    )
    networks = fit_networks(lesson, config=config.networks, seed=seed, observer=observer)
    held_out = fit_held_out(lesson, networks, neighbours, compared=compared, penalties=config.penalties)
    weighed = _sample(len(chosen), config.max_weighed, seed)
    at_home = held_out.said(range(lesson.n_random), weighed)
    away = held_out.said(range(lesson.n_random, lesson.withheld.shape[1]), weighed)
    mix = over_plain(at_home.heads, lesson.scores[weighed])
    heads = Heads(
        weights=idf,
        position=position,
        ridges=_final_ridges(rows, scores, config),
        projection=projection,
        networks=networks.some(lesson.n_random),
        neighbours=neighbours,
        tasks=fit_task_head(lesson.dense, lesson.tasks, lesson.scores),
        mix=mix,
    )
    quality = lesson.quality[weighed]
    guard = fit_guard(
        Withheld(predicted := at_home.quality(space, mix), quality, at_home.nearness),
        Withheld(away.quality(space, mix), quality[: len(away.nearness)], away.nearness),
        space.mean,
        between=_between(lesson),
    )
    structure = projection.structure_of(lesson.dense[weighed])
    views = fit_views(at_home.nearness, structure, projection.structure_scale)
    familiarity = views.familiarity(at_home.nearness, structure)
    held = guard.hold(predicted, space.mean, at_home.nearness, familiarity)
    return MetaController(
        models=models,
        feature_config=data.feature_config,
        heads=heads,
        space=space,
        views=views,
        guard=guard,
        spend=fit_spend(sample, lesson.dense),
        calibration=fit_calibration(held, quality),
        cost_weight=cost_weight,
        latency_weight=latency_weight,
    )


def _final_ridges(rows: csr_array, scores: Floats, config: TrainConfig) -> Singles:
    everyone = np.ones((rows.shape[0], 1), dtype=np.bool_)
    return np.stack(
        [one[0] for one in ridges(rows, scores, kept=everyone, penalties=config.penalties)], axis=1
    )


def _between(lesson: Lesson) -> Floats:
    """[M] standard deviation of a model's mean quality between neighbourhoods, or of one prompt's."""
    away = lesson.withheld[:, lesson.n_random :]
    if away.shape[1] < 2:
        spread: Floats = np.sqrt(lesson.space.mean * (1.0 - lesson.space.mean))
        return spread
    means = np.stack([column_means(lesson.quality[inside]) for inside in away.T])
    distance = (means - column_means(means)) ** 2
    between: Floats = np.sqrt(np.nan_to_num(column_means(distance)))
    return between


def _sample(n_prompts: int, most: int, seed: int) -> NDArray[np.int64]:
    """Positions of at most so many prompts, in their order."""
    if n_prompts <= most:
        return np.arange(n_prompts)
    return np.sort(np.random.default_rng(seed).permutation(n_prompts)[:most])
