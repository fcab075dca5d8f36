"""Rounding that makes computed inputs the same on every processor.

NumPy and libm choose other instructions for exp, sin, cos on other processors, so the last bit of an
object, a probe or a position may differ between machines, and with it every hash downstream. All of them
are therefore rounded to a grid far below what matters physically and far above the last bit.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

FIELD_GRID = 2.0**-24
"""Grid of object and probe values (their largest modulus is of order 1)."""

POSITION_GRID_PX = 2.0**-16
"""Grid of scan positions in object pixels."""

Scalar = TypeVar("Scalar", np.float64, np.complex128)


def to_grid(values: npt.NDArray[Scalar], grid: float) -> npt.NDArray[Scalar]:
    """Round real or complex values to multiples of ``grid`` (a power of two: exact in float64)."""
    return np.asarray(np.round(values / grid) * grid, dtype=values.dtype)
