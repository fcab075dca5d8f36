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


def test_an_object_linear_in_y_and_x_is_exact_at_subpixel_positions(places):
    y, x = np.mgrid[:45, :37]
    obj = (1 + 0.2 * y - 0.3 * x) + 1j * (0.5 * y + 0.1 * x - 3)
    patch = cut_patches(obj, *places, 16, "bilinear")
    result, weight = on_object(stitched(patch, *places, [slice(None)]), obj.shape)
    assert np.count_nonzero(weight) > 300
    np.testing.assert_allclose(result[weight > 0], obj[weight > 0], rtol=1e-12)


@given(shift=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)))
def test_a_patch_sampled_between_the_pixels_is_put_on_them_to_second_order(shift):
    def quadratic(y, x):
        return (1 + 0.2 * y - 0.03 * x**2) + 1j * (0.05 * y**2 + 0.1 * x * y - 3)

    x, y = 18 + np.array([shift[1]]), 21 + np.array([shift[0]])
    steps = np.arange(16) - 8
    patch = quadratic(y + steps[:, None], x + steps)[None]
    result = stitched(patch, x, y, [slice(None)])
    assert (result.origin_yx, result.obj.shape) == ((21 - 3, 18 - 3), (KEPT, KEPT))
    expected = quadratic(*np.mgrid[21 - 3 : 21 + 3, 18 - 3 : 18 + 3].astype(float))
    # Keys' cubic convolution reproduces polynomials of degree 2 in y and in x.
    np.testing.assert_allclose(result.obj, expected, rtol=1e-12, atol=1e-11)


def test_a_whole_patch_can_be_kept_and_is_exact_but_for_its_outermost_pixels():
    y, x = np.mgrid[:45, :37]
    obj = (1 + 0.2 * y - 0.3 * x) + 1j * (0.5 * y + 0.1 * x)
    at_x, at_y = np.array([18.25]), np.array([21.75])
    patch = cut_patches(obj, at_x, at_y, 16, "bilinear")
    result, weight = on_object(stitched(patch, at_x, at_y, [slice(None)], kept_px=16), obj.shape)
    assert weight.sum() == 16**2
    inside = np.s_[21 - 6 : 21 + 7, 18 - 6 : 18 + 7]
    np.testing.assert_allclose(result[inside], obj[inside], rtol=1e-12)


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
