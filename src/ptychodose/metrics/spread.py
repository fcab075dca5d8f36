"""How much metrics differ between repetitions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def spread(repetitions: Sequence[Mapping[str, Any]], prefix: str = "") -> dict[str, Any]:
    """Values, median, min, max and range of every metric that all repetitions have.

    Parameters
    ----------
    repetitions
        The metrics of each repetition, nested or not: ``{"amplitude": {"psnr": 29.2}, "collapsed": False}``.

    Returns
    -------
    dict
        ``{"amplitude.psnr": {"values": [..], "median": .., "min": .., "max": .., "range": ..}}``. A metric
        that is undefined (None) in a repetition has its values only. ``collapsed`` becomes their number:
        ``{"collapsed": {"values": [..], "count": ..}}``.
    """
    found: dict[str, Any] = {}
    for name in repetitions[0]:
        values = [numbers.get(name) for numbers in repetitions]
        if all(isinstance(value, Mapping) for value in values):
            found |= spread(values, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif all(isinstance(value, bool) for value in values):
            found[prefix + name] = {"values": values, "count": sum(map(bool, values))}
        elif all(_is_number(value) for value in values):
            numbers_ = np.array(values, dtype=float)
            found[prefix + name] = {
                "values": values,
                "median": float(np.median(numbers_)),
                "min": float(numbers_.min()),
                "max": float(numbers_.max()),
                "range": float(numbers_.max() - numbers_.min()),
            }
        else:
            found[prefix + name] = {"values": values}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
