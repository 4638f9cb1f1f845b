"""Routers on disk: saved whole or not at all, and loaded without running anything the file says.

    workbench-router\\n  sha256 of the rest, in hex\\n  header, one line of JSON\\n  payload

The header holds the schema, the kind, the version of the features, the router's settings, and of a policy
also what it holds its router to. The payload is NumPy's npz (`allow_pickle=False`). The checksum finds
damage; it does not prove who wrote the file, so nothing in it is trusted for that.
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

from workbench.errors import CheckpointError, ConfigError, DataError
from workbench.features import FEATURES_VERSION
from workbench.routing import policy_file
from workbench.routing.base import Router
from workbench.routing.baselines import BestSingle, Cheapest, Fixed, NoInformation, Random
from workbench.routing.cascade import Cascade
from workbench.routing.clusters import Clusters
from workbench.routing.controller import MetaController
from workbench.routing.decide import Predictor
from workbench.routing.ensemble import Vote
from workbench.routing.exploration import Exploration, LinUCB, Thompson
from workbench.routing.factorisation import MatrixFactorisation
from workbench.routing.fields import Settings, decoded, encoded
from workbench.routing.fusion import Fusion
from workbench.routing.label_oracle import LabelOracle
from workbench.routing.linear import TfidfLogistic
from workbench.routing.neighbours import KNN
from workbench.routing.online import Bandit, BanditState, Learning
from workbench.routing.perceptron import MLP
from workbench.routing.policy import Policy
from workbench.routing.ranker import BestOf
from workbench.storage import read_bytes, write_atomically

SCHEMA = 5
_POLICY = "policy"
_MAGIC = b"workbench-router"
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, EOFError, OSError)
_UNREADABLE = (*_DAMAGE, pickle.UnpicklingError, zipfile.BadZipFile, RecursionError, MemoryError)
_IMPOSSIBLE = (ConfigError, DataError)
"""What a router says of numbers that it cannot work with."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of router becomes settings and a payload, and comes back."""

    router: str
    encode: Callable[[Any], tuple[Settings, bytes]]
    decode: Callable[[Settings, bytes], Router]


def save(router: Router, path: Path) -> None:
    """Write a fitted router to `path`; after a kill at any moment the old file or the new one is there.

    A policy is written whole: its router, weights, constraints with the catalog they look at, and promise. So
    is a bandit: its router, and what it has learned by now.

    Raises:
        ConfigError: it is not one of the routers of `registry.ROUTERS`, a cascade, an ensemble, a fusion, or
            a policy or bandit over one of them.
        StorageError: the file cannot be written; what was there is intact.
    """
    parts, payload = _taken_apart(router)
    header = {"schema": SCHEMA, "features": FEATURES_VERSION} | parts
    body = json.dumps(header).encode() + b"\n" + payload
    digest = hashlib.sha256(body).hexdigest().encode()
    write_atomically(path, lambda file: file.writelines([_MAGIC, b"\n", digest, b"\n", body]))


def load(path: Path) -> Router:
    """The router that `save` wrote.

    Raises:
        CheckpointError: the file is damaged, foreign, or of another version; names it and its SHA-256.
        StorageError: there is no such file.
    """
    content = read_bytes(path, purpose="saved router")
    header, payload = _opened(content, path)
    _check_versions(header, content, path)
    try:
        return _put_together(header, payload)
    except (*_UNREADABLE, *_IMPOSSIBLE) as exc:
        raise _refused(content, path, f"its content is not a router's ({type(exc).__name__})") from exc


def _taken_apart(router: Router) -> tuple[Settings, bytes]:
    """The kind and the settings, of a policy also what it holds its router to, and the payload.

    Raises:
        ConfigError: it cannot be saved.
    """
    held = {_POLICY: policy_file.written(router)} if isinstance(router, Policy) else {}
    router = router.router if isinstance(router, Policy) else router
    kind = next((kind for kind, codec in CODECS.items() if codec.router == type(router).__name__), None)
    if kind is None:
        raise ConfigError(f"a {type(router).__name__} cannot be saved; these can: {', '.join(CODECS)}")
    settings, payload = CODECS[kind].encode(router)
    return {"kind": kind, "settings": settings} | held, payload


def _put_together(parts: Settings, payload: bytes) -> Router:
    """What `_taken_apart` took apart; any error of `_UNREADABLE` or `_IMPOSSIBLE`: it is damaged."""
    router = CODECS[parts["kind"]].decode(parts["settings"], payload)
    return policy_file.read(parts[_POLICY], router) if _POLICY in parts else router


def _opened(content: bytes, path: Path) -> tuple[Settings, bytes]:
    magic, digest, line, payload = (*content.split(b"\n", 3), b"", b"", b"")[:4]
    if magic != _MAGIC:
        raise _refused(content, path, "it is not a saved router")
    summed = hashlib.sha256(line + b"\n")
    summed.update(payload)
    if digest != summed.hexdigest().encode():
        raise _refused(content, path, "it is damaged or cut short: the checksum does not match")
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


def _plain(kind: type[Any]) -> Codec:
    """For a router that is a dataclass of numbers, texts and arrays."""
    return Codec(
        kind.__name__, _encode_fields, lambda settings, payload: _decode_fields(kind, settings, payload)
    )


def _encode_fields(router: Any) -> tuple[Settings, bytes]:
    settings, arrays = encoded(router)
    return settings, _packed(**arrays)


def _decode_fields(kind: type[Any], settings: Settings, payload: bytes) -> Router:
    router: Router = decoded(kind, settings, _unpacked(payload))
    return router


def _encode_bandit(bandit: Bandit) -> tuple[Settings, bytes]:
    router, payload = _taken_apart(bandit.predictor)
    state, arrays = encoded(bandit.state())
    settings = {
        "router": router,
        "exploration": _exploration_said(bandit.exploration),
        "learning": asdict(bandit.learning),
        "state": state,
    }
    return settings, _packed(**arrays, router=np.frombuffer(payload, dtype=np.uint8))


def _decode_bandit(settings: Settings, payload: bytes) -> Router:
    arrays = dict(_unpacked(payload))
    router = _put_together(settings["router"], arrays.pop("router").tobytes())
    if not isinstance(router, Predictor):
        raise ValueError(f"router {router.name} makes no predictions, and no bandit starts from it")
    said = settings["exploration"]
    return Bandit(
        router,
        decoded(_EXPLORATIONS[said["kind"]], said["settings"], {}),
        learning=decoded(Learning, settings["learning"], {}),
        state=decoded(BanditState, settings["state"], arrays),
    )


def _exploration_said(exploration: Exploration) -> Settings:
    kind = next((kind for kind, known in _EXPLORATIONS.items() if type(exploration) is known), None)
    if kind is None:
        raise ConfigError(f"a bandit that explores by {exploration.name!r} cannot be saved")
    return {"kind": kind, "settings": encoded(exploration)[0]}


_EXPLORATIONS: Mapping[str, type[Thompson] | type[LinUCB]] = {"thompson": Thompson, "linucb": LinUCB}

CODECS: Mapping[str, Codec] = {
    "fixed": _plain(Fixed),
    "random": _plain(Random),
    "cheapest": _plain(Cheapest),
    "best_single": _plain(BestSingle),
    "no_information": _plain(NoInformation),
    "label_oracle": _plain(LabelOracle),
    "knn": _plain(KNN),
    "clusters": _plain(Clusters),
    "tfidf_lr": _plain(TfidfLogistic),
    "mlp": _plain(MLP),
    "matrix_factorisation": _plain(MatrixFactorisation),
    "controller": _plain(MetaController),
    "cascade": _plain(Cascade),
    "vote": _plain(Vote),
    "best_of": _plain(BestOf),
    "fusion": _plain(Fusion),
    "bandit": Codec("Bandit", _encode_bandit, _decode_bandit),
}
