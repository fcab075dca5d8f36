"""The forward model: where windows lie, what interpolation returns, and that no energy is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.physics.diffraction import (
    cut_patches,
    diffraction_intensity,
    exit_wave_energy,
    exit_waves,
)

BOTH = pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    size_px=st.sampled_from([8, 16, 64]),
    scale=st.sampled_from([1e-6, 1, 1e4]),
)
def test_the_detector_sees_the_energy_of_the_exit_wave(seed, size_px, scale):
    rng = np.random.default_rng(seed)
    waves = scale * (rng.normal(size=(3, size_px, size_px)) + 1j * rng.normal(size=(3, size_px, size_px)))
    energy = (np.abs(waves) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(diffraction_intensity(waves).sum(axis=(1, 2)), energy, rtol=1e-13)


@pytest.mark.parametrize("size_px", [16, 64])
def test_a_plane_wave_falls_on_the_centre_and_a_tilt_along_x_moves_it_along_a_row(size_px):
    tilt = np.exp(2j * np.pi * 3 * np.arange(size_px) / size_px)
    waves = np.stack([np.ones((size_px, size_px)), np.broadcast_to(tilt, (size_px, size_px))]).astype(complex)
    expected = np.zeros((2, size_px, size_px))
    expected[0, size_px // 2, size_px // 2] = expected[1, size_px // 2, size_px // 2 + 3] = size_px**2
    np.testing.assert_allclose(diffraction_intensity(waves), expected, atol=1e-12 * size_px**2)


def test_the_exit_wave_is_the_product_of_probe_and_patch(rough_object, rough_probe, every_place):
    patches = cut_patches(rough_object, *every_place, 16, "bilinear")
    before = patches.copy()
    np.testing.assert_allclose(
        exit_waves(rough_probe, patches), rough_probe * patches, rtol=1e-13, atol=1e-15
    )
    assert np.array_equal(patches, before)


@BOTH
@pytest.mark.parametrize(("x", "y"), [(8, 8), (8, 36), (28, 8), (28, 36), (20, 11)])
def test_the_middle_of_a_window_lies_on_row_y_and_column_x(rough_object, interpolation, x, y):
    patch = cut_patches(rough_object, np.array([float(x)]), np.array([float(y)]), 16, interpolation)[0]
    assert patch[8, 8] == rough_object[y, x]
    assert np.array_equal(patch, rough_object[y - 8 : y + 8, x - 8 : x + 8])


def test_bilinear_windows_of_an_object_linear_in_y_and_x_are_exact(every_place):
    def linear(y, x):
        return (0.5 + 0.25 * y - 0.125 * x + 0.01 * x * y) + 1j * (2 - 0.1 * y + 0.2 * x)

    x, y = every_place
    obj = linear(*np.mgrid[:45, :37].astype(float))
    steps = np.arange(16) - 8
    expected = linear(y[:, None, None] + steps[:, None], x[:, None, None] + steps[None, :])
    np.testing.assert_allclose(cut_patches(obj, x, y, 16, "bilinear"), expected, rtol=1e-13)


def test_nearest_windows_start_at_the_rounded_position_less_half_a_window(rough_object, every_place):
    x, y = every_place
    patches = cut_patches(rough_object, x, y, 16, "nearest")
    for patch, left, top in zip(patches, np.rint(x).astype(int) - 8, np.rint(y).astype(int) - 8, strict=True):
        assert np.array_equal(patch, rough_object[top : top + 16, left : left + 16])


@BOTH
def test_a_window_does_not_depend_on_the_others_cut_with_it(rough_object, every_place, interpolation):
    x, y = every_place
    together = cut_patches(rough_object, x, y, 16, interpolation)
    one_by_one = [
        cut_patches(rough_object, x[i : i + 1], y[i : i + 1], 16, interpolation)[0] for i in range(len(x))
    ]
    assert np.array_equal(together, one_by_one)


@BOTH
def test_the_exit_wave_energy_is_that_of_the_windows_everywhere_in_the_field(
    rough_object, rough_probe, every_place, interpolation
):
    x, y = every_place
    waves = rough_probe * cut_patches(rough_object, x, y, 16, interpolation)
    energy = exit_wave_energy(rough_object, rough_probe, x, y, interpolation)
    np.testing.assert_allclose(energy, (np.abs(waves) ** 2).sum(axis=(1, 2)), rtol=1e-12)
