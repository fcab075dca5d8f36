"""Where a metric has no meaning it says so with a reason, and never returns NaN or infinity."""

import numpy as np
import pytest

from ptychodose.metrics import gauge, images, photons, rings
from ptychodose.metrics.undefined import Undefined

RNG = np.random.default_rng(0)
IMAGE = 1.0 + RNG.random((32, 32))

NEED_STRUCTURE = {
    "psnr": lambda p, t: images.psnr(p, t, data_range=1.0),
    "ssim": lambda p, t: images.ssim(p, t, data_range=1.0),
    "ms_ssim": lambda p, t: images.ms_ssim(p, t, data_range=1.0),
    "ms_ssim@legacy": lambda p, t: images.ms_ssim_legacy(p, t, smooth_sigma=1.0),
    "pearson": images.pearson,
    "frc": rings.ring_correlation,
    "shift_px": gauge.shift_px,
}
NEED_FINITE = NEED_STRUCTURE | {
    "mae": images.mae,
    "mse": images.mse,
    "psnr@legacy255": images.psnr_legacy255,
    "phase_rms_rad": images.phase_rms_rad,
    "scale_to_truth": gauge.scale_to_truth,
    "amplitude_bias": gauge.amplitude_bias,
    "align_phase": gauge.align_phase,
}
# 0.1 is not a binary fraction: its mean differs from it in the last place. The last is float32 rounding.
CONSTANTS = {
    "zero": np.zeros((32, 32)),
    "0.1": np.full((32, 32), 0.1),
    "float32 rounding": 1 + 1e-7 * RNG.random((32, 32)),
}


@pytest.mark.parametrize("constant", CONSTANTS.values(), ids=CONSTANTS.keys())
@pytest.mark.parametrize("metric", NEED_STRUCTURE.values(), ids=NEED_STRUCTURE.keys())
def test_constant_truth(metric, constant):
    with pytest.raises(Undefined, match="truth is constant"):
        metric(IMAGE, constant)


@pytest.mark.parametrize("metric", [images.pearson, rings.ring_correlation, gauge.shift_px])
def test_collapsed_prediction(metric):
    with pytest.raises(Undefined, match="prediction is constant"):
        metric(np.full((32, 32), 0.1), IMAGE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("metric", NEED_FINITE.values(), ids=NEED_FINITE.keys())
def test_a_prediction_that_diverged(metric, bad):
    prediction = IMAGE.copy()
    prediction[3, 4] = bad
    with pytest.raises(Undefined, match="prediction is not finite"):
        metric(prediction, IMAGE)


@pytest.mark.parametrize("metric", NEED_FINITE.values(), ids=NEED_FINITE.keys())
def test_shapes_that_would_broadcast_are_an_error_not_a_reason(metric):
    with pytest.raises(ValueError, match="shapes differ") as error:
        metric(IMAGE[:1], IMAGE)
    assert not isinstance(error.value, Undefined)


@pytest.mark.parametrize("metric", [images.mae, images.pearson, gauge.scale_to_truth])
def test_a_real_metric_refuses_a_complex_image(metric):
    with pytest.raises(TypeError, match="complex"):
        metric(IMAGE + 1j, IMAGE)


def test_no_pixels():
    nothing = np.empty((0, 5))
    for metric in (images.mae, images.pearson, gauge.amplitude_bias):
        with pytest.raises(Undefined, match="no pixels"):
            metric(nothing, nothing)
    for metric in (images.truth_range, gauge.remove_mean, gauge.remove_plane):
        with pytest.raises(Undefined, match="no pixels"):
            metric(nothing)


def test_psnr_of_identical_images():
    for metric in (lambda t: images.psnr(t, t, data_range=1.0), lambda t: images.psnr_legacy255(t, t)):
        with pytest.raises(Undefined, match="identical"):
            metric(IMAGE)


@pytest.mark.parametrize(
    ("metric", "side"),
    [
        (lambda t: images.ssim(t + 1, t, data_range=1.0), 10),
        (lambda t: images.ms_ssim(t + 1, t, data_range=1.0), 10),
        (lambda t: images.ms_ssim_legacy(t + 1, t, smooth_sigma=1.0), 6),
    ],
    ids=["ssim", "ms_ssim", "ms_ssim@legacy"],
)
def test_image_below_the_window(metric, side):
    with pytest.raises(Undefined, match="smaller than"):
        metric(IMAGE[:side])
    metric(IMAGE[: side + 1])


def test_too_small_for_rings_and_planes():
    with pytest.raises(Undefined, match="below 4"):
        rings.ring_correlation(IMAGE[:3], IMAGE[:3] + RNG.random((3, 32)))
    with pytest.raises(Undefined, match="two rows"):
        gauge.remove_plane(IMAGE[:1])


@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("metric", [images.psnr, images.ssim, images.ms_ssim])
def test_data_range_must_be_a_range(metric, data_range):
    with pytest.raises(ValueError, match="data_range"):
        metric(IMAGE + 1, IMAGE, data_range=data_range)


def test_scale_of_an_image_without_amplitude():
    zero = np.zeros((32, 32))
    for arguments in ((zero, IMAGE), (IMAGE, zero)):
        with pytest.raises(Undefined, match="not positive"):
            gauge.scale_to_truth(*arguments)
    with pytest.raises(Undefined, match="not positive"):
        gauge.amplitude_bias(IMAGE, zero)
    assert gauge.amplitude_bias(zero, IMAGE) == -1.0


def test_relative_phase_without_overlap():
    left, right = np.zeros((2, 8, 8), complex)
    left[:, :4] = 1
    right[:, 4:] = 1
    with pytest.raises(Undefined, match="overlap"):
        gauge.align_phase(left, right)


def test_deviance_ratio_without_noise_and_of_diverged_rates():
    with pytest.raises(Undefined, match="zero"):
        photons.deviance_ratio(np.array([1.0]), np.array([0.0]))
    with pytest.raises(Undefined, match="not finite"):
        photons.deviance_ratio(np.array([np.inf]), np.array([1.0]))
    with pytest.raises(Undefined, match="not finite"):
        photons.poisson_deviance(np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan), rate_floor=1e-9)
