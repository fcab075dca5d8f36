"""An NPZ file as the manifest describes it: contract, keys, and every array by shape, dtype and hash."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.bundle.manifest_schema import ArrayFacts, NpzFacts
from ptychodose.errors import UserError
from ptychodose.formats.npz import Header, NpzReader
from ptychodose.formats.rawdata import REQUIRED_VECTORS, RawDataFile

REQUIRED = ("diff3d", "probeGuess", "scan_index", *REQUIRED_VECTORS)
OPTIONAL = ("objectGuess",)
_CHUNK_BYTES = 2**20


def describe_npz(path: Path, *, dataset: bool) -> tuple[NpzFacts, str | None]:
    """The facts, and what is wrong with the file in one sentence, None if nothing is.

    Parameters
    ----------
    dataset
        Whether it should keep the RawData contract; the keys of other NPZ files are all required.
    """
    problem = _breach(path) if dataset else None
    arrays: dict[str, ArrayFacts] = {}
    try:
        with NpzReader(path) as reader:
            arrays = {key: _array(reader, key) for key in sorted(reader.keys)}
    except UserError as error:
        problem = problem or str(error)
    required, optional = (REQUIRED, OPTIONAL) if dataset else (tuple(arrays), ())
    facts = NpzFacts(
        contract=(problem or "good") if dataset else None,
        required=[key for key in required if key in arrays],
        optional=[key for key in optional if key in arrays],
        extra=[key for key in arrays if key not in (*required, *optional)],
        arrays=arrays,
    )
    return facts, problem


def _breach(path: Path) -> str | None:
    """The sentence that says which rule of the contract the file breaks."""
    try:
        for _ in RawDataFile(path).patterns():
            pass
    except UserError as error:
        return str(error)
    return None


def _array(reader: NpzReader, key: str) -> ArrayFacts:
    header = reader.header(key)
    digest = hashlib.sha256()
    for piece in _pieces(reader, key, header):
        little = np.ascontiguousarray(piece, piece.dtype.newbyteorder("<"))
        digest.update(little.tobytes())
    return ArrayFacts(shape=list(header.shape), dtype=header.dtype.name, sha256=digest.hexdigest())


def _pieces(reader: NpzReader, key: str, header: Header) -> Iterable[npt.NDArray[Any]]:
    if header.fortran_order or not header.shape:
        return iter([reader.array(key)])
    row = header.dtype.itemsize * math.prod(header.shape[1:])
    chunks: Iterator[npt.NDArray[Any]] = reader.chunks(key, max(_CHUNK_BYTES // max(row, 1), 1))
    return chunks
