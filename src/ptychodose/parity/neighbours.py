"""The nearest scan positions, the same on every machine: ties must not be left to the search tree."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Real = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

TIE_PX = 1e-6
"""Distances are rounded to this before they are compared: on a raster many are equal up to rounding."""

_BATCH = 2**14


def nearest_rows(points: Real, count: int) -> Indices:
    """Rows of the ``count`` nearest points of each point, itself first, ties in the order of their rows.

    Parameters
    ----------
    points : (n, 2) float64, object pixels, n at least ``count``

    Returns
    -------
    (n, count) int64
    """
    # Points that coincide share a site, or a scan that never moved would need all n^2 distances.
    sites, site_of = np.unique(points, axis=0, return_inverse=True)
    rows_of = _first_rows(site_of, len(sites), count)
    tree = cKDTree(sites)
    nearest = np.empty((len(points), count), np.int64)
    nearest[:, 0] = np.arange(len(points))
    for first in range(0, len(points), _BATCH):
        todo = nearest[first : first + _BATCH, 0]
        k = min(2 * count, len(sites))
        while len(todo):
            distances, found = tree.query(points[todo], k=np.arange(1, k + 1))
            distances = np.rint(distances / TIE_PX)
            rows, far = rows_of[found], np.repeat(distances[..., None], rows_of.shape[1], axis=2)
            far = np.where((rows < 0) | (rows == todo[:, None, None]), np.inf, far).reshape(len(todo), -1)
            rows = rows.reshape(len(todo), -1)
            order = np.lexsort((rows, far))[:, : count - 1]
            nearest[todo, 1:] = np.take_along_axis(rows, order, axis=1)
            # Further sites may tie with the last one taken, unless the last one looked at is beyond it.
            last = np.take_along_axis(far, order[:, -1:], axis=1)[:, 0]
            todo = todo[distances[:, -1] <= last] if k < len(sites) else todo[:0]
            k = min(2 * k, len(sites))
    return nearest


def _first_rows(site_of: Indices, n_sites: int, count: int) -> Indices:
    """(n_sites, m) the first rows at each site, at most ``count``; -1 where there are fewer."""
    order = np.argsort(site_of, kind="stable")
    starts = np.searchsorted(site_of[order], np.arange(n_sites))
    place = np.arange(len(order)) - starts[site_of[order]]
    kept = place < count
    rows = np.full((n_sites, int(place[kept].max()) + 1), -1, np.int64)
    rows[site_of[order][kept], place[kept]] = order[kept]
    return rows
