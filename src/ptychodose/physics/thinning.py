"""Thinning a pattern's photons: two independent measurements out of one.

A network that is trained to predict the very photons it sees learns to copy their noise. Each photon is
therefore sent at random to one of two parts: if n ~ Poisson(L), the photons seen, n_s ~ Binomial(n, q), and
the hidden ones, n - n_s, are *independent* Poisson(q L) and Poisson((1 - q) L) counts, so one part can be the
input and the other the target (Noise2Noise, Lehtinen et al. 2018, arXiv:1803.04189, by Poisson thinning).
The share q is drawn for every pattern anew, so that the network meets many noise levels and can in the end
look at all the photons at once.
"""

import numpy as np
import numpy.typing as npt

from ptychodose.physics.randomness import generator

SEEN_SHARE = (0.5, 0.9)
"""From half the photons, where both parts are equally noisy, to nine tenths: what is hidden must suffice as
a target."""


def counts_of(patterns: npt.NDArray[np.float32], dose_photons: float) -> npt.NDArray[np.int64]:
    """Photon counts n = diff3d^2 D of patterns (n, N, N).

    Exact up to 2^22 counts per pixel, where float32 still tells neighbouring counts apart; above, wrong by at
    most n 2^-23 + 0.5, far below their Poisson noise.
    """
    return np.rint(np.square(patterns, dtype=np.float64) * dose_photons).astype(np.int64)


def thin(
    counts: npt.NDArray[np.int64], key: npt.NDArray[np.uint64], indices: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The photons seen of every pattern, and the share q in which they were drawn.

    Parameters
    ----------
    counts : (n, N, N) int64
    key : (2,) uint64
    indices : (n,) int64
        The patterns' indices in their dataset: a pattern's draw depends on the key and its index alone.

    Returns
    -------
    seen : (n, N, N) int64
    share : (n,) float64, uniform in :data:`SEEN_SHARE`
    """
    seen, share = np.empty_like(counts), np.empty(len(counts))
    for i, index in enumerate(indices):
        rng = generator(key, int(index))
        share[i] = rng.uniform(*SEEN_SHARE)
        seen[i] = rng.binomial(counts[i], share[i])
    return seen, share


def network_input(
    counts: npt.NDArray[np.int64], scale: float | npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Normalised input X = scale sqrt(counts), with a channel axis: (n, N, N, 1) float32."""
    return (scale * np.sqrt(counts)).astype(np.float32)[..., None]


def input_scale(mean_photons: npt.ArrayLike, size_px: int) -> npt.NDArray[np.float64]:
    """The scale for which mean_i sum X_i^2 = (N/2)^2 when patterns have ``mean_photons`` on average."""
    return np.asarray(size_px / 2 / np.sqrt(mean_photons))
