"""Groups of neighbouring patterns (gridsize G, C = G^2): PHYSICS section 4."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ptychodose.physics.randomness import generator

Real = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class GroupsTooWideError(ValueError):
    """Patterns of a group lie too far from each other for its common frame."""


@dataclass(frozen=True)
class Groups:
    """g groups of C patterns each, C = G^2."""

    members: Indices
    """(g, C) rows of the patterns; the members of a group differ."""
    positions_yx: Real
    """(g, C, 2) positions of the members, object pixels (row, column)."""

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, rows: slice | Indices) -> "Groups":
        """Some of the groups."""
        return Groups(self.members[rows], self.positions_yx[rows])

    @property
    def centre_yx(self) -> Real:
        """c, the mean of each group's positions, (g, 2) object pixels."""
        return np.asarray(self.positions_yx.mean(axis=1))

    @property
    def offsets_yx(self) -> Real:
        """r - c, (g, C, 2) pixels: they sum to zero in each group."""
        return self.positions_yx - self.centre_yx[:, None]

    @property
    def frame_origin_yx(self) -> Real:
        """The object pixel nearest to c, (g, 2): the middle of the group's common frame."""
        return np.rint(self.centre_yx)

    @property
    def frame_offsets_yx(self) -> Real:
        """r - rint(c), (g, C, 2) pixels.

        With these the common frame lies on the object's own pixels, and a patch cut out of it bilinearly is
        the patch that physics.diffraction.cut_patches cuts out of the object. Around c itself, a frame of
        pixels between the object's would have to be interpolated twice.
        """
        return self.positions_yx - self.frame_origin_yx[:, None]

    @property
    def max_offset_px(self) -> float:
        """The largest distance of a member from its frame's origin along an axis."""
        return float(np.abs(self.frame_offsets_yx).max(initial=0.0))

    def refuse_beyond(self, pad_px: int) -> None:
        """Raise a GroupsTooWideError if a patch would reach out of a frame padded by ``pad_px``."""
        if self.max_offset_px > pad_px:
            raise GroupsTooWideError(
                f"a group's patterns lie up to {self.max_offset_px:.1f} px from its centre, but the common "
                f"frame has room for {pad_px} px; take a wider frame or fewer neighbours"
            )


def group_neighbours(
    x: Real,
    y: Real,
    *,
    gridsize: int,
    n_neighbours: int = 6,
    groups_per_position: int = 1,
    key: npt.NDArray[np.uint64],
    positions: Indices | None = None,
    always_include_self: bool = False,
) -> Groups:
    """Groups of C = gridsize^2 patterns drawn among each position and its nearest neighbours.

    A gridsize of 1 makes every pattern a group, once. Otherwise C of the ``n_neighbours`` + 1 patterns (the
    position's own and those nearest to it) are drawn without replacement, ``groups_per_position`` times.
    Such a draw can miss a pattern altogether; ``always_include_self`` draws only the other C - 1 and puts
    the position first, so that a prediction of these groups covers every pattern. What a group holds depends
    on ``key``, its position and its number at that position alone.

    Parameters
    ----------
    x, y : (n,) float64, object pixels, in which neighbours are sought
    key : (2,) uint64, see physics.randomness
    positions : rows to make groups for, all if None

    Raises
    ------
    ValueError
        There are too few positions, or ``n_neighbours`` cannot fill a group.
    """
    centres = np.arange(len(x)) if positions is None else np.asarray(positions, dtype=np.int64)
    points = np.column_stack([y, x])
    channels = gridsize**2
    if gridsize == 1:
        members = centres[:, None]
        return Groups(members, points[members])
    if n_neighbours + 1 < channels:
        raise ValueError(f"{n_neighbours} neighbours cannot fill a group of {channels} patterns")
    nearest = _nearest(points, centres, n_neighbours + 1)
    members = np.empty((len(centres), groups_per_position, channels), dtype=np.int64)
    for row, centre in enumerate(centres):
        rng = generator(key, int(centre))
        for number in range(groups_per_position):
            # A whole permutation, so that a group does not depend on how many are drawn after it.
            order = rng.permutation(n_neighbours + 1)
            if always_include_self:
                order = np.append(0, order[order != 0])
            members[row, number] = nearest[row, order[:channels]]
    members = members.reshape(-1, channels)
    return Groups(members, points[members])


def group_reach_px(x: Real, y: Real, *, gridsize: int, n_neighbours: int = 6) -> float:
    """How far from its frame's origin along an axis a pattern of any possible group can lie.

    Of C points within a range R, none is further than R (C - 1) / C from their mean, whose rounding adds at
    most half a pixel.

    Raises
    ------
    ValueError
        There are too few positions.
    """
    points = np.column_stack([y, x])
    nearest = points[_nearest(points, np.arange(len(points)), n_neighbours + 1)]
    widest = float(np.ptp(nearest, axis=1).max())
    return widest * (gridsize**2 - 1) / gridsize**2 + 0.5


def _nearest(points: Real, centres: Indices, count: int) -> Indices:
    """(len(centres), count) rows of the nearest points, itself first even where points coincide."""
    if len(points) < count:
        raise ValueError(f"{len(points)} positions are too few for {count - 1} neighbours each")
    _, found = cKDTree(points).query(points[centres], k=count)
    nearest = np.asarray(found, dtype=np.int64)
    for row, centre in enumerate(centres):
        others = nearest[row][nearest[row] != centre]
        nearest[row] = np.append(centre, others[: count - 1])
    return nearest
