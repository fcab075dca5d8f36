"""Groups: who may be in one, what a draw depends on, and that every pattern can be covered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.physics.grouping import Groups, GroupsTooWideError, group_neighbours, group_reach_px
from ptychodose.physics.randomness import philox_key

KEY = philox_key("test")
scans = st.builds(
    lambda seed, n: np.random.default_rng(seed).uniform(0, 100, (2, n)),
    st.integers(0, 1000),
    st.integers(9, 40),
)


def group(scan, **changes):
    return group_neighbours(
        *scan, **{"gridsize": 2, "n_neighbours": 6, "groups_per_position": 1, "key": KEY} | changes
    )


def same(first, second):
    return np.array_equal(first.members, second.members) and np.array_equal(
        first.positions_yx, second.positions_yx
    )


@given(scans, st.integers(3, 8), st.integers(1, 3), st.booleans())
@settings(deadline=None)
def test_members_are_distinct_and_near_and_their_offsets_cancel(scan, neighbours, repeats, with_self):
    groups = group(scan, n_neighbours=neighbours, groups_per_position=repeats, always_include_self=with_self)
    x, y = scan
    assert groups.members.shape == (repeats * len(x), 4) and groups.members.dtype == np.int64
    assert all(len(set(members)) == 4 for members in groups.members)
    np.testing.assert_array_equal(groups.positions_yx, np.stack([y, x], axis=-1)[groups.members])
    centres = np.repeat(np.arange(len(x)), repeats)
    distance = np.hypot(*(scan[:, groups.members] - scan[:, centres, None]))
    every = np.sort(np.hypot(*(scan[:, None] - scan[:, :, None])), axis=1)
    assert (distance <= every[centres, neighbours][:, None] + 1e-9).all()
    np.testing.assert_allclose(groups.offsets_yx.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(groups.centre_yx[:, None] + groups.offsets_yx, groups.positions_yx)


@given(scans, st.lists(st.integers(0, 8), min_size=1, max_size=9, unique=True), st.booleans())
@settings(deadline=None)
def test_a_group_depends_on_key_position_and_number_alone(scan, rows, with_self):
    rows = np.array(rows)
    whole = group(scan, groups_per_position=3, always_include_self=with_self)
    assert same(whole, group(scan, groups_per_position=3, always_include_self=with_self))
    part = group(scan, groups_per_position=2, positions=rows, always_include_self=with_self)
    numbers = (3 * rows[:, None] + np.arange(2)).ravel()
    assert same(part, whole[numbers])


def test_another_key_draws_other_groups():
    scan = np.random.default_rng(0).uniform(0, 100, (2, 50))
    assert not same(group(scan), group(scan, key=philox_key("another")))


def test_a_position_may_miss_its_own_group_unless_it_is_asked_for():
    scan = np.random.default_rng(0).uniform(0, 100, (2, 50))
    own = np.arange(50)
    assert not (group(scan).members == own[:, None]).any(axis=1).all()
    assert np.array_equal(group(scan, always_include_self=True).members[:, 0], own)


def test_every_choice_of_the_neighbourhood_is_drawn_equally_often():
    """C of K + 1 without replacement: each of the 7 nearest in 4/7 of the groups."""
    scan = np.random.default_rng(0).uniform(0, 100, (2, 7))
    members = group(scan, groups_per_position=500).members
    shares = np.bincount(members.ravel()) / len(members)
    np.testing.assert_allclose(shares, 4 / 7, atol=0.03)


def test_gridsize_1_makes_every_pattern_its_own_group():
    scan = np.array([[3.25], [4.75]])
    groups = group(scan, gridsize=1)
    assert groups.members.tolist() == [[0]]
    np.testing.assert_array_equal(groups.offsets_yx, np.zeros((1, 1, 2)))


def test_coinciding_positions_are_neighbours_and_still_distinct():
    scan = np.full((2, 12), 5.0)
    groups = group(scan, always_include_self=True)
    assert np.array_equal(groups.members[:, 0], np.arange(12))
    assert all(len(set(members)) == 4 for members in groups.members)


def test_frames_lie_on_the_pixels_of_the_object():
    groups = group(np.random.default_rng(0).uniform(0, 100, (2, 50)))
    origin = groups.frame_origin_yx
    np.testing.assert_array_equal(origin, np.rint(origin))
    np.testing.assert_allclose(origin[:, None] + groups.frame_offsets_yx, groups.positions_yx)
    assert np.abs(groups.frame_offsets_yx.mean(axis=1)).max() <= 0.5


@given(scans, st.booleans())
@settings(deadline=None)
def test_no_group_lies_beyond_the_reach(scan, with_self):
    groups = group(scan, groups_per_position=20, always_include_self=with_self)
    assert groups.max_offset_px <= group_reach_px(*scan, gridsize=2)


def test_too_few_positions_or_neighbours_are_refused():
    scan = np.random.default_rng(0).uniform(0, 100, (2, 6))
    with pytest.raises(ValueError, match="6 positions are too few for 6 neighbours"):
        group(scan)
    with pytest.raises(ValueError, match="6 positions are too few for 6 neighbours"):
        group_reach_px(*scan, gridsize=2)
    with pytest.raises(ValueError, match="2 neighbours cannot fill a group of 4"):
        group(scan, n_neighbours=2)


def test_groups_that_reach_out_of_the_frame_are_refused():
    groups = Groups(np.array([[0, 1]]), np.array([[[10.0, 3.0], [30.5, 3.0]]]))
    assert groups.max_offset_px == 10.5
    groups.refuse_beyond(11)
    with pytest.raises(GroupsTooWideError, match=r"up to 10\.5 px .* room for 10 px"):
        groups.refuse_beyond(10)
    assert Groups(np.empty((0, 4), np.int64), np.empty((0, 4, 2))).max_offset_px == 0
