"""From overlapping patches to one object: resample at the pixels, scatter, average."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Stitched:
    """A stitched object on its canvas."""

    obj: npt.NDArray[np.complex128]
    """(H, W); 0 where nothing was added."""
    weight: npt.NDArray[np.float64]
    """(H, W) number of patches that cover the pixel."""
    origin_yx: tuple[int, int]
    """Object pixel of canvas index (0, 0)."""


class Canvas:
    """Accumulate the centres of patches at their scan positions; memory is the canvas plus one batch.

    Each patch is resampled at the integer object pixels by cubic convolution (Keys 1981,
    doi:10.1109/TASSP.1981.1163711) and added with weight 1. Bilinear weights would blur once more what
    bilinear patch cutting has blurred already.

    Parameters
    ----------
    x, y : (n,) float64
        All positions that will be added, object pixels: they set the size of the canvas.
    kept_px : int
        M, the even side of the centre of each patch that is used.
    """

    def __init__(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], kept_px: int) -> None:
        half = kept_px // 2
        self._kept_px = kept_px
        self._origin = (int(np.floor(y.min())) - half, int(np.floor(x.min())) - half)
        height = int(np.floor(y.max())) + half - self._origin[0]
        width = int(np.floor(x.max())) + half - self._origin[1]
        self._shape = (height, width)
        self._sums = np.zeros((3, height * width))

    def add(
        self,
        patches: npt.NDArray[np.complex128],
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.float64],
    ) -> None:
        """Add the central M x M of (n, N, N) patches whose index (N/2, N/2) lies on (y, x)."""
        half = self._kept_px // 2
        row, column = np.floor(y), np.floor(x)
        shifted = _shift_rows(_centre(patches, self._kept_px), y - row)
        shifted = _shift_rows(shifted.swapaxes(1, 2), x - column).swapaxes(1, 2)
        top = row.astype(np.intp) - half - self._origin[0]
        left = column.astype(np.intp) - half - self._origin[1]
        offset = np.arange(self._kept_px)
        index = (top[:, None, None] + offset[:, None]) * self._shape[1] + left[:, None, None] + offset
        flat, size = index.ravel(), self._sums.shape[1]
        self._sums[0] += np.bincount(flat, weights=shifted.real.ravel(), minlength=size)
        self._sums[1] += np.bincount(flat, weights=shifted.imag.ravel(), minlength=size)
        self._sums[2] += np.bincount(flat, minlength=size)

    def result(self) -> Stitched:
        """The weighted mean of everything added so far."""
        real, imaginary, weight = self._sums
        total = (real + 1j * imaginary).reshape(self._shape)
        weight = weight.reshape(self._shape).copy()
        obj = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        return Stitched(obj, weight, self._origin)


def fully_covered_rectangle(covered: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """The largest rectangle (rows, columns) without an uncovered pixel; empty slices if there is none.

    Largest rectangle under a histogram, row by row: O(H W).
    """
    best, area = (slice(0, 0), slice(0, 0)), 0
    heights = np.zeros(covered.shape[1] + 1, dtype=int)
    for bottom, row in enumerate(covered):
        heights[:-1] = np.where(row, heights[:-1] + 1, 0)
        stack: list[int] = []
        for right, height in enumerate(heights):
            while stack and heights[stack[-1]] >= height:
                tall = int(heights[stack.pop()])
                left = stack[-1] + 1 if stack else 0
                if tall * (right - left) > area:
                    area = tall * (right - left)
                    best = (slice(bottom + 1 - tall, bottom + 1), slice(left, right))
            stack.append(right)
    return best


_TAPS = (-2, -1, 0, 1)
"""Samples that contribute to a pixel, relative to the one at or behind it."""


def _centre(patches: npt.NDArray[np.complex128], kept_px: int) -> npt.NDArray[np.complex128]:
    """The kept centre with the three more rows and columns that its resampling needs."""
    start = patches.shape[-1] // 2 - kept_px // 2 + _TAPS[0]
    stop = start + kept_px + len(_TAPS) - 1
    before, after = max(-start, 0), max(stop - patches.shape[-1], 0)
    if before or after:
        patches = np.pad(patches, ((0, 0), (before, after), (before, after)), mode="edge")
    return patches[:, start + before : stop + before, start + before : stop + before]


def _shift_rows(
    patches: npt.NDArray[np.complex128], fraction: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex128]:
    """Resample (n, M + 3, K) patches that lie a fraction of a pixel too far along axis 1: (n, M, K)."""
    kept_px = patches.shape[1] - len(_TAPS) + 1
    shifted = np.zeros((len(patches), kept_px, patches.shape[2]), dtype=np.complex128)
    for i, tap in enumerate(_TAPS):
        shifted += _keys(tap + fraction)[:, None, None] * patches[:, i : i + kept_px]
    return shifted


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cubic convolution kernel with a = -1/2: exact for quadratic images."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d**2 + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
