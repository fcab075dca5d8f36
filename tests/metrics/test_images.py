"""SSIM and MS-SSIM against other implementations, the pixel metrics against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from ptychodose.metrics.images import (
    legacy_phase_image,
    mae,
    ms_ssim,
    ms_ssim_legacy,
    mse,
    pearson,
    phase_rms_rad,
    psnr,
    psnr_legacy255,
    ssim,
    truth_range,
)
from ptychodose.metrics.undefined import Undefined

PAPER_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SEEDS = st.integers(0, 2**32 - 1)


def waves(shape, noise):
    """Return (prediction, truth) from sines alone: the same numbers on every machine."""
    rows, columns = np.indices(shape)
    truth = 0.5 + 0.25 * np.sin(rows / 7.0) * np.cos(columns / 11.0) + 0.2 * np.sin(rows * columns / 900.0)
    return truth + noise * np.sin(1.7 * rows + 0.3 * columns * columns / shape[1]), truth


def textured(seed, shape, noise):
    """Return (prediction, truth): smooth random texture of spread 1 and a noisy copy."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=shape), 2.0)
    truth = texture / texture.std()
    return truth + noise * rng.normal(size=shape), truth


# --- pixel metrics ---------------------------------------------------------------------------------------


def test_errors_of_a_known_difference():
    truth = np.array([[0.0, 1.0], [0.25, 0.5]])
    prediction = truth + np.array([[0.1, -0.1], [0.3, -0.3]])
    assert mae(prediction, truth) == pytest.approx(0.2)
    assert mse(prediction, truth) == pytest.approx(0.05)
    assert phase_rms_rad(prediction, truth) == pytest.approx(0.05**0.5)
    assert truth_range(truth) == 1.0


def test_psnr_of_a_known_mse():
    truth = np.tile([0.0, 2.0], (8, 4))
    assert psnr(truth + 0.02, truth, data_range=2.0) == pytest.approx(40.0)


def test_psnr_legacy255_is_the_71_3_db_of_the_legacy_tables():
    truth = np.tile([0.0, 1.0], (8, 4))
    prediction = truth + np.sqrt(0.0048)
    assert psnr_legacy255(prediction, truth) == pytest.approx(71.3, abs=0.05)
    assert psnr(prediction, truth, data_range=1.0) == pytest.approx(23.2, abs=0.05)


def test_psnr_legacy255_has_a_value_for_a_constant_truth():
    """The legacy 158.06 dB belongs to a phase that is zero by construction: it must be reproducible."""
    rms = 255 / 10 ** (158.06 / 20)
    assert psnr_legacy255(np.full((8, 8), rms), np.zeros((8, 8))) == pytest.approx(158.06)


def test_errors_are_computed_in_float64_from_float32_input():
    truth = np.full((8, 8), 1000.0, np.float32)
    prediction = truth.copy()
    prediction[0, 0] = 3000.0
    assert mse(prediction, truth) == 2000.0**2 / 64


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.01, 100), st.floats(-100, 100))
def test_pearson_ignores_scale_and_offset_and_follows_the_sign(seed, scale, offset):
    prediction, truth = textured(seed, (24, 20), noise=0.5)
    reference = np.corrcoef(prediction.ravel(), truth.ravel())[0, 1]
    assert pearson(prediction, truth) == pytest.approx(reference, abs=1e-12)
    assert pearson(scale * prediction + offset, truth) == pytest.approx(reference, abs=1e-9)
    assert pearson(-scale * prediction, truth) == pytest.approx(-reference, abs=1e-9)


# --- SSIM ------------------------------------------------------------------------------------------------


def ssim_terms_by_convolution(x, y, data_range):
    """Return mean SSIM and mean contrast-structure, written out with a 2-D window as in Wang et al. 2004."""
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def local(image):
        return convolve2d(image, window, mode="valid")

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = local(x), local(y)
    sxx, syy, sxy = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    cs = (2 * sxy + c2) / (sxx + syy + c2)
    return np.mean((2 * mx * my + c1) / (mx * mx + my * my + c1) * cs), np.mean(cs)


@pytest.mark.parametrize("shape", [(11, 11), (40, 57)])
def test_ssim_is_that_of_wang_2004(shape):
    prediction, truth = textured(3, shape, noise=0.4)
    data_range = np.ptp(truth)
    by_hand, _ = ssim_terms_by_convolution(prediction, truth, data_range)
    assert ssim(prediction, truth, data_range=data_range) == pytest.approx(by_hand, rel=1e-12)


def test_ssim_is_scikit_image_with_the_settings_its_documentation_gives_for_wang_2004():
    prediction, truth = textured(4, (40, 57), noise=0.4)
    reference = structural_similarity(
        prediction, truth, data_range=3.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(prediction, truth, data_range=3.0) == pytest.approx(reference, rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0, 3), st.floats(1e-3, 1e3))
def test_similarities_are_symmetric_bounded_and_free_of_the_unit(seed, noise, unit):
    prediction, truth = textured(seed, (32, 29), noise)
    data_range = truth_range(truth)
    value = ssim(prediction, truth, data_range=data_range)
    multi = ms_ssim(prediction, truth, data_range=data_range).value
    assert -1 <= value <= 1 and 0 <= multi <= 1
    assert ssim(truth, prediction, data_range=data_range) == pytest.approx(value, abs=1e-12)
    assert ms_ssim(truth, prediction, data_range=data_range).value == pytest.approx(multi, abs=1e-12)
    assert ssim(unit * prediction, unit * truth, data_range=unit * data_range) == pytest.approx(
        value, abs=1e-9
    )


def test_identical_images_are_wholly_similar():
    _, truth = textured(5, (180, 190), noise=0)
    assert ssim(truth, truth, data_range=truth_range(truth)) == pytest.approx(1.0, abs=1e-12)
    assert ms_ssim(truth, truth, data_range=truth_range(truth)).value == pytest.approx(1.0, abs=1e-12)
    assert ms_ssim_legacy(truth, truth, smooth_sigma=1.0).value == pytest.approx(1.0, abs=1e-12)


# --- MS-SSIM ---------------------------------------------------------------------------------------------


def halve_by_loops(image):
    """Return 2x2 means, the last row and column repeated where a side is odd, pixel by pixel."""
    rows, columns = image.shape
    out = np.empty(((rows + 1) // 2, (columns + 1) // 2))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            i1, j1 = min(2 * i + 1, rows - 1), min(2 * j + 1, columns - 1)
            out[i, j] = (image[2 * i, 2 * j] + image[i1, 2 * j] + image[2 * i, j1] + image[i1, j1]) / 4
    return out


@pytest.mark.parametrize(
    ("shape", "scales"), [((176, 181), 5), ((175, 190), 4), ((47, 60), 3), ((30, 30), 2), ((21, 90), 1)]
)
def test_ms_ssim_is_the_product_written_out(shape, scales):
    prediction, truth = textured(6, shape, noise=0.6)
    data_range = np.ptp(truth)
    weights = np.array(PAPER_WEIGHTS[:scales])
    if scales < 5:
        weights = weights / weights.sum()
    expected, x, y = 1.0, prediction, truth
    for scale in range(1, scales + 1):
        full, cs = ssim_terms_by_convolution(x, y, data_range)
        expected *= (full if scale == scales else cs) ** weights[scale - 1]
        x, y = halve_by_loops(x), halve_by_loops(y)

    result = ms_ssim(prediction, truth, data_range=data_range)
    assert result.value == pytest.approx(expected, rel=1e-10)
    assert result.scales == scales
    assert result.weights == pytest.approx(weights)
    assert result.weights == PAPER_WEIGHTS if scales == 5 else sum(result.weights) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shape", "noise", "tensorflow"),
    [
        ((192, 176), 0.1, 0.9174545),
        ((177, 201), 0.1, 0.9185017),
        ((256, 256), 0.5, 0.6034599),
        ((192, 208), 1.5, 0.2887545),
    ],
)
def test_ms_ssim_is_that_of_tensorflow(shape, noise, tensorflow):
    """The values: tf.image.ssim_multiscale(prediction, truth, max_val=range), TensorFlow 2.21.0, float32."""
    prediction, truth = waves(shape, noise)
    value = ms_ssim(prediction, truth, data_range=truth_range(truth)).value
    assert value == pytest.approx(tensorflow, abs=1e-6)


def test_ms_ssim_of_opposed_structure_is_zero_not_nan():
    _, truth = textured(7, (64, 64), noise=0)
    assert ms_ssim(-truth, truth, data_range=truth_range(truth)).value == 0.0


# --- MS-SSIM, the legacy rule ----------------------------------------------------------------------------


@pytest.mark.parametrize("smooth_sigma", [1.0, 0.0])
@pytest.mark.parametrize(("side", "scales"), [(120, 5), (96, 4), (48, 3), (7, 1)])
def test_ms_ssim_legacy_step_by_step(side, scales, smooth_sigma):
    prediction, truth = textured(8, (side, side + 3), noise=0.3)
    x, y = gaussian_filter(prediction, smooth_sigma), gaussian_filter(truth, smooth_sigma)
    data_range = max(x.max() - x.min(), y.max() - y.min())
    expected, used = 1.0, []
    for weight in [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]:
        if x.shape[0] < 7 or x.shape[1] < 7:
            break
        expected *= structural_similarity(x, y, win_size=7, data_range=data_range) ** weight
        used.append(weight)
        x, y = x[::2, ::2], y[::2, ::2]

    result = ms_ssim_legacy(prediction, truth, smooth_sigma=smooth_sigma)
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert result.weights == tuple(used)
    assert result.scales == scales == len(used)


def test_ms_ssim_legacy_takes_the_larger_of_the_two_ranges():
    """One scale only (7 px), so the value is one SSIM; the prediction has three times the truth's range."""
    _, truth = textured(9, (7, 7), noise=0)
    expected = structural_similarity(3 * truth, truth, data_range=3 * np.ptp(truth)) ** 0.0448
    assert ms_ssim_legacy(3 * truth, truth, smooth_sigma=0.0).value == pytest.approx(expected, rel=1e-12)
    assert ms_ssim_legacy(truth, 3 * truth, smooth_sigma=0.0).value == pytest.approx(expected, rel=1e-12)


def test_legacy_phase_image_maps_the_circle_to_the_unit_interval():
    np.testing.assert_allclose(legacy_phase_image(np.array([-np.pi, 0.0, np.pi])), [0.0, 0.5, 1.0])


def test_ms_ssim_legacy_of_opposed_structure_is_undefined():
    """The mean of 5 keeps the luminance term positive, so that the sign is that of the structure."""
    _, truth = textured(10, (64, 64), noise=0)
    with pytest.raises(Undefined, match="scale 1 is negative"):
        ms_ssim_legacy(5 - truth, 5 + truth, smooth_sigma=0.0)
