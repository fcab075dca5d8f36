"""The photons' own objective: how badly an object explains all counts at once, and its gradient.

The unknown is the object itself; probe, positions and gain are known. With rates
lambda = g^2 |FFT2(P O_i)|^2 / N^2 + b the negative log-likelihood of Poisson counts n is, above that of a
model that knows every count and per expected photon,

    L(O) = sum_i sum_pixels (lambda - n + n log(n / lambda)) / (D n_patterns),

half the Poisson deviance over all photons: at the true object about (lit pixels) / (2 D). Counts, g^2 and D
multiplied by one number change neither L nor its gradient, but for the background.

Source: Thibault, Guizar-Sicairos, New J. Phys. 14 (2012) 063004, doi:10.1088/1367-2630/14/6/063004; gradients
of real functions of complex unknowns as in Kreutz-Delgado 2009, arXiv:0906.4835.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft

from ptychodose.physics.diffraction import Interpolation

Complex = npt.NDArray[np.complex128]
Single = npt.NDArray[np.complex64]
Real = npt.NDArray[np.float64]

BACKGROUND_PHOTONS = 1e-4
"""b: photons per detector pixel that every rate is taken to have besides. It keeps the likelihood smooth
where a photon was counted and none is expected; at 1e3 photons and N = 64 it stands for 0.04 % of them."""
CHUNK_BYTES = 1 << 19
"""Of exit waves that are worked on at once: few enough that they stay in a processor's cache."""
SHARDS = 16
"""Partial gradients, each the sum over a fixed share of the patterns: also the most threads that are used."""
WORKERS = os.cpu_count() or 1
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


@dataclass(frozen=True)
class Measurement:
    """The photons of a scan, and what is known of how they came about."""

    counts: npt.NDArray[np.number]
    """(n, N, N) photons, zero frequency at (N/2, N/2)."""
    probe: Complex
    """(N, N)."""
    x: Real
    """(n,) positions in pixels of the object frame, as y; all windows must lie inside the frame."""
    y: Real
    object_shape: tuple[int, int]
    """(H, W) of the object frame."""
    gain_squared: float
    """g^2 of :func:`ptychodose.physics.photons.gain_squared`."""
    dose_photons: float
    """D."""
    interpolation: Interpolation

    def __len__(self) -> int:
        return len(self.x)

    def part(self, rows: npt.NDArray[np.integer]) -> "Measurement":
        """Some of the patterns."""
        return replace(self, counts=self.counts[rows], x=self.x[rows], y=self.y[rows])


class PoissonLikelihood:
    """L(O) of a measurement and its gradient. Waves in single precision, sums over pixels in double.

    Counts are kept as float32: exact to 2^24, above that to 6e-8. The number of threads, ``workers``, changes
    speed, never a bit of the result.
    """

    def __init__(self, measurement: Measurement, *, workers: int = WORKERS) -> None:
        counts, probe, x, y = measurement.counts, measurement.probe, measurement.x, measurement.y
        self.measurement = measurement
        self._counts = np.empty(counts.shape, np.float32)
        for pattern, target in zip(counts, self._counts, strict=True):
            target[:] = fft.ifftshift(pattern)
        self._probe = (np.sqrt(measurement.gain_squared) * probe).astype(np.complex64)
        self._bilinear = measurement.interpolation == "bilinear"
        corner_y, corner_x = (np.floor(y), np.floor(x)) if self._bilinear else (np.rint(y), np.rint(x))
        half = len(probe) // 2
        self._top, self._left = corner_y.astype(np.intp) - half, corner_x.astype(np.intp) - half
        self._weight_y = (y - corner_y).astype(np.float32)[:, None, None]
        self._weight_x = (x - corner_x).astype(np.float32)[:, None, None]
        self._norm = 1 / (measurement.dose_photons * len(counts))
        self._workers = workers
        self._shards = np.array_split(np.arange(len(counts)), min(SHARDS, len(counts)))

    def value_and_gradient(self, obj: Complex) -> tuple[float, Complex]:
        """L(O), and dL/d(Re O) + i dL/d(Im O) = 2 dL/d(conj O).

        Parameters
        ----------
        obj : (H, W) complex128

        Returns
        -------
        float
        (H, W) complex128
        """
        losses, gradient = self._losses_and_gradient(obj)
        return float(losses.sum()), gradient

    def losses(self, obj: Complex) -> Real:
        """The part of every pattern in L(O), (n,)."""
        return self._losses_and_gradient(obj)[0]

    def illumination(self) -> Real:
        """g^2 sum_i |P(r - r_i)|^2 of every object pixel, (H, W): photons it would pass if |O| were 1."""
        height, width = self.measurement.object_shape
        total = np.zeros((height + 1, width + 1), np.complex64)
        energy = (self._probe * self._probe.conj())[None]
        for shard in self._shards:
            self._add_back(np.repeat(energy, len(shard), axis=0), shard, total)
        return total.real[:-1, :-1].astype(np.float64)

    def _losses_and_gradient(self, obj: Complex) -> tuple[Real, Complex]:
        # One more row and column: at an integral position on the edge the far neighbours have weight zero.
        padded = np.pad(obj.astype(np.complex64), ((0, 1), (0, 1)))
        losses, gradient = list[Real](), np.zeros(padded.shape, np.complex128)
        with ThreadPoolExecutor(min(self._workers, len(self._shards))) as pool:
            # In the order of the shards, whichever thread is done first.
            for part, partial in pool.map(lambda shard: self._shard(padded, shard), self._shards):
                losses.append(part)
                gradient += partial
        return self._norm * np.concatenate(losses), 2 * self._norm * gradient[:-1, :-1]

    def _shard(self, padded: Single, shard: npt.NDArray[np.intp]) -> tuple[Real, Single]:
        """Of some patterns: their unnormalised losses, and half their unnormalised gradient."""
        losses, gradient = list[Real](), np.zeros_like(padded)
        chunk = max(1, CHUNK_BYTES // self._probe.nbytes)
        for start in range(0, len(shard), chunk):
            rows = shard[start : start + chunk]
            waves = self._cut(padded, rows)
            waves *= self._probe
            far = fft.fft2(waves, axes=(-2, -1), norm="ortho", overwrite_x=True)
            counts = self._counts[rows[0] : rows[-1] + 1]
            rates = (far * far.conj()).real
            rates += np.float32(BACKGROUND_PHOTONS)
            # misfit = 1 - n / lambda, from which log(n / lambda) keeps its digits where the two are close.
            difference = rates - counts
            misfit = difference / rates
            far *= misfit
            np.minimum(misfit, _BELOW_ONE, out=misfit)
            difference += counts * np.log1p(-misfit)
            losses.append(np.sum(difference, axis=(1, 2), dtype=np.float64))
            back = fft.ifft2(far, axes=(-2, -1), norm="ortho", overwrite_x=True)
            back *= self._probe.conj()
            self._add_back(back, rows, gradient)
        return np.concatenate(losses), gradient

    def _cut(self, padded: Single, rows: npt.NDArray[np.intp]) -> Single:
        """The windows O_i of some patterns, (m, N, N), as :func:`.diffraction.cut_patches` cuts them."""
        size = len(self._probe) + self._bilinear
        windows = np.empty((len(rows), size, size), np.complex64)
        for window, top, left in zip(windows, self._top[rows], self._left[rows], strict=True):
            window[:] = padded[top : top + size, left : left + size]
        if not self._bilinear:
            return windows
        # Real and imaginary parts side by side: a complex product with a real weight would be twice the work.
        parts = windows.view(np.float32)
        parts = _between(parts[:, :-1], parts[:, 1:], self._weight_y[rows])
        parts = _between(parts[:, :, :-2], parts[:, :, 2:], self._weight_x[rows])
        return parts.view(np.complex64)

    def _add_back(self, patches: Single, rows: npt.NDArray[np.intp], total: Single) -> None:
        """The adjoint of :meth:`_cut`: add patches (m, N, N) to the (H + 1, W + 1) they were cut from."""
        if self._bilinear:
            m, size, _ = patches.shape
            parts = np.empty((m, size, 2 * size + 2), np.float32)
            _spread(patches.view(np.float32), self._weight_x[rows], parts[:, :, :-2], parts[:, :, 2:])
            spread = np.empty((m, size + 1, 2 * size + 2), np.float32)
            _spread(parts, self._weight_y[rows], spread[:, :-1], spread[:, 1:])
            patches = spread.view(np.complex64)
        size = patches.shape[-1]
        for patch, top, left in zip(patches, self._top[rows], self._left[rows], strict=True):
            total[top : top + size, left : left + size] += patch


def gradient_prior(obj: Complex) -> tuple[float, Complex]:
    """sum |grad O|^2 over the forward differences of an (H, W) object, and its gradient (H, W).

    Minus the log-density, up to a constant, of an object whose differences between neighbours are independent
    circular Gaussians with mean square 1: times 1 / s^2, of mean square s^2.
    """
    value, gradient = 0.0, np.zeros_like(obj)
    for before, after, into_before, into_after in (
        (obj[:-1], obj[1:], gradient[:-1], gradient[1:]),
        (obj[:, :-1], obj[:, 1:], gradient[:, :-1], gradient[:, 1:]),
    ):
        step = after - before
        value += float(np.vdot(step, step).real)
        step *= 2
        into_before -= step
        into_after += step
    return value, gradient


def _between(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """first + weight (second - first)."""
    result = second - first
    result *= weight
    result += first
    return result


def _spread(
    patches: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    first: npt.NDArray[np.float32],
    second: npt.NDArray[np.float32],
) -> None:
    """The adjoint of :func:`_between`; ``first`` and ``second`` are views of one array, overwritten."""
    share = patches * weight
    second[:] = 0
    np.subtract(patches, share, out=first)
    second += share
