"""Small data sets with a known dose."""

import numpy as np
import pytest


@pytest.fixture
def members():
    """The arrays of a RawData file of 24 patterns of 16 x 16 pixels, about 200 photons each, on a raster."""
    rng = np.random.default_rng(11)
    n, size_px, dose_photons = 24, 16, 200
    rows, columns = np.divmod(np.arange(n), 6)
    counts = rng.poisson(dose_photons / size_px**2, (n, size_px, size_px))
    return {
        "diff3d": np.sqrt(counts / dose_photons).astype(np.float32),
        "probeGuess": rng.normal(size=(size_px, size_px)) + 1j * rng.normal(size=(size_px, size_px)),
        "scan_index": np.repeat([4, 7], n // 2),
        "xcoords": 10 + 0.1 * columns,
        "ycoords": 20 + 0.1 * rows,
        "xcoords_start": 10 + 0.1 * columns,
        "ycoords_start": 20 + 0.1 * rows,
        "objectGuess": rng.normal(size=(20, 24)) + 1j * rng.normal(size=(20, 24)),
    }


@pytest.fixture
def save(tmp_path):
    """Write arrays with NumPy, as somebody else would."""

    def write(arrays, name="scan.npz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
        return path

    return write
