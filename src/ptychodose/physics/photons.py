"""Dose: from intensities to photon counts, and back to a measured dose."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ptychodose.physics.diffraction import (
    Interpolation,
    cut_patches,
    diffraction_intensity,
    exit_waves,
)
from ptychodose.physics.randomness import generator


def gain_squared(dose_photons: float, exit_energy: npt.NDArray[np.float64]) -> float:
    """g^2 = D / mean_i sum |psi_i|^2: what turns model intensities into expected photons.

    The mean is exactly rounded (``math.fsum``), so it does not depend on order or chunks.
    """
    return dose_photons * len(exit_energy) / math.fsum(exit_energy)


def mean_exit_energy(dose_photons: float, gain_squared: float) -> float:
    """E = D / g^2 = mean_i sum |P O_i|^2: the inverse of :func:`gain_squared`."""
    return dose_photons / gain_squared


def draw_counts(
    rates: npt.NDArray[np.float64], key: npt.NDArray[np.uint64], first_index: int
) -> npt.NDArray[np.int64]:
    """Poisson counts of patterns ``first_index, first_index + 1, ...``.

    The draw of a pattern depends on the key and its index alone. Rates are rounded to float32 first, so
    that last-bit differences of the FFT between machines do not change a count.

    Parameters
    ----------
    rates : (n, N, N) float64, expected photons per pixel
    key : (2,) uint64, see :func:`ptychodose.physics.randomness.philox_key`
    """
    rounded = rates.astype(np.float32)
    counts = np.empty(rates.shape, dtype=np.int64)
    for i, pattern in enumerate(rounded):
        counts[i] = generator(key, first_index + i).poisson(pattern)
    return counts


def simulate_patterns(
    obj: npt.NDArray[np.complex128],
    probe: npt.NDArray[np.complex128],
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    *,
    dose_photons: float,
    gain_squared: float,
    interpolation: Interpolation,
    key: npt.NDArray[np.uint64],
    first_index: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A run of consecutive patterns of a scan: diff3d = sqrt(n / D) and photons per pattern.

    Returns
    -------
    diff3d : (n, N, N) float32, zero frequency at (N/2, N/2)
    photons : (n,) int64
    """
    patches = cut_patches(obj, x, y, len(probe), interpolation)
    rates = gain_squared * diffraction_intensity(exit_waves(probe, patches))
    counts = draw_counts(rates, key, first_index)
    return np.sqrt(counts / dose_photons).astype(np.float32), counts.sum(axis=(1, 2))


@dataclass(frozen=True)
class MeasuredDose:
    """Photons per diffraction pattern as counted, beside the dose that was declared."""

    declared_photons: float
    mean_photons: float
    min_photons: float
    max_photons: float
    standard_error_photons: float
    """Of the mean over patterns: sqrt(D / n) over a whole scan; over a part, the sample's if larger."""

    @property
    def deviation_in_standard_errors(self) -> float:
        """(mean - declared) / standard error."""
        return (self.mean_photons - self.declared_photons) / self.standard_error_photons


def measured_dose(
    photons: npt.NDArray[np.float64], declared_photons: float, *, whole_scan: bool
) -> MeasuredDose:
    """Statistics of the photons per pattern, (n,), against the declared dose.

    Over a whole scan the gain makes the expected mean the dose, so only photon noise lets the counted mean
    differ. Over a part of a scan the object seen differs too, and the spread of the patterns counts.
    """
    n = len(photons)
    mean = math.fsum(photons) / n
    sample = 0.0 if whole_scan or n < 2 else float(np.std(photons, ddof=1))
    standard_error = max(sample, math.sqrt(declared_photons)) / math.sqrt(n)
    return MeasuredDose(
        declared_photons, mean, float(np.min(photons)), float(np.max(photons)), standard_error
    )
