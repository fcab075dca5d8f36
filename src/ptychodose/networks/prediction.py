"""From photon counts to object patches with a trained network."""

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.physics.thinning import input_scale, network_input


def predict_patches(
    network: keras.Model, counts: npt.NDArray[np.int64], *, mean_photons: float
) -> npt.NDArray[np.complex128]:
    """Patches (n, N, N) of patterns, in the flux units the network was trained with.

    Parameters
    ----------
    counts : (n, N, N) int64
    mean_photons : float
        Measured mean photons per pattern of the dataset the counts belong to.
    """
    inputs = network_input(counts, input_scale(mean_photons, counts.shape[-1]))
    return to_complex(keras.ops.convert_to_numpy(network.predict_on_batch(inputs)))


def to_complex(predicted: npt.NDArray[np.float32]) -> npt.NDArray[np.complex128]:
    """(..) complex from amplitude and phase in radians (.., 2)."""
    return np.asarray(predicted[..., 0] * np.exp(1j * predicted[..., 1].astype(np.float64)))
