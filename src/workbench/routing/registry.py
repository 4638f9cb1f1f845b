"""The kinds of router by name, and how each is fitted. A new router is one class and one line here."""

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from workbench.errors import ConfigError
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed, Random, fit_best_single, fit_cheapest, fit_no_information
from workbench.routing.clusters import fit_clusters
from workbench.routing.factorisation import fit_matrix_factorisation
from workbench.routing.label_oracle import fit_label_oracle
from workbench.routing.late import torch_module
from workbench.routing.linear import fit_tfidf_lr
from workbench.routing.neighbours import TUNED, fit_knn
from workbench.routing.perceptron import fit_mlp
from workbench.routing.training_data import TrainingData

Fit = Callable[..., Router]
Weights = Mapping[str, float]


def fit(
    kind: str,
    data: TrainingData,
    *,
    seed: int = 0,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    **options: object,
) -> Router:
    """Fit a router of this `kind` (see `ROUTERS`) with its own `options`; the weights are those of `decide`.

    Raises:
        ConfigError: there is no such kind or option, or an option's value cannot work.
        MissingExtraError: the controller was asked for, and torch is not installed.
        InsufficientDataError: the rows are too few, or lack what the kind needs.
    """
    if kind not in ROUTERS:
        raise ConfigError(f"there is no router {kind!r}; the kinds are {', '.join(ROUTERS)}")
    parameters = inspect.signature(ROUTERS[kind]).parameters
    known = [name for name in parameters if name not in _COMMON]
    for name, value in options.items():
        if name not in known:
            raise ConfigError(
                f"router {kind!r} has no option {name!r}; its options are: {', '.join(known) or 'none'}"
            )
        wanted = _wanted(parameters[name].annotation)
        if not any(value == option or _is_a(value, option) for option in wanted):
            listed = " or ".join(getattr(option, "__name__", repr(option)) for option in wanted)
            raise ConfigError(f"option {name!r} of router {kind!r} is {value!r}; it must be {listed}")
    weights = {"cost_weight": cost_weight, "latency_weight": latency_weight}
    return ROUTERS[kind](data, seed=seed, weights=weights, **options)


def _fixed(data: TrainingData, *, seed: int, weights: Weights, model_id: str = "") -> Router:
    if model_id not in data.model_ids:
        known = ", ".join(data.model_ids)
        raise ConfigError(f"router 'fixed' needs model_id, one of: {known} (it was {model_id!r})")
    return Fixed(model_id)


def _random(data: TrainingData, *, seed: int, weights: Weights) -> Router:
    return Random(seed)


def _cheapest(data: TrainingData, *, seed: int, weights: Weights) -> Router:
    return fit_cheapest(data)


def _best_single(data: TrainingData, *, seed: int, weights: Weights) -> Router:
    return fit_best_single(data, **weights)


def _no_information(data: TrainingData, *, seed: int, weights: Weights) -> Router:
    return fit_no_information(data, **weights)


def _knn(data: TrainingData, *, seed: int, weights: Weights, k: int | Literal["tuned"] = TUNED) -> Router:
    return fit_knn(data, k=k, seed=seed, **weights)


def _label_oracle(data: TrainingData, *, seed: int, weights: Weights) -> Router:
    return fit_label_oracle(data, **weights)


def _tfidf_lr(data: TrainingData, *, seed: int, weights: Weights, c: float = 1.0) -> Router:
    return fit_tfidf_lr(data, c=c, **weights)


def _mlp(data: TrainingData, *, seed: int, weights: Weights, n_hidden: int = 64) -> Router:
    return fit_mlp(data, n_hidden=n_hidden, seed=seed, **weights)


def _factorisation(data: TrainingData, *, seed: int, weights: Weights, n_factors: int = 64) -> Router:
    return fit_matrix_factorisation(data, n_factors=n_factors, seed=seed, **weights)


def _clusters(data: TrainingData, *, seed: int, weights: Weights, n_clusters: int = 32) -> Router:
    return fit_clusters(data, n_clusters=n_clusters, seed=seed, **weights)


def _controller(
    data: TrainingData,
    *,
    seed: int,
    weights: Weights,
    config: object = None,
    observer: object = None,
) -> Router:
    train = torch_module("workbench.routing.train", "the learned controller")
    router: Router = train.fit_controller(data, seed=seed, config=config, observer=observer, **weights)
    return router


ROUTERS: Mapping[str, Fit] = {
    "fixed": _fixed,
    "random": _random,
    "cheapest": _cheapest,
    "best_single": _best_single,
    "no_information": _no_information,
    "label_oracle": _label_oracle,
    "knn": _knn,
    "clusters": _clusters,
    "tfidf_lr": _tfidf_lr,
    "mlp": _mlp,
    "matrix_factorisation": _factorisation,
    "controller": _controller,
}
_COMMON = ("data", "seed", "weights")


def _wanted(annotation: Any) -> list[Any]:
    """The types and values that an option may have: of `int | Literal["tuned"]`, int and "tuned"."""
    if get_origin(annotation) in (UnionType, Union):
        return [option for part in get_args(annotation) for option in _wanted(part)]
    return list(get_args(annotation)) if get_origin(annotation) is Literal else [annotation]


def _is_a(value: object, option: Any) -> bool:
    return isinstance(option, type) and isinstance(value, (option, int) if option is float else option)
