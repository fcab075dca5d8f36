"""From photon counts to object patches with a trained network."""

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.physics.halving import halve, input_scale, network_input


def predict_patches(
    network: keras.Model,
    counts: npt.NDArray[np.int64],
    *,
    mean_photons: float,
    key: npt.NDArray[np.uint64],
    first_index: int,
) -> npt.NDArray[np.complex128]:
    """Patches (n, N, N) of consecutive patterns, in the flux units the network was trained with.

    Both halves of each pattern's photons are predicted and averaged: each is as noisy as what the network
    was trained on, and together they use every photon.

    Parameters
    ----------
    counts : (n, N, N) int64
    mean_photons : float
        Measured mean photons per pattern of the dataset the counts belong to.
    key, first_index
        Set the halving of pattern i by (key, first_index + i) alone.
    """
    indices = np.arange(first_index, first_index + len(counts))
    scale = input_scale(mean_photons / 2, counts.shape[-1])
    patches = np.zeros(counts.shape, dtype=np.complex128)
    for half in halve(counts, key, indices):
        predicted = keras.ops.convert_to_numpy(network.predict_on_batch(network_input(half, scale)))
        patches += 0.5 * predicted[..., 0] * np.exp(1j * predicted[..., 1].astype(np.float64))
    return patches
