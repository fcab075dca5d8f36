"""The lines object recomputed step by step, and its coupling of phase to amplitude."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve1d
from skimage.draw import line

from ptychodose.physics.objects import lines, lines_phase
from ptychodose.physics.randomness import generator, philox_key
from ptychodose.physics.rounding import FIELD_GRID

KEY = philox_key("object", 1, "seen")


def blurred(image, sigma):
    steps = np.arange(-4 * sigma, 4 * sigma + 1)
    kernel = np.exp(-(steps**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return convolve1d(convolve1d(image, kernel, axis=0), kernel, axis=1)


@pytest.mark.parametrize(
    ("size_px", "n_lines", "max_amplitude"), [(64, 1, 1.0), (80, 60, 1.0), (71, 25, 2.5)]
)
def test_the_lines_object_follows_its_recipe(size_px, n_lines, max_amplitude):
    image = np.zeros((2 * size_px, 2 * size_px))
    for x0, y0, x1, y1 in generator(KEY).integers(0, 2 * size_px, size=(n_lines, 4)):
        image[line(y0, x0, y1, x1)] = 1
    whole = blurred(image, 1) + 2 * blurred(image, 5) + 5 * blurred(image, 10)
    centre = whole[size_px // 2 :, size_px // 2 :][:size_px, :size_px]
    expected = max_amplitude * centre / centre.max()
    obj = lines(size_px, n_lines=n_lines, max_amplitude=max_amplitude, rng=generator(KEY))
    assert obj.shape == (size_px, size_px)
    assert np.abs(obj.real - expected).max() < 0.51 * FIELD_GRID
    assert not obj.imag.any()


@settings(deadline=None, max_examples=10)
@given(max_amplitude=st.floats(0.1, 10), max_phase_rad=st.floats(-np.pi, np.pi))
def test_the_phase_is_proportional_to_the_amplitude(max_amplitude, max_phase_rad):
    amplitude = lines(64, n_lines=30, max_amplitude=max_amplitude, rng=generator(KEY)).real
    obj = lines_phase(
        64, n_lines=30, max_amplitude=max_amplitude, max_phase_rad=max_phase_rad, rng=generator(KEY)
    )
    expected = amplitude * np.exp(1j * max_phase_rad * amplitude / max_amplitude)
    assert np.abs(obj - expected).max() <= FIELD_GRID
    # Half a grid step of the amplitude, and half a step of each part of the complex value.
    assert np.abs(obj).max() == pytest.approx(max_amplitude, abs=FIELD_GRID * (1 + np.sqrt(2)) / 2)
    assert amplitude.min() >= 0


def test_another_seed_is_another_object():
    one, two = (
        lines(
            64, n_lines=30, max_amplitude=1.0, rng=generator(philox_key("object", seed, "seen"))
        ).real.ravel()
        for seed in (1, 2)
    )
    assert np.corrcoef(one, two)[0, 1] < 0.9
