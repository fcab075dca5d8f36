"""Stitching: what is cut out of an object comes back, whatever the batches, and the covered rectangle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ptychodose.physics.diffraction import cut_patches
from ptychodose.physics.stitching import Canvas, fully_covered_rectangle

KEPT = 6


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(4)
    return rng.normal(size=(30, 16, 16)) + 1j * rng.normal(size=(30, 16, 16))


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(10, 30, 30), rng.uniform(10, 22, 30)
    x[:3] = np.rint(x[:3])
    return x, y


def stitched(patches, x, y, batches, kept_px=KEPT):
    canvas = Canvas(x, y, kept_px)
    for rows in batches:
        canvas.add(patches[rows], x[rows], y[rows])
    return canvas.result()


def on_object(result, shape):
    """The stitched object and its weight in the frame of the whole object."""
    top, left = result.origin_yx
    rows, columns = (
        slice(start, start + size) for start, size in zip((top, left), result.obj.shape, strict=True)
    )
    obj, weight = np.zeros(shape, complex), np.zeros(shape)
    obj[rows, columns], weight[rows, columns] = result.obj, result.weight
    return obj, weight


def test_a_patch_at_an_integral_position_comes_back_exactly_where_it_was(rough_object):
    x, y = np.array([17.0]), np.array([23.0])
    patch = cut_patches(rough_object, x, y, 16, "bilinear")
    obj, weight = on_object(stitched(patch, x, y, [slice(None)]), rough_object.shape)
    inside = np.s_[23 - 3 : 23 + 3, 17 - 3 : 17 + 3]
    assert np.array_equal(obj[inside], rough_object[inside])
    assert (weight[inside] == 1).all()
    assert weight.sum() == KEPT**2 and np.count_nonzero(obj) == KEPT**2


def test_overlapping_patches_of_one_object_at_integral_positions_give_it_back(rough_object):
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[10:30:3, 10:26:4])
    patch = cut_patches(rough_object, x, y, 16, "bilinear")
    obj, weight = on_object(stitched(patch, x, y, [slice(None)]), rough_object.shape)
    np.testing.assert_allclose(obj[weight > 0], rough_object[weight > 0], rtol=1e-14)
    assert weight.max() > 1


@given(shift=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)))
def test_an_object_linear_in_y_and_x_is_exact_at_subpixel_positions(shift):
    y, x = np.mgrid[:45, :37]
    obj = (1 + 0.2 * y - 0.3 * x) + 1j * (0.5 * y + 0.1 * x - 3)
    # All four lie within one pixel: their edges, where the far side of the interpolation is missing, coincide.
    at_x, at_y = 18 + np.array([shift[0], 0.25, 0.5, 0.0]), 21 + np.array([shift[1], 0.0, 0.75, 0.5])
    patch = cut_patches(obj, at_x, at_y, 16, "bilinear")
    result, _ = on_object(stitched(patch, at_x, at_y, [slice(None)]), obj.shape)
    inside = np.s_[21 - 2 : 21 + 3, 18 - 2 : 18 + 3]
    np.testing.assert_allclose(result[inside], obj[inside], rtol=1e-12, atol=1e-12)


def test_a_constant_is_exact_everywhere_and_every_patch_has_the_same_weight(places):
    x, y = places
    result = stitched(np.full((30, 16, 16), 2 - 1j), x, y, [slice(None)])
    np.testing.assert_allclose(result.obj[result.weight > 0], 2 - 1j, rtol=1e-12)
    assert result.weight.sum() == pytest.approx(30 * KEPT**2, rel=1e-12)
    assert not result.obj[result.weight == 0].any()


@given(cuts=st.sets(st.integers(1, 29)), order=st.permutations(range(30)))
def test_batches_of_any_size_in_any_order_give_the_same_canvas(patches, places, cuts, order):
    order = np.array(order)
    whole = stitched(patches, *places, [slice(None)])
    parts = stitched(patches, *places, np.split(order, sorted(cuts)))
    assert parts.origin_yx == whole.origin_yx
    np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-12)
    covered = whole.weight > 1e-3
    np.testing.assert_allclose(parts.obj[covered], whole.obj[covered], rtol=0, atol=1e-12 / 1e-3)


@given(covered=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_the_covered_rectangle_is_the_largest_there_is(covered):
    rows, columns = fully_covered_rectangle(covered)
    height, width = covered.shape
    largest = max(
        (
            (bottom - top) * (right - left)
            for top in range(height)
            for bottom in range(top + 1, height + 1)
            for left in range(width)
            for right in range(left + 1, width + 1)
            if covered[top:bottom, left:right].all()
        ),
        default=0,
    )
    found = covered[rows, columns]
    assert found.size == largest
    assert found.all()
