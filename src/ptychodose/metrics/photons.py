"""Poisson deviance: how well predicted rates explain counted photons."""

import numpy as np
import numpy.typing as npt
from scipy.special import kl_div

from ptychodose.metrics.checks import LARGEST, SMALLEST, require_same_shape
from ptychodose.metrics.undefined import Undefined

RATE_FLOOR_PHOTONS = 1e-3
"""The floor this project uses: a pixel that expects fewer photons is taken to expect this many."""


def poisson_deviance(
    counts: npt.NDArray[np.number], rates: npt.NDArray[np.number], *, rate_floor: float
) -> npt.NDArray[np.float64]:
    """Return the deviance 2 Σ [n log(n/λ) - (n - λ)] of each diffraction pattern, with 0 log 0 := 0.

    counts: (n, N, N) photons n, integers or floats (a square root that was squared need not be whole);
    rates: (n, N, N) expected photons λ; rate_floor: photons, λ is max(λ, rate_floor) throughout, so that a
    photon where none was expected costs much but not infinitely much. Returns (n,) float64, each >= 0; with
    n = λ >= rate_floor everywhere it is 0. At the true rates it is about 1 per pixel where λ is large, and
    less where λ is well below 1.

    Raises ValueError (not 3-D, shapes differ, a negative or non-finite count, a negative rate, rate_floor
    not positive) and Undefined (a rate that is not finite).

    Source: Nelder, Wedderburn, J. R. Stat. Soc. A 135 (1972) 370, doi:10.2307/2344614.
    """
    counts, rates = np.asarray(counts), np.asarray(rates)
    require_same_shape(counts, rates)
    if counts.ndim != 3:
        raise ValueError(f"counts and rates must be (n, N, N), got shape {counts.shape}")
    if not SMALLEST < rate_floor < LARGEST:
        raise ValueError(f"rate_floor must be positive and finite, got {rate_floor}")
    # Pattern by pattern: the float64 copies stay as small as one pattern, whatever n is.
    return np.array(
        [_deviance(n, rate, rate_floor) for n, rate in zip(counts, rates, strict=True)], dtype=np.float64
    )


def deviance_ratio(
    prediction_deviance: npt.NDArray[np.floating], truth_deviance: npt.NDArray[np.floating]
) -> float:
    """Return Σ prediction / Σ truth of two (n,) deviances: 1 is the noise limit, below 1 is over-fitting.

    Both are those of `poisson_deviance` for the same counts: one at the predicted, one at the true rates.

    Raises ValueError (shapes differ) and Undefined (the truth's deviance sums to 0, or a sum is not finite).
    """
    require_same_shape(prediction_deviance, truth_deviance)
    prediction, truth = np.sum(prediction_deviance, dtype=float), np.sum(truth_deviance, dtype=float)
    if not np.isfinite([prediction, truth]).all():
        raise Undefined("a deviance is not finite")
    if truth <= SMALLEST:
        raise Undefined("the deviance at the true rates is zero")
    return float(prediction / truth)


def _deviance(counts: npt.NDArray[np.number], rates: npt.NDArray[np.number], rate_floor: float) -> float:
    n, rate = counts.astype(np.float64), rates.astype(np.float64)
    if not np.all((n >= 0) & (n < LARGEST)):
        raise ValueError("a count is negative or not finite")
    if not np.all(np.abs(rate) < LARGEST):
        raise Undefined("a predicted rate is not finite")
    if (rate < 0).any():
        raise ValueError("a rate is negative")
    # kl_div(n, λ) is n log(n/λ) - n + λ, exact at n = 0; near n = λ rounding may go below 0.
    return float(2 * np.sum(np.maximum(kl_div(n, np.maximum(rate, rate_floor)), 0.0)))
