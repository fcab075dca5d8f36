"""NPZ files whose bytes depend on the arrays alone, written and read in chunks.

Members are compressed with bzip2: np.load reads it like any NPZ, it packs photon counts better than
deflate, and its output is the same with every build of its one library, which is not true of deflate
(zlib, zlib-ng and hardware versions all differ). Dates and permissions in the archive are fixed.
"""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from ptychodose.errors import UserError


@dataclass(frozen=True)
class Header:
    """What an NPY header says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool


# RuntimeError: an encrypted member; NotImplementedError, a kind of it: an unknown compression.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    # NumPy's parser of damaged headers
    TypeError,
    SyntaxError,
    tokenize.TokenError,
)


class NpzWriter:
    """Write the members of an NPZ one after another."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2, compresslevel=9)

    def __enter__(self) -> "NpzWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def write(self, key: str, array: npt.NDArray[Any]) -> None:
        """Write a whole array."""
        self.write_chunks(key, array.shape, array.dtype, [array])

    def write_chunks(
        self,
        key: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        chunks: Iterable[npt.NDArray[Any]],
    ) -> None:
        """Write an array that arrives in consecutive pieces along its first axis."""
        dtype = np.dtype(dtype)
        info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_BZIP2
        info.create_system = 3  # Unix, wherever it is written
        info.external_attr = 0o644 << 16
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        )
        written = 0
        with self._archive.open(info, "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for chunk in chunks:
                member.write(np.ascontiguousarray(chunk, dtype=dtype).tobytes())
                written += chunk.size
        if written != math.prod(shape):
            raise ValueError(f"{key}: {written} values written, {math.prod(shape)} announced")


class NpzReader:
    """Read an NPZ with no trust: no pickles, sizes checked before memory is taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise UserError(f"{path}: not found") from None
        except _READ_ERRORS as error:
            raise UserError(f"{path}: not a complete NPZ (zip) file: {error}") from None
        self.keys = [name[:-4] for name in self._archive.namelist() if name.endswith(".npy")]

    def __enter__(self) -> "NpzReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def header(self, key: str) -> Header:
        """Shape, dtype and order of a member, without reading its data."""
        with self._member(key) as (_, header):
            return header

    def array(self, key: str) -> npt.NDArray[Any]:
        """A whole member."""
        with self._member(key) as (stream, header):
            data = self._read(stream, key, header.dtype.itemsize * math.prod(header.shape))
        order: Literal["C", "F"] = "F" if header.fortran_order else "C"
        return np.frombuffer(data, header.dtype).reshape(header.shape, order=order)

    def chunks(self, key: str, size: int) -> Iterator[npt.NDArray[Any]]:
        """A member in consecutive pieces of ``size`` along its first axis."""
        with self._member(key) as (stream, header):
            if header.fortran_order:
                raise UserError(
                    f"{self.path}: {key}: stored in Fortran order; save np.ascontiguousarray of it"
                )
            n, *rest = header.shape
            row = header.dtype.itemsize * math.prod(rest)
            for start in range(0, n, size):
                rows = min(size, n - start)
                data = self._read(stream, key, rows * row)
                yield np.frombuffer(data, header.dtype).reshape((rows, *rest))

    def _read(self, stream: IO[bytes], key: str, n_bytes: int) -> bytes:
        try:
            data = stream.read(n_bytes)
        except _READ_ERRORS as error:
            raise UserError(f"{self.path}: {key}: damaged or truncated data ({error})") from None
        if len(data) < n_bytes:
            raise UserError(f"{self.path}: {key}: the data ends before its header says")
        return data

    @contextmanager
    def _member(self, key: str) -> Iterator[tuple[IO[bytes], Header]]:
        """An open member, positioned behind its checked header."""
        if key not in self.keys:
            raise UserError(
                f"{self.path}: {key}: missing key; the file holds {', '.join(self.keys) or 'none'}"
            )
        with ExitStack() as opened:
            try:
                stream = opened.enter_context(self._archive.open(f"{key}.npy"))
                header = _read_header(stream)
            except _READ_ERRORS as error:
                raise UserError(f"{self.path}: {key}: not a readable NumPy array ({error})") from None
            stored = self._archive.getinfo(f"{key}.npy").file_size - stream.tell()
            if math.prod(header.shape) * header.dtype.itemsize != stored:
                raise UserError(
                    f"{self.path}: {key}: its header claims shape {header.shape} of {header.dtype}, "
                    f"which is not the {stored} bytes stored"
                )
            yield stream, header


def _read_header(stream: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"unknown format version {version}")
    shape, fortran_order, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never loaded")
    return Header(shape, dtype, fortran_order and len(shape) > 1)
