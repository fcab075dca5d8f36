"""Rounding to a grid: onto it, to the nearest point, once and for all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ptychodose.physics.rounding import FIELD_GRID, POSITION_GRID_PX, to_grid

VALUES = arrays(np.float64, 20, elements=st.floats(-1e4, 1e4))


@given(values=VALUES, grid=st.sampled_from([FIELD_GRID, POSITION_GRID_PX]))
def test_rounded_values_lie_on_the_grid_and_next_to_the_original(values, grid):
    rounded = to_grid(values, grid)
    assert np.array_equal(rounded / grid, np.rint(rounded / grid))
    assert np.abs(rounded - values).max() <= grid / 2
    assert np.array_equal(to_grid(rounded, grid), rounded)


@given(real=VALUES, imaginary=VALUES)
def test_complex_values_are_rounded_in_both_parts(real, imaginary):
    values = real + 1j * imaginary
    rounded = to_grid(values, FIELD_GRID)
    assert rounded.dtype == np.complex128
    assert np.array_equal(rounded.real, to_grid(real, FIELD_GRID))
    assert np.array_equal(rounded.imag, to_grid(imaginary, FIELD_GRID))
