"""The RawData NPZ contract: what a set of diffraction patterns is, here and in the legacy pipeline.

======================== ======== ================ ====================== ====================================
key                      required shape            dtype                  note
======================== ======== ================ ====================== ====================================
diff3d                   yes      (n, N, N)        float32                amplitude, zero frequency (N/2, N/2)
probeGuess               yes      (N, N)           complex128             complex64 accepted
scan_index               yes      (n,)             int64                  which scan a pattern belongs to
xcoords, ycoords         yes      (n,)             float64                patch centres, object pixels
xcoords_start, ..._start yes      (n,)             float64                deprecated: the first positions
objectGuess              no       (H, W)           complex128             the true object of a simulated set
======================== ======== ================ ====================== ====================================

Files in the wild may hold ``diffraction`` (N, N, n) instead of diff3d; it is accepted on reading.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_file
from ptychodose.formats.npz import NpzReader, NpzWriter

REQUIRED_VECTORS = ("xcoords", "ycoords", "xcoords_start", "ycoords_start")
CHUNK_PATTERNS = 64


@dataclass(frozen=True)
class Scan:
    """Everything of a RawData file but its patterns."""

    probe: npt.NDArray[np.complex128]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    x_start: npt.NDArray[np.float64]
    y_start: npt.NDArray[np.float64]
    scan_index: npt.NDArray[np.int64]
    obj: npt.NDArray[np.complex128] | None

    @property
    def size_px(self) -> int:
        """N."""
        return len(self.probe)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> "Scan":
        return Scan(
            self.probe,
            self.x[rows],
            self.y[rows],
            self.x_start[rows],
            self.y_start[rows],
            self.scan_index[rows],
            self.obj,
        )


class RawDataFile:
    """A RawData file, checked against the contract while it is read.

    Raises
    ------
    UserError
        Naming the file, the key and the rule: a missing key; wrong rank; N not equal between diff3d and
        probeGuess; non-finite, negative or complex diff3d; positions non-finite or of another length; an
        empty scan; a truncated or non-zip file; pickled object arrays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with NpzReader(path) as reader:
            self.keys = tuple(reader.keys)
            self.legacy_axes = "diff3d" not in reader.keys and "diffraction" in reader.keys
            self._key = "diffraction" if self.legacy_axes else "diff3d"
            n, size_px = self._check_patterns(reader)
            self.scan = self._read_scan(reader, n, size_px)

    def patterns(self, size: int = CHUNK_PATTERNS) -> Iterator[npt.NDArray[np.float32]]:
        """The patterns (m, N, N) float32 in order, ``size`` at a time, each checked."""
        with NpzReader(self.path) as reader, closing(self._chunks(reader, size)) as chunks:
            for stored in chunks:
                with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
                    chunk = np.ascontiguousarray(stored, dtype=np.float32)
                # min and max are NaN if any value is, so two passes catch all three faults.
                low, high = chunk.min(), chunk.max()
                if not (np.isfinite(low) and np.isfinite(high)):
                    raise self._refuse(self._key, "must be finite, it holds NaN or infinity")
                if low < 0:
                    raise self._refuse(self._key, f"holds amplitudes, which are not negative (found {low})")
                yield chunk

    def _chunks(self, reader: NpzReader, size: int) -> Generator[npt.NDArray[Any]]:
        """The patterns as stored, (m, N, N)."""
        if self.legacy_axes:
            whole = np.moveaxis(reader.array(self._key), -1, 0)
            yield from (whole[start : start + size] for start in range(0, len(whole), size))
        else:
            yield from reader.chunks(self._key, size)

    def all_patterns(self) -> npt.NDArray[np.float32]:
        """All patterns, (n, N, N) float32."""
        size_px = self.scan.size_px
        whole = np.empty((len(self.scan), size_px, size_px), np.float32)
        start = 0
        for chunk in self.patterns():
            whole[start : start + len(chunk)] = chunk
            start += len(chunk)
        return whole

    def _check_patterns(self, reader: NpzReader) -> tuple[int, int]:
        header = reader.header(self._key)
        if len(header.shape) != 3:
            raise self._refuse(self._key, f"must have 3 axes, it has shape {header.shape}")
        if header.dtype.kind == "c":
            raise self._refuse(self._key, "holds amplitudes, it must be real, not complex")
        if header.dtype.kind not in "fiu":
            raise self._refuse(self._key, f"must be float32, not {header.dtype}")
        height, width, n = header.shape if self.legacy_axes else (*header.shape[1:], header.shape[0])
        if n == 0 or width == 0:
            raise self._refuse(self._key, "is an empty scan; at least one pattern is needed")
        if height != width:
            raise self._refuse(self._key, f"patterns must be square, they are {height} x {width}")
        return n, width

    def _read_scan(self, reader: NpzReader, n: int, size_px: int) -> Scan:
        shape = reader.header("probeGuess").shape
        if shape != (size_px, size_px):
            raise self._refuse(
                "probeGuess", f"must be {size_px} x {size_px} as the patterns are, its shape is {shape}"
            )
        probe = self._complex(reader, "probeGuess")
        vectors = {key: self._vector(reader, key, n) for key in REQUIRED_VECTORS}
        scan_index = self._vector(reader, "scan_index", n)
        if scan_index.dtype.kind not in "iu":
            raise self._refuse("scan_index", f"must hold integers, not {scan_index.dtype}")
        obj = self._complex(reader, "objectGuess") if "objectGuess" in reader.keys else None
        x, y, x_start, y_start = (vectors[key].astype(np.float64) for key in REQUIRED_VECTORS)
        return Scan(probe, x, y, x_start, y_start, scan_index.astype(np.int64), obj)

    def _complex(self, reader: NpzReader, key: str) -> npt.NDArray[np.complex128]:
        array = reader.array(key)
        if array.ndim != 2:
            raise self._refuse(key, f"must have 2 axes, it has shape {array.shape}")
        if array.dtype.kind != "c":
            raise self._refuse(key, f"must be complex128, not {array.dtype}")
        if not np.isfinite(array).all():
            raise self._refuse(key, "must be finite, it holds NaN or infinity")
        return array.astype(np.complex128)

    def _vector(self, reader: NpzReader, key: str, n: int) -> npt.NDArray[Any]:
        shape = reader.header(key).shape
        if shape != (n,):
            raise self._refuse(key, f"must have one value for each of the {n} patterns, its shape is {shape}")
        array = reader.array(key)
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise self._refuse(key, "must hold finite numbers")
        return array

    def _refuse(self, key: str, rule: str) -> UserError:
        return UserError(f"{self.path}: {key}: {rule}")


def write_rawdata(path: Path, patterns: Iterable[npt.NDArray[np.float32]], scan: Scan) -> None:
    """Write a RawData file atomically, its patterns arriving in consecutive chunks (m, N, N)."""
    with atomic_file(path) as partial, NpzWriter(partial) as writer:
        writer.write_chunks("diff3d", (len(scan), scan.size_px, scan.size_px), np.float32, patterns)
        writer.write("probeGuess", scan.probe)
        writer.write("scan_index", scan.scan_index)
        for key, vector in zip(REQUIRED_VECTORS, (scan.x, scan.y, scan.x_start, scan.y_start), strict=True):
            writer.write(key, vector)
        if scan.obj is not None:
            writer.write("objectGuess", scan.obj)
