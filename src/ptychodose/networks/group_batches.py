"""Groups of thinned patterns: what a network of groups learns from, and what it predicts."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.networks.prediction import to_complex
from ptychodose.networks.training import shuffled_rows, thinned_batch
from ptychodose.physics.grouping import Groups, group_neighbours
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.thinning import input_scale, network_input

Inputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Normalised patterns (b, N, N, C) and offsets (b, C, 2) in pixels."""


@dataclass(frozen=True)
class ThinnedGroups:
    """Batches (the seen photons of each of a group's patterns and its offsets, the hidden ones' fractions).

    As training.ThinnedPatterns, with new random groups in every epoch. An epoch shows as many patterns as
    there are: the groups of n / C randomly chosen positions, a pattern perhaps in several of them. Neighbours
    are sought among these patterns only, so that those of training and of validation never share a group.
    """

    patterns: npt.NDArray[np.float32]
    """diff3d of the patterns to use, (n, N, N)."""
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    """Their positions, (n,) object pixels."""
    dose_photons: float
    mean_photons: float
    """Measured mean photons per pattern of the train set."""
    gridsize: int
    n_neighbours: int
    pad_px: int
    """The network's: groups that do not fit into its frame are refused."""
    batch_size: int
    """Groups in a batch."""
    seed: int

    @property
    def steps(self) -> int:
        """Whole batches in an epoch; at least one, which may then be smaller."""
        return max(self._n_groups // self.batch_size, 1)

    @property
    def _n_groups(self) -> int:
        return max(len(self.patterns) // self.gridsize**2, 1)

    def batch(self, epoch: int, step: int) -> tuple[Inputs, npt.NDArray[np.float32]]:
        """Step ``step`` of epoch ``epoch``, both from 0; the target is (b C, N, N, 1), group after group."""
        groups = self.groups(epoch, step)
        rows = groups.members.ravel()
        key = philox_key("thinning", self.seed, self.dose_photons, epoch)
        seen, hidden = thinned_batch(self.patterns[rows], rows, key, self.dose_photons, self.mean_photons)
        return group_input(seen, groups), hidden

    def groups(self, epoch: int, step: int) -> Groups:
        """The groups of a step."""
        positions = shuffled_rows(len(self.patterns), self._n_groups, self.seed, epoch, 0)
        first = step * self.batch_size
        groups = group_neighbours(
            self.x,
            self.y,
            gridsize=self.gridsize,
            n_neighbours=self.n_neighbours,
            key=philox_key("groups", self.seed, epoch),
            positions=positions[first : first + self.batch_size],
        )
        groups.refuse_beyond(self.pad_px)
        return groups


def group_input(patterns: npt.NDArray[np.float32], groups: Groups) -> Inputs:
    """The network's inputs from the members' normalised patterns (g C, N, N, 1), group after group."""
    channels = patterns.reshape(*groups.members.shape, *patterns.shape[1:3]).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(channels), groups.frame_offsets_yx.astype(np.float32)


def predict_group_patches(
    network: keras.Model, counts: npt.NDArray[np.int64], groups: Groups, *, mean_photons: float
) -> npt.NDArray[np.complex128]:
    """Patches (g, C, N, N) of all members of some groups, in the flux units the network was trained with.

    Parameters
    ----------
    counts : (g, C, N, N) int64
        The counts of ``groups.members``.
    mean_photons : float
        Measured mean photons per pattern of the dataset the counts belong to.
    """
    size_px = counts.shape[-1]
    patterns = network_input(counts.reshape(-1, size_px, size_px), input_scale(mean_photons, size_px))
    inputs = group_input(patterns, groups)
    return to_complex(keras.ops.convert_to_numpy(network.predict_on_batch(list(inputs))))
