"""Simulated probes: the complex illumination P(y, x) on the object."""

import numpy as np
import numpy.typing as npt
from scipy import fft

from ptychodose.physics.rounding import FIELD_GRID, to_grid

_WINDOW_FACTOR = 4
"""The beam is propagated in a window this many times wider than the probe, so that it does not wrap."""


def object_pixel_m(
    size_px: int, *, wavelength_m: float, detector_distance_m: float, detector_pixel_m: float
) -> float:
    """Object pixel size of a far-field geometry: wavelength x distance / (N x detector pixel)."""
    return wavelength_m * detector_distance_m / (size_px * detector_pixel_m)


def zone_plate(
    size_px: int,
    *,
    pixel_m: float,
    wavelength_m: float,
    outer_zone_width_m: float,
    central_stop_fraction: float,
    defocus_m: float,
) -> npt.NDArray[np.complex128]:
    """A zone-plate beam at a distance from its focus, with central stop.

    At the focus the beam is the Fourier transform of an annular pupil: spatial frequencies from
    ``central_stop_fraction`` to 1 times 1 / (2 outer_zone_width_m) (Attwood, "Soft X-Rays and Extreme
    Ultraviolet Radiation", ch. 9). It is then propagated by ``defocus_m`` with the angular-spectrum
    transfer function exp(2 pi i z sqrt(1/wavelength^2 - q^2)), in a window 4 times as wide, and the
    central N x N pixels are kept under a raised-cosine edge of N/16 pixels.

    Returns
    -------
    (size_px, size_px) complex128, largest modulus 1
    """
    wide_px = _WINDOW_FACTOR * size_px
    q = fft.fftfreq(wide_px, d=pixel_m)
    q_squared = q[:, None] ** 2 + q[None, :] ** 2
    q_outer = 1 / (2 * outer_zone_width_m)
    # A pupil edge one frequency step wide: a hard edge on the grid would make the beam square-ish.
    step = q[1]
    radius = np.sqrt(q_squared)
    pupil = np.clip((q_outer - radius) / step + 0.5, 0, 1)
    if central_stop_fraction > 0:
        pupil *= np.clip((radius - central_stop_fraction * q_outer) / step + 0.5, 0, 1)
    axial = np.sqrt(np.maximum(1 / wavelength_m**2 - q_squared, 0.0)) - 1 / wavelength_m
    wave = fft.fftshift(fft.ifft2(pupil * np.exp(2j * np.pi * defocus_m * axial)))
    start = (wide_px - size_px) // 2
    probe = wave[start : start + size_px, start : start + size_px] * _soft_window(size_px)
    return _normalised(probe.astype(np.complex128))


def gaussian(size_px: int, *, fwhm_px: float) -> npt.NDArray[np.complex128]:
    """A plane-phase Gaussian beam whose *intensity* has the given full width at half maximum.

    Returns
    -------
    (size_px, size_px) complex128, largest modulus 1
    """
    offset_px = np.arange(size_px) - size_px // 2
    amplitude = np.exp(-2 * np.log(2) * offset_px**2 / fwhm_px**2)
    return _normalised((amplitude[:, None] * amplitude[None, :]).astype(np.complex128))


def effective_diameter_px(probe: npt.NDArray[np.complex128]) -> float:
    """Diameter of the disc with the probe's participation area (sum I)^2 / sum I^2."""
    intensity = np.abs(probe) ** 2
    area = intensity.sum() ** 2 / (intensity**2).sum()
    return float(2 * np.sqrt(area / np.pi))


def _soft_window(size_px: int) -> npt.NDArray[np.float64]:
    edge_px = max(size_px // 16, 1)
    distance = np.minimum(np.arange(size_px), np.arange(size_px)[::-1]) + 0.5
    ramp = np.where(distance < edge_px, 0.5 - 0.5 * np.cos(np.pi * distance / edge_px), 1.0)
    return np.asarray(ramp[:, None] * ramp[None, :], dtype=np.float64)


def _normalised(probe: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    return to_grid(probe / np.abs(probe).max(), FIELD_GRID)
