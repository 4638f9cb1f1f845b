"""Routers on disk: saved whole or not at all, and loaded without running anything the file says.

    workbench-router\\n  sha256 of the rest, in hex\\n  header, one line of JSON\\n  payload

The header holds the schema, the kind, the version of the features and the router's settings. The payload
is NumPy's npz (`allow_pickle=False`), or a torch state dict (`weights_only=True`) for the controller. The
checksum finds damage; it does not prove who wrote the file, so nothing in it is trusted for that.
"""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from workbench.errors import CheckpointError, ConfigError
from workbench.features import FEATURES_VERSION, FeatureConfig
from workbench.routing.base import Router
from workbench.routing.baselines import KNN, BestSingle, Cheapest, Fixed, Random
from workbench.routing.decide import KnownModels
from workbench.routing.registry import torch_module
from workbench.storage import read_bytes, write_atomically

SCHEMA = 1
_MAGIC = b"workbench-router"
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, EOFError, OSError)
_UNREADABLE = (*_DAMAGE, pickle.UnpicklingError, zipfile.BadZipFile, RecursionError, MemoryError)

Settings = dict[str, Any]  # JSON: text, numbers, lists and dicts of them


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of router becomes settings and a payload, and comes back."""

    router: str
    encode: Callable[[Any], tuple[Settings, bytes]]
    decode: Callable[[Settings, bytes], Router]


def save(router: Router, path: Path) -> None:
    """Write a fitted router to `path`; after a kill at any moment the old file or the new one is there.

    Raises:
        ConfigError: it is not one of the routers of `registry.ROUTERS`.
        StorageError: the file cannot be written; what was there is intact.
    """
    kind = next((kind for kind, codec in CODECS.items() if codec.router == type(router).__name__), None)
    if kind is None:
        raise ConfigError(f"a {type(router).__name__} cannot be saved; these can: {', '.join(CODECS)}")
    settings, payload = CODECS[kind].encode(router)
    header = {"schema": SCHEMA, "kind": kind, "features": FEATURES_VERSION, "settings": settings}
    body = json.dumps(header).encode() + b"\n" + payload
    digest = hashlib.sha256(body).hexdigest().encode()
    write_atomically(path, lambda file: file.writelines([_MAGIC, b"\n", digest, b"\n", body]))


def load(path: Path) -> Router:
    """The router that `save` wrote.

    Raises:
        CheckpointError: the file is damaged, foreign, or of another version; names it and its SHA-256.
        MissingExtraError: it is a controller, and torch is not installed.
        StorageError: there is no such file.
    """
    content = read_bytes(path, purpose="saved router")
    header, payload = _opened(content, path)
    _check_versions(header, content, path)
    try:
        return CODECS[header["kind"]].decode(header["settings"], payload)
    except _UNREADABLE as exc:
        raise _refused(content, path, f"its content is not a router's ({type(exc).__name__})") from exc


def _opened(content: bytes, path: Path) -> tuple[Settings, bytes]:
    magic, _, rest = content.partition(b"\n")
    if magic != _MAGIC:
        raise _refused(content, path, "it is not a saved router")
    digest, _, body = rest.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise _refused(content, path, "it is damaged or cut short: the checksum does not match")
    line, _, payload = body.partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise _refused(content, path, "its header is not JSON") from exc
    if not isinstance(header, dict) or not {"schema", "kind", "features", "settings"} <= set(header):
        raise _refused(content, path, "its header lacks schema, kind, features or settings")
    return header, payload


def _check_versions(header: Settings, content: bytes, path: Path) -> None:
    if header["schema"] != SCHEMA:
        raise _refused(content, path, f"its schema is {header['schema']!r}, this version reads {SCHEMA}")
    if header["features"] != FEATURES_VERSION:
        reason = f"it was fitted on features {header['features']!r}, this version makes {FEATURES_VERSION!r}"
        raise _refused(content, path, reason)
    if header["kind"] not in list(CODECS):
        raise _refused(content, path, f"it is of the unknown kind {header['kind']!r}")


def _refused(content: bytes, path: Path, reason: str) -> CheckpointError:
    digest = hashlib.sha256(content).hexdigest()
    return CheckpointError(
        f"{path} (sha256 {digest}) was not loaded: {reason}; fit and save the router again"
    )


def _packed(**arrays: np.ndarray) -> bytes:
    """Arrays by name as an npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _unpacked(payload: bytes) -> Mapping[str, np.ndarray]:
    """The arrays of `_packed`; never unpickles."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _encode_models(router: Cheapest | BestSingle) -> tuple[Settings, bytes]:
    models = router.models
    weight = {} if isinstance(router, Cheapest) else {"cost_weight": router.cost_weight}
    return {"model_ids": list(models.model_ids), **weight}, _packed(
        quality=models.quality, cost=models.cost_usd
    )


def _models(settings: Settings, arrays: Mapping[str, np.ndarray]) -> KnownModels:
    model_ids = tuple(str(model_id) for model_id in settings["model_ids"])
    _require(len(model_ids) > 0, "models")
    _require(arrays["quality"].shape == arrays["cost"].shape == (len(model_ids),), "models")
    return KnownModels(model_ids, arrays["quality"].astype(np.float64), arrays["cost"].astype(np.float64))


def _feature_config(settings: Settings) -> FeatureConfig:
    low, high = settings["char_ngrams"]
    return FeatureConfig(**{**settings, "char_ngrams": (int(low), int(high))})


def _require(is_so: bool, what: str) -> None:
    """Parts of a router must fit together, or it would fail later, at a decision."""
    if not is_so:
        raise ValueError(f"the parts of the router do not agree on its {what}")


def _encode_knn(router: KNN) -> tuple[Settings, bytes]:
    settings = {
        "model_ids": list(router.models.model_ids),
        "features": asdict(router.feature_config),
        "k": router.k,
        "cost_weight": router.cost_weight,
    }
    rows = router.postings
    return settings, _packed(
        quality=router.models.quality,
        cost=router.models.cost_usd,
        weights=router.weights,
        neighbour_quality=router.quality,
        data=rows.data,
        indices=rows.indices,
        indptr=rows.indptr,
    )


def _decode_knn(settings: Settings, payload: bytes) -> Router:
    arrays = _unpacked(payload)
    models, config = _models(settings, arrays), _feature_config(settings["features"])
    shape = (config.n_features, len(arrays["neighbour_quality"]))
    postings = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    postings.check_format(full_check=True)
    _require(arrays["weights"].shape == shape[:1], "features")
    _require(arrays["neighbour_quality"].shape[1:] == models.quality.shape, "models")
    _require(bool(np.isfinite(arrays["weights"]).all() and np.isfinite(arrays["data"]).all()), "numbers")
    return KNN(
        models=models,
        feature_config=config,
        weights=arrays["weights"],
        postings=postings,
        quality=arrays["neighbour_quality"],
        k=int(settings["k"]),
        cost_weight=float(settings["cost_weight"]),
    )


def _encode_controller(router: Any) -> tuple[Settings, bytes]:  # Any: its type needs torch to name
    controller = torch_module("workbench.routing.controller", "saving a controller")
    settings = {
        "model_ids": list(router.models.model_ids),
        "features": asdict(router.feature_config),
        "network": asdict(router.members[0].config),
        "cost_weight": router.cost_weight,
    }
    arrays = {
        "quality": router.models.quality,
        "cost": router.models.cost_usd,
        "weights": router.weights,
        "position": router.position,
        "temperature": router.temperature,
    }
    return settings, controller.members_to_bytes(router.members, arrays)


def _decode_controller(settings: Settings, payload: bytes) -> Router:
    controller = torch_module("workbench.routing.controller", "a saved controller")
    members, arrays = controller.members_from_bytes(payload, settings["network"])
    models, config = _models(settings, arrays), _feature_config(settings["features"])
    network = members[0].config
    _require(arrays["weights"].shape == arrays["position"].shape == (config.n_features,), "features")
    _require(bool((arrays["position"] < network.n_buckets).all()), "buckets")
    _require(arrays["temperature"].shape == models.quality.shape == (network.n_models,), "models")
    router: Router = controller.MetaController(
        models=models,
        feature_config=config,
        weights=arrays["weights"],
        position=arrays["position"].astype(np.int64),
        members=members,
        temperature=arrays["temperature"],
        cost_weight=float(settings["cost_weight"]),
    )
    return router


CODECS: Mapping[str, Codec] = {
    "fixed": Codec(
        "Fixed", lambda r: ({"model_id": r.model_id}, b""), lambda s, _: Fixed(str(s["model_id"]))
    ),
    "random": Codec("Random", lambda r: ({"seed": r.seed}, b""), lambda s, _: Random(int(s["seed"]))),
    "cheapest": Codec("Cheapest", _encode_models, lambda s, p: Cheapest(_models(s, _unpacked(p)))),
    "best_single": Codec(
        "BestSingle",
        _encode_models,
        lambda s, p: BestSingle(_models(s, _unpacked(p)), float(s["cost_weight"])),
    ),
    "knn": Codec("KNN", _encode_knn, _decode_knn),
    "controller": Codec("MetaController", _encode_controller, _decode_controller),
}
