"""A small RawData file as NumPy writes it, and ways to spoil it."""

import numpy as np
import pytest


@pytest.fixture
def members():
    """The arrays of a valid RawData file of 5 patterns of 8 x 8 pixels, its object 20 high and 24 wide."""
    rng = np.random.default_rng(7)
    n, size_px = 5, 8
    x, y = rng.uniform(4, 18, n), rng.uniform(4, 14, n)
    return {
        "diff3d": np.sqrt(rng.poisson(3.0, (n, size_px, size_px)) / 200).astype(np.float32),
        "probeGuess": rng.normal(size=(size_px, size_px)) + 1j * rng.normal(size=(size_px, size_px)),
        "scan_index": np.array([0, 0, 0, 1, 1]),
        "xcoords": x,
        "ycoords": y,
        "xcoords_start": x + 0.25,
        "ycoords_start": y - 0.25,
        "objectGuess": rng.normal(size=(20, 24)) + 1j * rng.normal(size=(20, 24)),
    }


@pytest.fixture
def save(tmp_path):
    """Write arrays with NumPy, as somebody else would, plain or compressed."""

    def write(arrays, writer=np.savez):
        path = tmp_path / "scan.npz"
        writer(path, **arrays)
        return path

    return write
