"""A legacy ``params.dill`` or ``recon.dill`` as plain values, read without trust.

Such a file is a pickle, whose loading may run anything. It is read by :mod:`pickle_values`, which runs
nothing: the names in the list below stand for a way to make a plain value, any other name is refused.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.errors import UserError
from ptychodose.formats.pickle_values import Global, Machine, RefusedError, kind_of, of_type, scalar

MAX_BYTES = 2**30
MAX_DEPTH = 32
MAX_VALUES = 10**6
"""Values and characters in all: sharing makes a short pickle stand for any number of them."""

_DTYPE = re.compile(r"[<>|=]?([biufc]\d{1,2}|\?|[SU]\d{1,9})")
_LEGACY_CLASS = re.compile(r"ptycho(\.\w+)*")
_PATHS: dict[str, type[PurePath]] = {
    **dict.fromkeys(("PosixPath", "PurePosixPath", "Path", "PurePath"), PurePosixPath),
    **dict.fromkeys(("WindowsPath", "PureWindowsPath"), PureWindowsPath),
}


def read_legacy_dill(path: Path) -> dict[str, Any]:
    """The dictionary in a file of the legacy pipeline.

    Paths become strings, tensors arrays, NumPy scalars Python numbers, an object of a legacy class a
    dictionary of its attributes and an enumeration's member its value. Arrays are read-only.

    Raises
    ------
    UserError
        The file is missing, damaged, larger than 1 GiB or no dictionary; or it names something that is not a
        plain value of the legacy pipeline. Nothing that it names is imported or run.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES >> 30} GiB, no file of parameters is")
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    try:
        return _Values(len(data)).read(data)
    except RefusedError as error:
        raise UserError(f"{path}: refused: {error}; none of it was loaded") from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise UserError(
            f"{path}: not a whole pickle ({type(error).__name__}: {str(error)[:100]!a}); copy the file again"
        ) from None


class _Dtype:
    """Of numbers or text of a fixed width; its byte order comes as its state."""

    def __init__(self, spec: str) -> None:
        if not _DTYPE.fullmatch(spec):
            raise RefusedError(f"an array of type {spec[:20]!a}; only numbers and text are read")
        self.value = np.dtype(spec)

    def build(self, state: Any) -> None:
        _, order, *others = of_type(state, tuple)
        if order not in ("<", ">", "|", "=") or any(other is not None for other in others[:3]):
            raise RefusedError("an array of records; only numbers and text are read")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Empty until its state comes."""

    value: npt.NDArray[Any] | None = None

    def build(self, state: Any) -> None:
        shape, dtype, fortran_order, data = of_type(state, tuple)[-4:]
        self.value = _array(data, dtype, shape, "F" if fortran_order else "C")


class _Object:
    """Of a legacy class: its attributes, in one or several dictionaries."""

    def __init__(self) -> None:
        self.parts: list[dict[Any, Any]] = []

    def build(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.parts += [of_type(part, dict) for part in parts if part is not None]


class _Values:
    """Those of one file, none of whose tricks of sharing may make them large."""

    def __init__(self, n_bytes: int) -> None:
        self._bytes_left = n_bytes
        self._copies_left = n_bytes + MAX_VALUES
        self._values_left = MAX_VALUES

    def read(self, data: bytes) -> dict[str, Any]:
        found = self._plain(Machine(_allows, self._call).run(data), 0)
        if not isinstance(found, dict):
            raise RefusedError(f"it holds a {kind_of(found)}, not a dictionary of parameters")
        return found

    def _call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        if _is_legacy_class(function):
            return _legacy_object(arguments)
        self._copies_left -= sum(len(item) for item in arguments if hasattr(item, "__len__"))
        if self._copies_left < 0:
            raise RefusedError("its values need more memory than the file")
        return _CALLS[function.module, function.name](*arguments)

    def _spend(self, count: int) -> None:
        self._values_left -= count
        if self._values_left < 0:
            raise RefusedError(f"it stands for more than {MAX_VALUES} values")

    def _plain(self, value: Any, depth: int) -> Any:
        """The value without stand-ins."""
        if depth > MAX_DEPTH:
            raise RefusedError(f"its values are nested more than {MAX_DEPTH} deep")
        self._spend(len(value) if isinstance(value, str | bytes | set | frozenset) else 1)
        if isinstance(value, _Object):
            self._spend(sum(map(len, value.parts)))
            value = {key: item for part in value.parts for key, item in part.items()}
        if isinstance(value, dict):
            return {self._plain(key, depth): self._plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._plain(item, depth + 1) for item in value)
        if isinstance(value, _Array):
            return self._array(value)
        if isinstance(value, _Dtype):
            return value.value.name
        return str(value) if isinstance(value, Global) else value

    def _array(self, array: _Array) -> npt.NDArray[Any]:
        if array.value is None:
            raise RefusedError("an array without its values")
        self._bytes_left -= array.value.nbytes
        if self._bytes_left < 0:
            raise RefusedError("its arrays hold more bytes than the file")
        return array.value


def _allows(name: Global) -> bool:
    return _is_legacy_class(name) or (name.module, name.name) in _CALLS


def _is_legacy_class(name: Global) -> bool:
    return _LEGACY_CLASS.fullmatch(name.module) is not None and name.name.isidentifier()


def _legacy_object(arguments: tuple[Any, ...]) -> Any:
    """An object whose attributes will follow, an enumeration's member, or a tuple with names."""
    if not arguments:
        return _Object()
    return arguments[0] if len(arguments) == 1 else arguments


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    """A view of the bytes that the file holds, so that no shape can ask for more memory."""
    kind, lengths = of_type(dtype, _Dtype).value, of_type(shape, tuple)
    if len(lengths) > MAX_DEPTH or any(of_type(length, int) < 0 for length in lengths):
        raise RefusedError("an array with an impossible shape")
    if math.prod(lengths) * kind.itemsize != len(of_type(data, bytes)) or not data:
        raise RefusedError(f"an array of {len(data)} bytes, which is not what its shape and type need")
    return np.frombuffer(data, kind).reshape(lengths, order="F" if order == "F" else "C")


def _reconstruct(subtype: Any, _shape: Any, _code: Any) -> _Array:
    if of_type(subtype, Global) != Global("numpy", "ndarray"):
        raise RefusedError(f"an array of the class {subtype}")
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    found = _Array()
    found.value = _array(data, dtype, shape, order)
    return found


def _create_array(function: Any, arguments: Any, state: Any, attributes: Any = None) -> _Array:
    """What dill makes of an array."""
    name = of_type(function, Global)
    if (name.module, name.name) not in _RECONSTRUCT or attributes:
        raise RefusedError(f"an array made by {function} or with attributes of its own")
    found = _reconstruct(*arguments)
    found.build(state)
    return found


def _number(dtype: Any, data: Any) -> Any:
    """A NumPy scalar as Python's."""
    return _array(data, dtype, (), "C").item()


def _tensor(value: Any, *_: Any) -> Any:
    return value if isinstance(value, int | float) else of_type(value, _Array)


def _path(kind: type[PurePath]) -> Callable[..., str]:
    return lambda *parts: str(kind(*(of_type(part, str) for part in parts)))


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else of_type(value, tuple)


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    return {scalar(key): value for key, value in _items(pairs)}


def _default_dict(_factory: Any = None) -> dict[Any, Any]:
    return {}


def _set(members: Any = ()) -> set[Any]:
    return {scalar(member) for member in _items(members)}


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, as protocols below 3 write them."""
    if encoding != "latin1":
        raise RefusedError("text in an unusual encoding")
    return of_type(text, str).encode("latin1")


def _load_type(name: Any) -> Global:
    """A built-in type, as dill writes it."""
    if name not in _BUILTINS:
        raise RefusedError(f"it names the type {str(name)[:100]!a}, which is no plain value")
    return Global("builtins", name)


_RECONSTRUCT = {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "complex": lambda real, imaginary: complex(of_type(real, float), of_type(imaginary, float)),
    "bytearray": lambda data=b"", *encoding: _encode(data, "latin1") if encoding else of_type(data, bytes),
    "list": lambda items=(): list(_items(items)),
    "tuple": lambda items=(): tuple(_items(items)),
    "dict": _dict,
    "set": _set,
    "frozenset": _set,
    "slice": lambda *ends: list(ends),
    **dict.fromkeys(("bool", "int", "float", "str"), scalar),
}
_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    **dict.fromkeys(_RECONSTRUCT, _reconstruct),
    **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "dtype"): lambda spec, *_: _Dtype(of_type(spec, str)),
    ("numpy", "ndarray"): _reconstruct,
    ("dill._dill", "_create_array"): _create_array,
    ("dill._dill", "_load_type"): _load_type,
    ("tensorflow.python.framework.ops", "convert_to_tensor"): _tensor,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _default_dict,
    **{(module, name): call for module in ("builtins", "__builtin__") for name, call in _BUILTINS.items()},
    **{
        (module, name): _path(kind)
        for module in ("pathlib", "pathlib._local")
        for name, kind in _PATHS.items()
    },
}
"""All that a file may name, beside the classes of the package ptycho."""
