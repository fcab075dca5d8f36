"""Scan positions (x = column, y = row, object pixels) and their overlap."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ptychodose.physics.rounding import POSITION_GRID_PX, to_grid

Positions = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""(x, y), each (n,) float64 in object pixels."""


@dataclass(frozen=True)
class Field:
    """The rectangle of allowed patch centres, in object pixels, ends included."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    @classmethod
    def inside(cls, object_shape: tuple[int, ...], size_px: int) -> "Field":
        """Where scans are generated: a pixel inside :meth:`admissible` at the far edges."""
        half = size_px // 2
        return cls(half, object_shape[1] - half - 1, half, object_shape[0] - half - 1)

    @classmethod
    def admissible(cls, object_shape: tuple[int, ...], size_px: int) -> "Field":
        """All centres whose N x N window lies inside the object, interpolation included."""
        half = size_px // 2
        return cls(half, object_shape[1] - half, half, object_shape[0] - half)

    @property
    def width(self) -> float:
        """Extent along x."""
        return self.x_max - self.x_min

    @property
    def height(self) -> float:
        """Extent along y."""
        return self.y_max - self.y_min

    def contains(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which of the positions lie inside."""
        return (x >= self.x_min) & (x <= self.x_max) & (y >= self.y_min) & (y <= self.y_max)


def uniform(n: int, field: Field, *, rng: np.random.Generator) -> Positions:
    """Independent uniform positions: the legacy scan."""
    return _on_grid(rng.uniform(field.x_min, field.x_max, n), rng.uniform(field.y_min, field.y_max, n))


def raster(n: int, field: Field, *, jitter_fraction: float, rng: np.random.Generator) -> Positions:
    """A raster of exactly ``n`` positions in rows of nearly equal length, each jittered.

    ``jitter_fraction`` is the largest displacement in units of half the raster step, along each axis:
    0 is a perfect raster, 1 lets neighbours touch. Jitter breaks the raster-grid ambiguity
    (Thibault et al. 2009, doi:10.1016/j.ultramic.2008.12.011). Positions stay inside the field.
    """
    n_rows = min(max(round(np.sqrt(n * field.height / max(field.width, 1e-9))), 1), n)
    lengths = np.full(n_rows, n // n_rows)
    lengths[: n % n_rows] += 1
    x = np.concatenate([field.x_min + (np.arange(m) + 0.5) * field.width / m for m in lengths])
    y = np.repeat(field.y_min + (np.arange(n_rows) + 0.5) * field.height / n_rows, lengths)
    step_x = np.repeat(field.width / lengths, lengths)
    step_y = field.height / n_rows
    x = x + 0.5 * jitter_fraction * step_x * rng.uniform(-1, 1, n)
    y = y + 0.5 * jitter_fraction * step_y * rng.uniform(-1, 1, n)
    return _on_grid(np.clip(x, field.x_min, field.x_max), np.clip(y, field.y_min, field.y_max))


def fermat_spiral(n: int, field: Field, *, rng: np.random.Generator) -> Positions:
    """The innermost ``n`` points of a Fermat spiral that lie inside the field.

    r = c sqrt(k + u), angle = k x golden angle + v (Huang et al. 2014, doi:10.1364/OE.22.012634); c is the
    largest spacing for which ``n`` points fit. u in [0, 1) and v are random, so that two scans of the same
    length do not share their positions.
    """
    start, turn = rng.uniform(0, 1), rng.uniform(0, 2 * np.pi)
    golden_angle = np.pi * (3 - np.sqrt(5))
    radius = np.hypot(field.width, field.height) / 2
    spacing = np.sqrt(field.width * field.height / (np.pi * n))
    while True:
        k = np.arange(int((radius / spacing) ** 2) + 1)
        r, angle = spacing * np.sqrt(k + start), k * golden_angle + turn
        x = (field.x_min + field.x_max) / 2 + r * np.cos(angle)
        y = (field.y_min + field.y_max) / 2 + r * np.sin(angle)
        inside = np.flatnonzero(field.contains(x, y))[:n]
        if len(inside) == n:
            return _on_grid(x[inside], y[inside])
        spacing *= 0.999


@dataclass(frozen=True)
class Overlap:
    """How much neighbouring illuminations share."""

    nearest_distance_px: float
    """Median distance to the nearest other position."""
    linear_overlap: float
    """1 - nearest_distance_px / probe diameter, not below 0."""
    illuminations_per_pixel: float
    """n x probe area / area of the positions' bounding box grown by half a probe on every side."""


def overlap(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], probe_diameter_px: float) -> Overlap:
    """Overlap of a scan for a probe of the given effective diameter (one position: no overlap)."""
    area = (np.ptp(x) + probe_diameter_px) * (np.ptp(y) + probe_diameter_px)
    per_pixel = len(x) * np.pi * probe_diameter_px**2 / 4 / area
    if len(x) < 2:
        return Overlap(float(probe_diameter_px), 0.0, float(per_pixel))
    points = np.column_stack([x, y])
    distances, _ = KDTree(points).query(points, k=[2])
    distance = float(np.median(distances))
    return Overlap(distance, max(0.0, 1 - distance / probe_diameter_px), float(per_pixel))


def _on_grid(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Positions:
    return to_grid(x, POSITION_GRID_PX), to_grid(y, POSITION_GRID_PX)
