"""Alignment: what a ptychographic reconstruction leaves open (scale, phase offset and ramp, shift)."""

import cmath

import numpy as np
import numpy.typing as npt
from skimage.registration import phase_cross_correlation

from ptychodose.metrics.checks import (
    ROUNDING,
    SMALLEST,
    complex_pair,
    real_image,
    real_pair,
    require_structure,
)
from ptychodose.metrics.undefined import Undefined

# A structure below one microradian is rounding: the angle of a complex64 number carries 1e-7 rad.
_ROUNDING_RAD = 1e-6
_SHIFT_STEPS_PER_PIXEL = 100


def scale_to_truth(
    prediction_amplitude: npt.ArrayLike, truth_amplitude: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the (H, W) predicted amplitude times mean(truth) / mean(prediction), and that factor.

    Raises TypeError (complex), ValueError (not 2-D, shapes differ), Undefined (not finite, a mean that is
    not positive).
    """
    prediction, truth = real_pair(prediction_amplitude, truth_amplitude)
    factor = _positive_mean(truth, "truth") / _positive_mean(prediction, "prediction")
    return prediction * factor, factor


def amplitude_bias(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return mean(|prediction|) / mean(|truth|) - 1 of two real or complex (H, W) images, without a unit.

    Meant for the prediction as it is, before any rescaling. 0 is unbiased, -0.1 is 10 % too weak.

    Raises ValueError (not 2-D, shapes differ), Undefined (not finite, a truth of zero amplitude).
    """
    prediction, truth = complex_pair(prediction, truth)
    return float(np.mean(np.abs(prediction)) / _positive_mean(np.abs(truth), "truth") - 1)


def remove_mean(phase: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
    """Return the (H, W) phase minus its mean, and the mean, both in radians.

    A residual below 1e-6 rad everywhere is rounding and is returned as zeros, so that a phase without
    structure is seen to be constant.

    Raises TypeError (complex), ValueError (not 2-D), Undefined (not finite).
    """
    phase = real_image(phase, "phase")
    mean = float(phase.mean())
    return _without_rounding(phase - mean), mean


def remove_plane(phase: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], tuple[float, float, float]]:
    """Return the (H, W) phase minus its best-fit plane, in radians, and the plane.

    The plane is (offset_rad, slope_y_rad_per_px, slope_x_rad_per_px), the least-squares fit of
    offset + slope_y · row + slope_x · column; the offset is its value at pixel (0, 0). The phase is taken as
    it is: one that wraps has no plane. A residual below 1e-6 rad everywhere is returned as zeros, as in
    `remove_mean`.

    Raises TypeError (complex), ValueError (not 2-D), Undefined (not finite, a side below 2 px).
    """
    phase = real_image(phase, "phase")
    rows, columns = phase.shape
    if min(rows, columns) < 2:
        raise Undefined(f"a plane needs two rows and two columns, the phase has shape {phase.shape}")
    # From the centre, row, column and 1 are orthogonal on the grid: each coefficient is its own projection.
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    x = np.arange(columns)[None, :] - (columns - 1) / 2
    mean = float(phase.mean())
    slope_y = float(np.sum(y * phase) / (columns * np.sum(y**2)))
    slope_x = float(np.sum(x * phase) / (rows * np.sum(x**2)))
    residual = _without_rounding(phase - mean - slope_y * y - slope_x * x)
    offset = float(mean + slope_y * y[0, 0] + slope_x * x[0, 0])
    return residual, (offset, slope_y, slope_x)


def align_phase(
    prediction: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the phases of two complex (H, W) objects in one gauge, in radians: (prediction, truth).

    1. The truth is turned by its mean phase, angle(Σ truth), which puts the cut of the angle opposite to it.
    2. The prediction is turned by the same, and by its global phase relative to the truth,
       angle(Σ prediction · conj(truth)); both sums weigh a pixel by its amplitude.
    3. The angles are taken, without unwrapping, and the best-fit plane is removed from each (`remove_plane`).

    So a global phase on either object changes nothing, and a phase within ±π of its mean does not wrap. A
    ramp that takes it beyond does, and has to be removed from the complex object before.

    Raises ValueError (not 2-D, shapes differ) and Undefined (not finite, a side below 2 px, no overlap at
    all between prediction and truth, so that their relative phase is arbitrary).
    """
    prediction, truth = complex_pair(prediction, truth)
    overlap = complex(np.sum(prediction * truth.conj()))
    if abs(overlap) <= ROUNDING * np.sum(np.abs(prediction) * np.abs(truth)):
        raise Undefined("prediction and truth do not overlap, their relative phase is arbitrary")
    truth_turn = cmath.phase(complex(np.sum(truth)))
    prediction_turn = truth_turn + cmath.phase(overlap)
    prediction_phase, _ = remove_plane(np.angle(prediction * cmath.exp(-1j * prediction_turn)))
    truth_phase, _ = remove_plane(np.angle(truth * cmath.exp(-1j * truth_turn)))
    return prediction_phase, truth_phase


def shift_px(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[float, float]:
    """Return (dy, dx), the shift in pixels, to 1/100, that brings the (H, W) prediction onto the truth.

    A prediction that lies 3 rows below the truth gives dy = -3: content moves to larger row and column for
    positive dy and dx, and `scipy.ndimage.shift(prediction, (dy, dx))` is registered. Real or complex images;
    periodic cross-correlation, not normalised to phase only, which would weigh noise like signal.

    Raises ValueError (not 2-D, shapes differ), Undefined (not finite, either image constant).

    Source: Guizar-Sicairos, Thurman, Fienup, Opt. Lett. 33 (2008) 156, doi:10.1364/OL.33.000156.
    """
    prediction, truth = complex_pair(prediction, truth)
    require_structure(truth, "truth")
    require_structure(prediction, "prediction")
    (dy, dx), _, _ = phase_cross_correlation(
        truth, prediction, upsample_factor=_SHIFT_STEPS_PER_PIXEL, normalization=None
    )
    return float(dy), float(dx)


def _positive_mean(amplitude: npt.NDArray[np.float64], name: str) -> float:
    mean = float(amplitude.mean())
    if mean <= SMALLEST:
        raise Undefined(f"the mean amplitude of the {name} is not positive")
    return mean


def _without_rounding(residual: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return residual if np.max(np.abs(residual)) > _ROUNDING_RAD else np.zeros_like(residual)
