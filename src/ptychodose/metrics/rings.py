"""Fourier ring correlation of a prediction with the truth, and where it falls below a threshold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal.windows import hann

from ptychodose.metrics.checks import complex_pair, require_structure
from ptychodose.metrics.undefined import Undefined

# Fewer rings than this below Nyquist leave nothing to search for a crossing.
_SMALLEST_SIDE_PX = 4


@dataclass(frozen=True)
class Rings:
    """A Fourier ring correlation.

    correlation: (nyquist_ring + 1,) float64 in [-1, 1], one value per ring; ring k holds the spatial
    frequencies that round to k / min(H, W) cycles per pixel; nyquist_ring: the last one, min(H, W) // 2.
    """

    correlation: npt.NDArray[np.float64]
    nyquist_ring: int


@dataclass(frozen=True)
class Crossing:
    """Where a ring correlation first falls below a threshold.

    ring: its index, or the Nyquist ring if it never does; fraction_of_nyquist: ring / nyquist_ring;
    reached: whether it does fall below.
    """

    ring: int
    fraction_of_nyquist: float
    reached: bool


def ring_correlation(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> Rings:
    """Return the Fourier ring correlation of two real or complex (H, W) images, H and W free.

    With F and G the Fourier transforms of the images after their mean is subtracted and a separable Hann
    window applied, ring k is Re Σ F G* / sqrt(Σ |F|² Σ |G|²), summed over the ring. Rings are circles of
    spatial frequency, not of Fourier index, so a non-square image has the same resolution in x and y; the
    corners beyond Nyquist are left out. For complex images the real part still depends on a global phase:
    remove it first. A ring on which one of the images has no power at all gets 0: nothing there agrees.

    Raises ValueError (not 2-D, shapes differ), Undefined (not finite, either image constant, a side below 4).

    Sources: Saxton, Baumeister, J. Microsc. 127 (1982) 127, doi:10.1111/j.1365-2818.1982.tb00405.x;
    van Heel, Schatz, J. Struct. Biol. 151 (2005) 250, doi:10.1016/j.jsb.2005.05.009.
    """
    prediction, truth = complex_pair(prediction, truth)
    require_structure(truth, "truth")
    require_structure(prediction, "prediction")
    min_side = min(truth.shape)
    if min_side < _SMALLEST_SIDE_PX:
        raise Undefined(f"the image {truth.shape} has a side below {_SMALLEST_SIDE_PX} pixels")

    f, g = _apodised_spectrum(prediction), _apodised_spectrum(truth)
    nyquist_ring = min_side // 2
    ring = _ring_index(truth.shape)

    def ring_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.bincount(ring, weights=values.ravel())[: nyquist_ring + 1].astype(np.float64)

    shared = ring_sum((f * g.conj()).real)
    power = np.sqrt(ring_sum(np.abs(f) ** 2) * ring_sum(np.abs(g) ** 2))
    correlation = np.divide(shared, power, out=np.zeros_like(shared), where=power > 0)
    # Rounding can leave the interval by one unit in the last place.
    return Rings(np.clip(correlation, -1.0, 1.0), nyquist_ring)


def first_crossing(rings: Rings, threshold: float) -> Crossing:
    """Return the first ring, from ring 1 on, whose correlation is below `threshold` (without a unit).

    `frc50` is threshold 0.5; `frc1over7` is 1/7, which Rosenthal and Henderson derive for two half data
    sets: between a reconstruction and a noise-free truth, 0.5 is the threshold of the same meaning. Ring 0,
    the mean, has been subtracted and is skipped.

    Raises ValueError for a threshold outside (0, 1).

    Source: Rosenthal, Henderson, J. Mol. Biol. 333 (2003) 721, doi:10.1016/j.jmb.2003.07.013.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    below = np.flatnonzero(rings.correlation[1:] < threshold)
    ring = int(below[0]) + 1 if below.size else rings.nyquist_ring
    return Crossing(ring, ring / rings.nyquist_ring, reached=bool(below.size))


def _apodised_spectrum(image: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """Return the FFT; without the window the jump between opposite edges would correlate on every ring."""
    rows, columns = image.shape
    window = np.outer(hann(rows, sym=False), hann(columns, sym=False))
    return np.fft.fft2((image - image.mean()) * window)


def _ring_index(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    rows, columns = shape
    cycles_per_pixel = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None, :])
    ring: npt.NDArray[np.int64] = np.rint(cycles_per_pixel * min(shape)).astype(np.int64)
    return ring.ravel()
