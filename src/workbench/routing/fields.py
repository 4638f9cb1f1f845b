"""A router that is a dataclass as settings (JSON) and arrays, and back, by the types of its fields.

Fields may be text, numbers, None, tuples of those, NumPy arrays, sparse arrays, and dataclasses of all these.
What was read is checked against the declaration; whether parts fit together is for the class itself to
check, with `require`.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from scipy.sparse import csr_array

Settings = dict[str, Any]  # JSON: text, numbers, lists and dicts of them
Arrays = dict[str, np.ndarray]

_T = TypeVar("_T")


def require(is_so: bool, what: str) -> None:
    """Parts of a router must fit together, or it would fail later, at a decision.

    Raises:
        ValueError: they do not.
    """
    if not is_so:
        raise ValueError(f"the parts of the router do not agree on its {what}")


def encoded(value: object) -> tuple[Settings, Arrays]:
    """The fields of a dataclass: what JSON can say, and arrays by dotted name."""
    settings: Settings = {}
    arrays: Arrays = {}
    for name in _names(type(value)):
        part = getattr(value, name)
        if isinstance(part, np.ndarray):
            arrays[name] = part
        elif isinstance(part, csr_array):
            settings[name] = list(part.shape)
            arrays |= {f"{name}.{key}": getattr(part, key) for key in ("data", "indices", "indptr")}
        elif is_dataclass(part):
            settings[name], inner = encoded(part)
            arrays |= {f"{name}.{key}": array for key, array in inner.items()}
        else:
            settings[name] = part
    return settings, arrays


def decoded(kind: type[_T], settings: Settings, arrays: Mapping[str, np.ndarray]) -> _T:
    """The dataclass that `encoded` took apart.

    Raises:
        ValueError, TypeError, KeyError: something is missing, of another type, or does not fit together.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _field(name, hints[name], settings, arrays) for name in _names(kind)})


def _field(name: str, hint: Any, settings: Settings, arrays: Mapping[str, np.ndarray]) -> Any:
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if types.NoneType in options and name in settings and settings[name] is None:
        return None
    wanted = next(option for option in options if option is not types.NoneType)
    if get_origin(wanted) is np.ndarray:
        array = arrays[name]
        if array.dtype != np.dtype(get_args(get_args(wanted)[1])[0]):
            raise TypeError(f"{name} is of {array.dtype}")
        return array
    if wanted is csr_array:
        return _sparse(name, settings, arrays)
    if is_dataclass(wanted) and isinstance(wanted, type):
        inner = {
            key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")
        }
        return decoded(wanted, settings[name], inner)
    return _plain(settings[name], wanted)


def _sparse(name: str, settings: Settings, arrays: Mapping[str, np.ndarray]) -> csr_array:
    parts = tuple(arrays[f"{name}.{key}"] for key in ("data", "indices", "indptr"))
    rows = csr_array(parts, shape=tuple(settings[name]))
    rows.check_format(full_check=True)
    require(bool(np.isfinite(rows.data).all()), "numbers")
    return rows


def _plain(value: Any, wanted: Any) -> Any:
    if get_origin(wanted) is tuple:
        (inner, *_) = get_args(wanted)
        return tuple(_plain(item, inner) for item in value)
    if wanted is float and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if wanted is float or type(value) is not wanted:
        raise TypeError(f"{value!r} is no {wanted}")
    return value


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]
