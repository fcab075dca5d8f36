"""Counter-based random numbers: what is drawn depends on *what it is for*, never on when it is drawn.

Every generator is a Philox (Salmon et al. 2011, doi:10.1145/2063384.2063405) whose key is a hash of a
purpose ("object", "positions", "photons"...) and whose counter starts at an index. Chunk size, threads,
processes and order therefore change nothing.
"""

import hashlib

import numpy as np
import numpy.typing as npt


def philox_key(*purpose: str | int | float) -> npt.NDArray[np.uint64]:
    """The 128-bit Philox key of a purpose.

    Parameters
    ----------
    *purpose
        Words and numbers that name the draw, for instance ``("photons", seed, dose_photons, "train")``.
        Numbers are compared by value: ``1e5`` and ``100000.0`` give the same key.

    Returns
    -------
    (2,) uint64
    """
    text = "|".join(word if isinstance(word, str) else repr(float(word)) for word in purpose)
    digest = hashlib.sha256(f"ptychodose/1|{text}".encode()).digest()
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)


def generator(key: npt.NDArray[np.uint64], index: int = 0) -> np.random.Generator:
    """The generator of item ``index`` under ``key``; items never overlap (2**192 draws apart)."""
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
