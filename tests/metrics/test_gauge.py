"""Each alignment undoes what it is meant to undo, exactly, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import fourier_shift, gaussian_filter

from ptychodose.metrics.gauge import (
    align_phase,
    amplitude_bias,
    remove_mean,
    remove_plane,
    scale_to_truth,
    shift_px,
)
from ptychodose.metrics.images import phase_rms_rad

SEEDS = st.integers(0, 2**32 - 1)
SLOPES = st.floats(-1, 1)
ANGLES = st.floats(-np.pi, np.pi)


def smooth(seed, shape):
    """Return a periodic smooth random image of spread 1."""
    image = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0, mode="wrap")
    return image / image.std()


def plane(shape, offset, slope_y, slope_x):
    rows, columns = np.indices(shape)
    return offset + slope_y * rows + slope_x * columns


def object_of(seed, shape, phase_rad):
    """Return a complex object: amplitude in about [0.5, 1.5], phase of spread `phase_rad`."""
    return (1 + 0.15 * smooth(seed, shape)) * np.exp(1j * phase_rad * smooth(seed + 1, shape))


# --- amplitude -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_scale_is_removed_exactly(seed, scale):
    truth = 1 + np.random.default_rng(seed).random((12, 17))
    aligned, factor = scale_to_truth(scale * truth, truth)
    assert factor == pytest.approx(1 / scale, rel=1e-12)
    np.testing.assert_allclose(aligned, truth, rtol=1e-12)


def test_scale_is_the_ratio_of_the_means():
    aligned, factor = scale_to_truth(np.array([[1.0, 3.0]]), np.array([[5.0, 3.0]]))
    assert factor == 2.0
    np.testing.assert_array_equal(aligned, [[2.0, 6.0]])


def test_amplitude_bias_of_complex_objects():
    truth = object_of(1, (20, 20), phase_rad=1.0)
    turned = truth * np.exp(2j)
    assert amplitude_bias(0.9 * turned, truth) == pytest.approx(-0.1)
    assert amplitude_bias(np.abs(truth) * 5.7, np.abs(truth)) == pytest.approx(4.7)


# --- phase -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(2, 40), ANGLES, SLOPES, SLOPES)
def test_any_plane_is_removed_and_reported(rows, columns, offset, slope_y, slope_x):
    residual, fitted = remove_plane(plane((rows, columns), offset, slope_y, slope_x))
    np.testing.assert_array_equal(residual, 0.0)
    assert fitted == pytest.approx((offset, slope_y, slope_x), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(SEEDS, ANGLES, SLOPES, SLOPES)
def test_a_plane_on_top_of_structure_changes_nothing_but_the_plane(seed, offset, slope_y, slope_x):
    structure = smooth(seed, (24, 31))
    bare, bare_plane = remove_plane(structure)
    tilted, tilted_plane = remove_plane(structure + plane((24, 31), offset, slope_y, slope_x))
    np.testing.assert_allclose(tilted, bare, atol=1e-10)
    np.testing.assert_allclose(np.subtract(tilted_plane, bare_plane), (offset, slope_y, slope_x), atol=1e-10)


def test_the_plane_is_the_least_squares_one():
    phase = np.random.default_rng(2).normal(size=(9, 14))
    rows, columns = np.indices(phase.shape)
    design = np.stack([np.ones(phase.size), rows.ravel(), columns.ravel()], axis=1)
    expected, *_ = np.linalg.lstsq(design, phase.ravel(), rcond=None)
    residual, fitted = remove_plane(phase)
    np.testing.assert_allclose(fitted, expected, atol=1e-12)
    np.testing.assert_allclose(residual.ravel(), phase.ravel() - design @ expected, atol=1e-12)


def test_remove_mean_keeps_a_plane():
    tilted = plane((8, 8), 0.3, 0.1, 0.0)
    residual, mean = remove_mean(tilted)
    assert mean == pytest.approx(0.65)
    np.testing.assert_allclose(residual, tilted - 0.65, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(SEEDS, ANGLES, ANGLES)
def test_a_global_phase_on_either_object_changes_nothing(seed, prediction_turn, truth_turn):
    truth = object_of(seed % 1000, (32, 28), phase_rad=0.3)
    prediction = truth + 0.1 * object_of(seed % 1000 + 7, (32, 28), phase_rad=0.3)
    reference = align_phase(prediction, truth)
    turned = align_phase(prediction * np.exp(1j * prediction_turn), truth * np.exp(1j * truth_turn))
    for expected, got in zip(reference, turned, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_a_global_phase_and_a_gentle_ramp_are_removed_from_both():
    """The phases as they were put in come back, each without its plane, though π is crossed all over."""
    shape = (40, 40)
    structure = 0.3 * smooth(3, shape)
    truth = np.exp(1j * (structure + np.pi))
    prediction = 2.0 * np.exp(1j * (structure + plane(shape, 2.0, 0.02, -0.03)))
    prediction_phase, truth_phase = align_phase(prediction, truth)
    np.testing.assert_allclose(truth_phase, remove_plane(structure)[0], atol=1e-10)
    assert phase_rms_rad(prediction_phase, truth_phase) < 1e-10


def test_the_global_phase_is_weighted_by_amplitude():
    """A dark half of arbitrary phase must not turn the bright half across the cut of the angle."""
    rng = np.random.default_rng(4)
    structure = 0.5 * smooth(5, (40, 40))
    truth = np.exp(1j * structure)
    prediction = np.exp(1j * (structure + 3.0))
    truth[20:] *= 1e-3
    prediction[20:] = 1e-3 * np.exp(1j * rng.uniform(-np.pi, np.pi, (20, 40)))
    prediction_phase, truth_phase = align_phase(prediction, truth)
    difference = (prediction_phase - truth_phase)[:20]
    # Only the plane, fitted over the noisy half too, is left in the bright half: no jump of 2π.
    assert np.abs(remove_plane(difference)[0]).max() < 1e-6


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_an_object_without_phase_is_seen_to_be_constant(dtype):
    """Rounding must not pass for structure: the truth's phase comes out as exact zeros."""
    amplitude = 1 + np.random.default_rng(6).random((32, 32))
    truth = (amplitude * np.exp(1j * (0.7 + plane((32, 32), 0, 0.01, 0.02)))).astype(dtype)
    prediction = object_of(7, (32, 32), phase_rad=0.3).astype(dtype)
    prediction_phase, truth_phase = align_phase(prediction, truth)
    np.testing.assert_array_equal(truth_phase, 0.0)
    assert prediction_phase.std() > 0.1


# --- shift -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.floats(-6, 6), st.floats(-6, 6), st.booleans())
def test_a_fourier_shift_is_recovered(seed, down, right, is_complex):
    truth = smooth(seed, (48, 40)) + 5
    if is_complex:
        truth = truth * np.exp(1j * smooth(seed // 2, (48, 40)))
    moved = np.fft.ifft2(fourier_shift(np.fft.fft2(truth), (down, right)))
    prediction = moved if is_complex else moved.real
    assert shift_px(prediction, truth) == pytest.approx((-down, -right), abs=0.011)


def test_the_shift_is_what_brings_the_prediction_onto_the_truth():
    truth = smooth(8, (32, 32))
    prediction = np.roll(truth, (3, -2), axis=(0, 1))
    dy, dx = shift_px(prediction, truth)
    assert (dy, dx) == (-3.0, 2.0)
    np.testing.assert_array_equal(np.roll(prediction, (int(dy), int(dx)), axis=(0, 1)), truth)
