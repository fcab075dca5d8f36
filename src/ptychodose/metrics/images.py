"""Comparison of two real images: pixel by pixel (MAE, MSE, PSNR, Pearson), by structure (SSIM, MS-SSIM)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from ptychodose.metrics.checks import real_image, real_pair, require_data_range, require_structure
from ptychodose.metrics.undefined import Undefined

# The exponents of Wang, Simoncelli, Bovik 2003, finest scale first; they sum to 1.0001, used as printed.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The window of Wang, Bovik, Sheikh, Simoncelli 2004: an 11x11 Gaussian of sigma 1.5.
_WINDOW_SIGMA_PX = 1.5
_WINDOW_RADIUS_PX = 5
_WINDOW_SIDE_PX = 2 * _WINDOW_RADIUS_PX + 1
_K1, _K2 = 0.01, 0.03
# scikit-image's default uniform SSIM window, the one the legacy rule used.
_LEGACY_WINDOW_SIDE_PX = 7
# OpenCV's default peak in cv2.PSNR, whatever the data.
_LEGACY_PEAK = 255.0


@dataclass(frozen=True)
class MultiScale:
    """A multi-scale similarity and how it was made up.

    value: the product over scales; scales: their number J; weights: the J exponents used, finest scale first.
    """

    value: float
    scales: int
    weights: tuple[float, ...]


def truth_range(truth: npt.ArrayLike) -> float:
    """Return max - min of a real (H, W) image, in its own unit; 0.0 for a constant one.

    Raises TypeError (complex), ValueError (not 2-D), Undefined (no pixels, not finite).
    """
    return float(np.ptp(real_image(truth, "truth")))


def mae(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the mean absolute error of two real (H, W) images, in their unit.

    Raises TypeError (complex), ValueError (not 2-D, shapes differ), Undefined (no pixels, not finite).
    """
    prediction, truth = real_pair(prediction, truth)
    return float(np.mean(np.abs(prediction - truth)))


def mse(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the mean squared error of two real (H, W) images, in their unit squared. Raises as `mae`."""
    prediction, truth = real_pair(prediction, truth)
    return float(np.mean((prediction - truth) ** 2))


def phase_rms_rad(prediction_phase: npt.ArrayLike, truth_phase: npt.ArrayLike) -> float:
    """Return the root-mean-square difference of two real (H, W) phases, in radians. Raises as `mae`.

    The difference is not wrapped: bring both phases to one gauge first (`gauge.align_phase`).
    """
    return float(np.sqrt(mse(prediction_phase, truth_phase)))


def psnr(prediction: npt.ArrayLike, truth: npt.ArrayLike, *, data_range: float) -> float:
    """Return the peak signal-to-noise ratio 10 log10(data_range² / mse) of two real (H, W) images, in dB.

    Raises as `mae`; ValueError also for a data_range that is not positive; Undefined also for a constant
    truth and for identical images.

    Source: Wang, Bovik, IEEE Signal Process. Mag. 26 (2009) 98, doi:10.1109/MSP.2008.930649.
    """
    require_structure(real_image(truth, "truth"), "truth")
    require_data_range(data_range)
    return _decibels(data_range, mse(prediction, truth))


def psnr_legacy255(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return 10 log10(255² / mse) of two real (H, W) images, in dB, whatever their range: `psnr@legacy255`.

    255 is the default peak of OpenCV's PSNR, so images of range 1 read 48.13 dB too high. No range of the
    truth enters, so a constant truth has a value. Raises as `mae`; Undefined also for identical images.

    Source: https://docs.opencv.org/4.x/d2/de8/group__core__array.html (cv::PSNR).
    """
    return _decibels(_LEGACY_PEAK, mse(prediction, truth))


def pearson(prediction: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return Pearson's correlation coefficient of two real (H, W) images, in [-1, 1], without a unit.

    Raises as `mae`; Undefined also if either image is constant (a collapsed prediction is).

    Source: Pearson, Proc. R. Soc. Lond. 58 (1895) 240, doi:10.1098/rspl.1895.0041.
    """
    prediction, truth = real_pair(prediction, truth)
    require_structure(truth, "truth")
    require_structure(prediction, "prediction")
    x, y = prediction - prediction.mean(), truth - truth.mean()
    # Rounding can leave the interval by one unit in the last place.
    return float(np.clip(np.sum(x * y) / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0))


def ssim(prediction: npt.ArrayLike, truth: npt.ArrayLike, *, data_range: float) -> float:
    """Return the mean structural similarity of two real (H, W) images, in [-1, 1], without a unit.

    scikit-image with the settings of the paper: 11x11 Gaussian window of sigma 1.5 px, population
    covariance, K1 = 0.01, K2 = 0.03, mean over the windows that lie wholly inside the image.

    Raises as `mae`; ValueError also for a data_range that is not positive; Undefined also for a constant
    truth and for a side below 11 px.

    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Process. 13 (2004) 600,
    doi:10.1109/TIP.2003.819861.
    """
    prediction, truth = _structural_pair(prediction, truth, data_range, _WINDOW_SIDE_PX)
    return float(
        structural_similarity(
            prediction,
            truth,
            data_range=data_range,
            gaussian_weights=True,
            sigma=_WINDOW_SIGMA_PX,
            use_sample_covariance=False,
        )
    )


def ms_ssim(prediction: npt.ArrayLike, truth: npt.ArrayLike, *, data_range: float) -> MultiScale:
    """Return the multi-scale structural similarity of two real (H, W) images, in [0, 1], without a unit.

    prod_{j<J} cs_j^{w_j} · ssim_J^{w_J}: mean contrast-structure at the scales 1..J-1, mean SSIM at scale J.
    Between scales both images are averaged over 2x2 pixels and decimated by 2, as in Wang's reference code.
    J is the largest number up to 5 with min(H, W) / 2^(J-1) >= 11 (5 scales from 176 px on). With 5 scales
    the weights are those printed in the paper; with fewer, the first J divided by their sum.

    A negative mean is set to 0, which makes the product 0: a negative number has no real power w_j, and
    images whose structure is opposed at one scale are no more similar than unrelated ones.

    Raises as `ssim`.

    Source: Wang, Simoncelli, Bovik, 37th Asilomar Conf. (2003) 1398, doi:10.1109/ACSSC.2003.1292216.
    """
    prediction, truth = _structural_pair(prediction, truth, data_range, _WINDOW_SIDE_PX)
    scales = _number_of_scales(min(truth.shape))
    weights: tuple[float, ...] = _SCALE_WEIGHTS
    if scales < len(_SCALE_WEIGHTS):
        total = sum(_SCALE_WEIGHTS[:scales])
        weights = tuple(weight / total for weight in _SCALE_WEIGHTS[:scales])

    value = 1.0
    for weight in weights[:-1]:
        _, contrast_structure = _ssim_and_contrast_structure(prediction, truth, data_range)
        value *= max(contrast_structure, 0.0) ** weight
        prediction, truth = _halve(prediction), _halve(truth)
    similarity, _ = _ssim_and_contrast_structure(prediction, truth, data_range)
    value *= max(similarity, 0.0) ** weights[-1]
    return MultiScale(value, scales, weights)


def ms_ssim_legacy(prediction: npt.ArrayLike, truth: npt.ArrayLike, *, smooth_sigma: float) -> MultiScale:
    """Return `ms_ssim@legacy` of two real (H, W) images: the rule of the PtychoPINN dose experiments.

    Both images are smoothed by a Gaussian of `smooth_sigma` pixels (1.0 for amplitude, 0.0 for phase, which
    goes through `legacy_phase_image` first). The value is the product of ssim^weight with the *full* SSIM
    (scikit-image's default: 7x7 uniform window, sample covariance) at every scale and every second row and
    column taken between scales *without* low-pass; it stops after 5 scales or when a side is below 7, and
    the weights of the scales then missing are *not* made up for, which brings the value nearer to 1. The
    data range is the larger of the two ranges of the smoothed full-size images.

    Only for comparison with numbers of that pipeline: it is not the MS-SSIM of the paper (`ms_ssim`).

    Raises as `mae`; ValueError also for a negative smooth_sigma; Undefined also for a constant truth, a side
    below 7 px and a negative SSIM at any scale (the rule then yields NaN).
    """
    if smooth_sigma < 0:
        raise ValueError(f"smooth_sigma must not be negative, got {smooth_sigma}")
    prediction, truth = real_pair(prediction, truth)
    require_structure(truth, "truth")
    _require_side(truth, _LEGACY_WINDOW_SIDE_PX)
    prediction, truth = gaussian_filter(prediction, smooth_sigma), gaussian_filter(truth, smooth_sigma)
    # Smoothing may have flattened the truth.
    require_structure(truth, "smoothed truth")
    data_range = float(max(np.ptp(prediction), np.ptp(truth)))

    value = 1.0
    weights: tuple[float, ...] = ()
    for weight in _SCALE_WEIGHTS:
        if min(truth.shape) < _LEGACY_WINDOW_SIDE_PX:
            break
        similarity = float(structural_similarity(prediction, truth, data_range=data_range))
        if similarity < 0:
            raise Undefined(f"the SSIM at scale {len(weights) + 1} is negative and has no real power")
        value *= similarity**weight
        weights += (weight,)
        prediction, truth = prediction[::2, ::2], truth[::2, ::2]
    return MultiScale(value, len(weights), weights)


def legacy_phase_image(phase: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return (phase + π) / 2π: radians in [-π, π] mapped to [0, 1], as `ms_ssim@legacy` does first."""
    return (phase + np.pi) / (2 * np.pi)


def _decibels(peak: float, mean_squared_error: float) -> float:
    if mean_squared_error == 0:
        raise Undefined("prediction and truth are identical")
    return float(20 * np.log10(peak) - 10 * np.log10(mean_squared_error))


def _structural_pair(
    prediction: npt.ArrayLike, truth: npt.ArrayLike, data_range: float, window_side: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    prediction, truth = real_pair(prediction, truth)
    require_structure(truth, "truth")
    require_data_range(data_range)
    _require_side(truth, window_side)
    return prediction, truth


def _require_side(image: npt.NDArray[np.float64], window_side: int) -> None:
    if min(image.shape) < window_side:
        raise Undefined(f"the image {image.shape} is smaller than the {window_side}x{window_side} window")


def _number_of_scales(min_side: int) -> int:
    scales = 1
    while scales < len(_SCALE_WEIGHTS) and min_side / 2**scales >= _WINDOW_SIDE_PX:
        scales += 1
    return scales


def _ssim_and_contrast_structure(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], data_range: float
) -> tuple[float, float]:
    """Return the means of equation 13 of Wang et al. 2004 and of its second factor, over 'valid' windows."""
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x, variance_y = _window_mean(x * x) - mean_x**2, _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(luminance * contrast_structure)), float(np.mean(contrast_structure))


def _window_mean(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    inside = slice(_WINDOW_RADIUS_PX, -_WINDOW_RADIUS_PX)
    blurred: npt.NDArray[np.float64] = gaussian_filter(image, _WINDOW_SIGMA_PX, radius=_WINDOW_RADIUS_PX)
    return blurred[inside, inside]


def _halve(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the means of 2x2 pixels; an odd side repeats its last row or column first, as in Wang's code."""
    rows, columns = image.shape
    even = np.pad(image, ((0, rows % 2), (0, columns % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
