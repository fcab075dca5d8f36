"""Numbers by name, nested or not, compared leaf by leaf."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

Leaves = dict[str, Any]
_NORMS = ("gradient_norms", "change_norms")
_VANISHING = 1e-4
"""Of the largest norm: below it, a layer's gradient is what rounding makes of zero."""
_ABSOLUTE = ("bias", "shift_y_px", "shift_x_px")
"""Numbers that are differences themselves: their rounding is that of 1, however small they are."""


def leaves(tree: Mapping[str, Any]) -> Leaves:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    return dict(_walk(tree, ""))


def rows_of(tree: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The same for a table: a row for each leaf, and for what is empty."""
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        nested = isinstance(value, Mapping) and value
        found += [(f"{key}.{name}", leaf) for name, leaf in rows_of(value)] if nested else [(key, value)]
    return found


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a leaf is a number; a yes or no is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, float]:
    """Relative difference of every leaf that both have; inf where a word, a yes or a null is another one.

    SHA-256s are left out, since a last bit changes them. Three kinds of number have a scale that is not their
    own size: a layer's mean weight (the layer's rms weight), the norm of a vanishing gradient (the largest
    norm of the step), and biases and shifts (1).
    """
    x, y = leaves(a), leaves(b)
    return {
        name: _difference(x[name], y[name], max(_least_scale(name, x), _least_scale(name, y)))
        for name in x
        if name in y and not name.endswith("sha256")
    }


def _walk(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _difference(x: Any, y: Any, least_scale: float) -> float:
    if not (is_number(x) and is_number(y)):
        return 0.0 if x == y else math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        return 0.0 if repr(x) == repr(y) else math.inf
    scale = max(abs(x), abs(y), least_scale)
    return abs(x - y) / scale if scale else 0.0


def _least_scale(name: str, tree: Leaves) -> float:
    parent, _, last = name.rpartition(".")
    if last.endswith(_ABSOLUTE):
        return 1.0
    if last == "mean" and is_number(tree.get(f"{parent}.l2_norm")):
        count = math.prod(tree.get(f"{parent}.shape", [1]))
        return float(tree[f"{parent}.l2_norm"] / math.sqrt(max(count, 1)))
    group = next((word for word in _NORMS if f".{word}." in f".{name}"), None)
    if group is None:
        return 0.0
    step = name[: name.index(group)] + group + "."
    norms = (value for key, value in tree.items() if key.startswith(step) and is_number(value))
    return _VANISHING * max(map(abs, norms), default=0.0)
