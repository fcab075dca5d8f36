"""The overlap constraint against direct interpolation, and what it must leave alone."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.ndimage import map_coordinates

from ptychodose.networks.overlap import (
    CutObject,
    CutOut,
    IlluminationWeight,
    IntoFrame,
    Merge,
    OverlapConstraint,
)
from ptychodose.physics.diffraction import cut_patches
from ptychodose.physics.stitching import Canvas

SIZE, PAD = 16, 4
FRAME = SIZE + 2 * PAD


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def patches(rng):
    """Two groups of three patches, two channels."""
    return rng.normal(size=(2, 3, SIZE, SIZE, 2)).astype(np.float32)


@pytest.fixture
def offsets(rng):
    return rng.uniform(-PAD, PAD, (2, 3, 2)).astype(np.float32)


@pytest.fixture
def weight(rng):
    return rng.uniform(0.1, 1, (SIZE, SIZE)).astype(np.float32)


def keys(distance):
    """Keys' kernel, written as he did."""
    d = abs(distance)
    if d < 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def line(values, place, kernel):
    """One value between samples, pixel by pixel in float64, the edge repeated."""
    place = min(max(place, 0.0), len(values) - 1.0)
    weights = [kernel(place - i) for i in range(len(values))]
    return np.dot(weights, values) / sum(weights)


def direct(image, origin, count, kernel):
    """``count`` x ``count`` pixels of an image from (row, column) ``origin`` on."""
    rows = np.array([[line(column, origin[0] + i, kernel) for column in image.T] for i in range(count)])
    return np.array([[line(row, origin[1] + j, kernel) for j in range(count)] for row in rows])


def direct_constraint(patches, offsets, weight):
    """The overlap constraint of one group and one channel in float64 NumPy."""
    total, weighted = np.zeros((FRAME, FRAME)), np.zeros((FRAME, FRAME))
    ring = np.pad(weight, 1)
    for patch, offset in zip(patches, offsets, strict=True):
        frame_weight = direct(ring, 1 - PAD - offset, FRAME, lambda d: max(1 - abs(d), 0))
        total += frame_weight
        weighted += frame_weight * direct(patch, -PAD - offset, FRAME, keys)
    merged = np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    return np.array([direct(merged, PAD + offset, SIZE, keys) for offset in offsets])


def gradient(function, at):
    """Of a scalar function of arrays, by the backend."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses TensorFlow's gradient tape")
    variables = [tf.Variable(array) for array in at]
    with tf.GradientTape() as tape:
        value = function(*variables)
    return [part.numpy() for part in tape.gradient(value, variables)]


@pytest.mark.parametrize("kernel", ["cubic", "bilinear"])
def test_whole_pixels_are_moved_exactly(patches, kernel):
    offsets = np.array([[[0, 0], [4, -4], [-3, 2]], [[1, 1], [-4, 0], [2, 3]]], np.float32)
    frames = ops.convert_to_numpy(IntoFrame(SIZE, PAD, kernel)(patches, offsets))
    assert frames.shape == (2, 3, FRAME, FRAME, 2)
    for g, k in np.ndindex(2, 3):
        top, left = PAD + offsets[g, k].astype(int)
        np.testing.assert_array_equal(frames[g, k, top : top + SIZE, left : left + SIZE], patches[g, k])
    cut = CutOut(SIZE, PAD, kernel)(frames[:, 1], offsets)
    np.testing.assert_array_equal(ops.convert_to_numpy(cut)[:, 1], patches[:, 1])


def test_bilinear_translation_is_scipys(patches, offsets):
    frames = ops.convert_to_numpy(IntoFrame(SIZE, PAD, "bilinear")(patches, offsets))
    cut = ops.convert_to_numpy(CutOut(SIZE, PAD)(frames[:, 0], offsets))
    for g, k in np.ndindex(2, 3):
        places = np.indices((FRAME, FRAME)) - PAD - offsets[g, k][:, None, None]
        expected = map_coordinates(patches[g, k, ..., 1], places, order=1, mode="nearest")
        np.testing.assert_allclose(frames[g, k, ..., 1], expected, atol=2e-5)
        places = np.indices((SIZE, SIZE)) + PAD + offsets[g, k][:, None, None]
        expected = map_coordinates(frames[g, 0, ..., 0], places, order=1, mode="nearest")
        np.testing.assert_allclose(cut[g, k, ..., 0], expected, atol=2e-5)


def test_cubic_translation_is_that_of_the_stitching(patches, offsets):
    frame = ops.convert_to_numpy(IntoFrame(SIZE, PAD)(patches, offsets))[0, 2]
    y, x = (np.array([20.0 + offset]) for offset in offsets[0, 2].astype(float))
    canvas = Canvas(x, y, kept_px=8)
    canvas.add(patches[0, 2:3, ..., 0] + 1j * patches[0, 2:3, ..., 1], x, y)
    stitched = canvas.result()
    # Frame index N/2 + pad is the object pixel 20.
    top, left = (start - 20 + SIZE // 2 + PAD for start in stitched.origin_yx)
    part = frame[top : top + 8, left : left + 8]
    np.testing.assert_allclose(part[..., 0] + 1j * part[..., 1], stitched.obj, atol=2e-5)


def test_constraint_is_the_direct_computation(patches, offsets, weight):
    found = ops.convert_to_numpy(OverlapConstraint(SIZE, PAD)(patches, offsets, weight))
    assert found.shape == patches.shape
    for g, channel in ((0, 0), (1, 1)):
        expected = direct_constraint(patches[g, ..., channel], offsets[g], weight)
        np.testing.assert_allclose(found[g, ..., channel], expected, atol=5e-5)


def test_gradients_agree_with_finite_differences(patches, offsets, weight, rng):
    seen_by = rng.normal(size=patches.shape).astype(np.float32)
    layer = OverlapConstraint(SIZE, PAD)
    by_patches, by_offsets = gradient(lambda p, o: ops.sum(layer(p, o, weight) * seen_by), (patches, offsets))

    def exact(at_patches, at_offsets):
        return sum(
            np.sum(direct_constraint(at_patches[0, ..., c], at_offsets[0], weight) * seen_by[0, ..., c])
            for c in (0, 1)
        )

    def difference(array, index, step, value):
        up, down = array.astype(float), array.astype(float)
        up[index] += step
        down[index] -= step
        return (value(up) - value(down)) / (2 * step)

    for index in [(0, 0, 8, 8, 0), (0, 2, 1, 15, 1)]:
        slope = difference(patches, index, 1e-3, lambda p: exact(p, offsets.astype(float)))
        assert by_patches[index] == pytest.approx(slope, rel=1e-3, abs=1e-4)
    for index in [(0, 0, 0), (0, 1, 1)]:
        slope = difference(offsets, index, 1e-5, lambda o: exact(patches.astype(float), o))
        assert by_offsets[index] == pytest.approx(slope, rel=2e-3, abs=2e-2)


@pytest.mark.parametrize("kernel", ["cubic", "bilinear"])
def test_a_constant_stays_constant(offsets, weight, kernel):
    constant = np.full((2, 3, SIZE, SIZE, 1), 0.7, np.float32)
    frames = IntoFrame(SIZE, PAD, kernel)(constant, offsets)
    np.testing.assert_allclose(ops.convert_to_numpy(frames), 0.7, rtol=1e-5)
    merged = OverlapConstraint(SIZE, PAD, kernel)(constant, 0.4 * offsets, weight)
    np.testing.assert_allclose(ops.convert_to_numpy(merged)[:, :, 4:-4, 4:-4], 0.7, rtol=1e-5)


def test_the_weights_of_a_merge_are_a_partition_of_unity(offsets):
    """A weight of one everywhere counts the patches on a pixel; each of three lifts the mean by a third."""
    ones = np.ones((SIZE, SIZE), np.float32)
    patches = np.zeros((2, 3, SIZE, SIZE, 1), np.float32)
    merge = Merge(SIZE, PAD)
    _, total = merge(patches, offsets, ones)
    inside = np.s_[:, 2 * PAD : -2 * PAD, 2 * PAD : -2 * PAD]
    np.testing.assert_allclose(ops.convert_to_numpy(total)[inside], 3, rtol=1e-5)
    patches[:, 1] = 1
    mean, _ = merge(patches, offsets, ones)
    np.testing.assert_allclose(ops.convert_to_numpy(mean)[inside], 1 / 3, rtol=1e-5)


def test_where_no_patch_is_the_fallback_stands():
    offsets = np.full((1, 1, 2), PAD, np.float32)
    merge = Merge(SIZE, PAD, fallback=-2.0)
    mean, total = merge(
        np.ones((1, 1, SIZE, SIZE, 1), np.float32), offsets, np.ones((SIZE, SIZE), np.float32)
    )
    mean, total = ops.convert_to_numpy(mean)[0, ..., 0], ops.convert_to_numpy(total)[0, ..., 0]
    bare = np.ones((FRAME, FRAME), bool)
    bare[2 * PAD :, 2 * PAD :] = False
    assert (mean[bare] == -2).all() and (total[bare] == 0).all()
    assert (mean[~bare] == 1).all() and (total[~bare] == 1).all()


def test_the_brighter_patch_decides(patches):
    """The weighted mean, by hand: two patches one pixel apart under an illumination of one bright row."""
    weight = np.full((SIZE, SIZE), 0.1, np.float32)
    weight[8] = 1.0
    offsets = np.array([[[0, 0], [1, 0]]], np.float32)
    mean, _ = Merge(SIZE, PAD)(patches[:1, :2], offsets, weight)
    first, second = patches[0, 0, 8], patches[0, 1, 7]
    expected = (1.0 * first + 0.1 * second) / 1.1
    row = ops.convert_to_numpy(mean)[0, PAD + 8, PAD : PAD + SIZE]
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_smooth_object_comes_back(offsets, weight):
    """Patches of one smooth object agree already, so that the constraint changes next to nothing.

    But for their edges: there some patches repeat their last pixel, with hardly a weight.
    """
    weight = weight * np.outer(*2 * [np.sin(np.pi * (np.arange(SIZE) + 0.5) / SIZE) ** 4]).astype(np.float32)
    rows, columns = np.indices((FRAME + 8, FRAME + 8))
    obj = np.sin(rows / 5) * np.cos(columns / 6) + 1j * np.cos(rows / 7 + columns / 5)
    middle = len(obj) // 2
    patches = np.stack(
        [
            cut_patches(obj, middle + o[:, 1], middle + o[:, 0], SIZE, "bilinear")
            for o in offsets.astype(float)
        ]
    )
    patches = np.stack([patches.real, patches.imag], axis=-1).astype(np.float32)
    merged = ops.convert_to_numpy(OverlapConstraint(SIZE, PAD)(patches, offsets, weight))
    inside = np.s_[:, :, 4:-4, 4:-4]
    assert np.abs(merged - patches)[inside].max() < 0.01


def test_cut_objects_are_the_simulators_patches(rng, offsets):
    """Amplitude and phase in, amplitude and phase out; complex numbers are interpolated."""
    amplitude, phase = rng.uniform(0.2, 1, (FRAME, FRAME)), rng.uniform(-3, 3, (FRAME, FRAME))
    frame = np.stack([amplitude, phase], axis=-1)[None].astype(np.float32)
    found = ops.convert_to_numpy(CutObject(SIZE, PAD)(frame, offsets[:1]))[0]
    middle = PAD + SIZE // 2
    y, x = middle + offsets[0].astype(float).T
    expected = cut_patches(amplitude * np.exp(1j * phase), x, y, SIZE, "bilinear")
    np.testing.assert_allclose(found[..., 0] * np.exp(1j * found[..., 1]), expected, atol=1e-5)


def test_an_object_of_zero_has_finite_gradients(offsets):
    frame = np.zeros((2, FRAME, FRAME, 2), np.float32)
    slope, _ = gradient(lambda f, o: ops.sum(CutObject(SIZE, PAD)(f, o)), (frame, offsets))
    assert np.isfinite(slope).all()


def test_illumination_weight_follows_the_intensity(rng):
    probe = rng.normal(size=(SIZE, SIZE, 2)).astype(np.float32)
    intensity = np.sum(probe**2, axis=-1)
    found = ops.convert_to_numpy(IlluminationWeight(floor=0.01)(probe))
    np.testing.assert_allclose(found, intensity / intensity.max() + 0.01, rtol=1e-5)
    assert np.isfinite(ops.convert_to_numpy(IlluminationWeight()(0 * probe))).all()


@pytest.mark.parametrize("group_size", [1, 3])
def test_predicting_often_survives(group_size):
    """Broadcast matrix products crash TensorFlow at random, with one pattern in a group most often."""
    patches, offsets = keras.Input((group_size, 64, 64, 2)), keras.Input((group_size, 2))
    weight = np.ones((64, 64), np.float32)
    model = keras.Model([patches, offsets], Merge(64, 8)(patches, offsets, weight)[0])
    inputs = [np.ones((2, group_size, 64, 64, 2), np.float32), np.zeros((2, group_size, 2), np.float32)]
    for _ in range(50):
        assert model.predict_on_batch(inputs).shape == (2, 80, 80, 2)
