"""Scan positions: how many, where they may lie, how evenly, and how much neighbours overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from ptychodose.physics.diffraction import cut_patches
from ptychodose.physics.randomness import generator, philox_key
from ptychodose.physics.scans import Field, fermat_spiral, overlap, raster, uniform

FIELD = Field(10.0, 70.0, 20.0, 60.0)
SIZE_PX = 8


def scan(kind, n, field, jitter_fraction=0.7, seed=1):
    rng = generator(philox_key("positions", seed, "train"))
    if kind == "uniform":
        return uniform(n, field, rng=rng)
    if kind == "raster":
        return raster(n, field, jitter_fraction=jitter_fraction, rng=rng)
    return fermat_spiral(n, field, rng=np.random.default_rng(seed))


def test_the_field_holds_every_centre_whose_window_fits_and_no_other():
    field = Field.inside((100, 80), 64)
    assert (field.x_min, field.x_max, field.y_min, field.y_max) == (32, 47, 32, 67)
    assert (field.width, field.height) == (15, 35)
    x, y = np.array([32, 47, 31.999, 47.001, 40, 40]), np.array([32, 67, 50, 50, 31.999, 67.001])
    assert field.contains(x, y).tolist() == [True, True, False, False, False, False]


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["uniform", "raster", "fermat"]),
    n=st.integers(1, 400),
    shape=st.tuples(st.integers(SIZE_PX + 2, 150), st.integers(SIZE_PX + 2, 150)),
    jitter_fraction=st.floats(0, 1),
    seed=st.integers(0, 2**53),
)
def test_any_scan_has_exactly_n_positions_all_inside_the_field(kind, n, shape, jitter_fraction, seed):
    field = Field.inside(shape, SIZE_PX)
    x, y = scan(kind, n, field, jitter_fraction, seed)
    assert x.shape == y.shape == (n,)
    assert field.contains(x, y).all()
    windows = cut_patches(np.ones(shape, complex), x, y, SIZE_PX, "bilinear")
    assert (windows == 1).all()


def test_a_raster_without_jitter_is_regular():
    x, y = scan("raster", 24, FIELD, jitter_fraction=0)
    assert np.array_equal(x.reshape(4, 6), np.tile([15.0, 25, 35, 45, 55, 65], (4, 1)))
    assert np.array_equal(y.reshape(4, 6), np.repeat([25.0, 35, 45, 55], 6).reshape(4, 6))


def test_a_raster_of_a_count_that_does_not_fit_has_rows_of_nearly_equal_length():
    _, y = scan("raster", 26, FIELD, jitter_fraction=0)
    rows, lengths = np.unique(y, return_counts=True)
    assert np.ptp(lengths) == 1
    assert np.ptp(np.diff(rows)) < 1e-4


@pytest.mark.parametrize("jitter_fraction", [0.3, 1.0])
def test_jitter_moves_a_position_by_at_most_its_share_of_half_a_step(jitter_fraction):
    regular = scan("raster", 24, FIELD, jitter_fraction=0)
    for still, moved in zip(regular, scan("raster", 24, FIELD, jitter_fraction), strict=True):
        largest = np.abs(moved - still).max()
        assert 0.7 * jitter_fraction * 5 < largest <= jitter_fraction * 5 + 2**-16


def test_uniform_positions_fill_the_field():
    x, y = scan("uniform", 4000, FIELD)
    counts = np.histogram2d(x, y, bins=(6, 4), range=[[10, 70], [20, 60]])[0]
    assert ((counts - 4000 / 24) ** 2 / (4000 / 24)).sum() < 23 + 5 * np.sqrt(2 * 23)


@pytest.mark.parametrize("n", [50, 256, 1024])
def test_a_fermat_spiral_fills_the_field_evenly(n):
    x, y = scan("fermat", n, FIELD)
    counts = np.histogram2d(x, y, bins=(3, 2), range=[[10, 70], [20, 60]])[0]
    # The spiral is even in the interior; only the field's boundary cuts points off.
    assert np.abs(counts - n / 6).max() < 1.5 * np.sqrt(n / 6)
    points = np.column_stack([x, y])
    nearest = KDTree(points).query(points, k=2)[0][:, 1]
    pitch = np.sqrt(FIELD.width * FIELD.height / n)
    # The first points of a spiral lie closest, about pitch / sqrt(pi) apart; independent ones would come as
    # close as 0.05 pitch.
    assert nearest.min() > 0.85 * pitch / np.sqrt(np.pi)
    assert np.sort(nearest)[8] > 0.85 * pitch
    assert nearest.max() < 1.3 * pitch


def test_a_fermat_spiral_starts_in_the_middle_and_keeps_its_innermost_points():
    x, y = scan("fermat", 100, FIELD)
    radius = np.hypot(x - 40, y - 40)
    assert (np.diff(radius) > -1e-4).all()
    # r^2 grows by the same amount from each point to the next, so long as none is cut off by the field.
    inside = np.diff(radius[:40] ** 2)
    np.testing.assert_allclose(inside, inside.mean(), rtol=2e-3)


def test_two_fermat_spirals_of_one_length_share_no_position():
    first, second = (np.column_stack(scan("fermat", 100, FIELD, seed=seed)) for seed in (1, 2))
    assert KDTree(first).query(second)[0].min() > 1e-3


def test_the_overlap_of_a_square_lattice_is_that_of_its_step():
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[0:40:5, 0:50:5])
    shared = overlap(x, y, 20.0)
    assert shared.nearest_distance_px == pytest.approx(5, rel=1e-14)
    assert shared.linear_overlap == pytest.approx(0.75, rel=1e-14)
    assert shared.illuminations_per_pixel == pytest.approx(
        80 * np.pi * 100 / ((45 + 20) * (35 + 20)), rel=1e-14
    )


def test_illuminations_that_do_not_touch_have_no_overlap():
    assert overlap(np.array([0.0, 30.0]), np.zeros(2), 20.0).linear_overlap == 0
    alone = overlap(np.zeros(1), np.zeros(1), 20.0)
    assert alone.linear_overlap == 0
    assert alone.illuminations_per_pixel == pytest.approx(np.pi / 4, rel=1e-14)
