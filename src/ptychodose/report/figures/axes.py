"""Value axes on which good values are told apart too; each is set once all lines are drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from ptychodose.report.figures.style import ROUND_STEPS

_LEAST_DISTANCE = 1e-5
"""From 1, so that a perfect value has a place."""
_SIMILARITIES = (
    *(-1, 0, 0.5, 0.8, 0.9, 0.95, 0.98),
    *(0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999),
)
_ERRORS = tuple(digit * 10.0**power for power in range(-5, 2) for digit in (1, 2, 5))


def linear_axis(panel: Axes) -> None:
    """Nothing special, round ticks."""
    panel.yaxis.set_major_locator(MaxNLocator(7, steps=ROUND_STEPS))


def similarity_axis(panel: Axes) -> None:
    """For values up to 1: logarithmic in their distance from it, labelled with the values themselves."""
    _rescale(panel, "function", functions=(_nines, _from_nines))
    _label(panel, _SIMILARITIES)


def error_axis(panel: Axes) -> None:
    """Logarithmic, plain numbers."""
    _rescale(panel, "log")
    _label(panel, _ERRORS)


def _rescale(panel: Axes, scale: str, **options: Any) -> None:
    """Change the scale, with limits around the data on the new one: matplotlib may keep those of the old."""
    panel.set_yscale(scale, **options)
    panel.autoscale_view(scalex=False)


def _label(panel: Axes, ticks: Sequence[float]) -> None:
    """Plain numbers at these values; linear if so little is shown that no two of them are."""
    low, high = panel.get_ylim()
    if sum(low <= tick <= high for tick in ticks) < 2:
        _rescale(panel, "linear")
        return
    panel.yaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _nines(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return -np.log10(np.maximum(1 - np.asarray(values, dtype=np.float64), _LEAST_DISTANCE))


def _from_nines(nines: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(1 - 10.0 ** -np.asarray(nines, dtype=np.float64))


def ratio_axis(panel: Axes) -> None:
    """Logarithmic, with the noise limit 1 inside; plain numbers where powers of ten are too far apart."""
    panel.axhline(1, color="0.3", linewidth=1.2, zorder=1)
    _rescale(panel, "log")
    low, high = panel.get_ylim()
    low, high = min(low, 0.9), max(high, 1.2)
    panel.set_ylim(low, high)
    panel.yaxis.set_minor_locator(NullLocator())
    if high / low < 20:
        ticks = MaxNLocator(6, steps=ROUND_STEPS).tick_values(low, high)
        panel.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
