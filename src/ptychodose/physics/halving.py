"""Halving a pattern's photons: two independent measurements out of one.

A network that is trained to predict the very photons it sees learns to copy their noise. Each photon is
therefore sent at random to one of two halves: if n ~ Poisson(L), the halves n_a ~ Binomial(n, 1/2) and
n - n_a are *independent* Poisson(L/2) counts, so one half can be the input and the other the target
(Noise2Noise, Lehtinen et al. 2018, arXiv:1803.04189, by Poisson thinning).
"""

import numpy as np
import numpy.typing as npt

from ptychodose.physics.randomness import generator


def counts_of(patterns: npt.NDArray[np.float32], dose_photons: float) -> npt.NDArray[np.int64]:
    """Photon counts n = diff3d^2 D of patterns (n, N, N).

    Exact up to 2^22 counts per pixel, where float32 still tells neighbouring counts apart; above, wrong by at
    most n 2^-23 + 0.5, far below their Poisson noise.
    """
    return np.rint(np.square(patterns, dtype=np.float64) * dose_photons).astype(np.int64)


def halve(
    counts: npt.NDArray[np.int64], key: npt.NDArray[np.uint64], indices: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The two halves of every pattern; the draw of a pattern depends on the key and its index alone.

    Parameters
    ----------
    counts : (n, N, N) int64
    key : (2,) uint64
    indices : (n,) int64, the patterns' indices in their dataset
    """
    first = np.empty_like(counts)
    for i, index in enumerate(indices):
        first[i] = generator(key, int(index)).binomial(counts[i], 0.5)
    return first, counts - first


def network_input(counts: npt.NDArray[np.int64], scale: float) -> npt.NDArray[np.float32]:
    """Normalised input X = scale sqrt(counts), with a channel axis: (n, N, N, 1) float32."""
    return (scale * np.sqrt(counts)).astype(np.float32)[..., None]


def input_scale(mean_photons: float, size_px: int) -> float:
    """The scale for which mean_i sum X_i^2 = (N/2)^2 when patterns have ``mean_photons`` on average."""
    return float(size_px / 2 / np.sqrt(mean_photons))
