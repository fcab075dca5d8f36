"""The two ways an archive is packed, by its ending."""

import gzip
import importlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from ptychodose.bundle.pieces import Writer
from ptychodose.bundle.stored_gzip import StoredGzip
from ptychodose.errors import UserError

GZIP, ZSTD = ".tar.gz", ".tar.zst"
ENDINGS = (GZIP, ZSTD)
_LEVEL = 10
_MAX_WINDOW_BYTES = 2**27
"""The most memory a packed file may ask for."""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive; any other is a folder's."""
    return path.name.endswith(ENDINGS)


@contextmanager
def packed(archive: Path, target: Writer) -> Iterator[Writer]:
    """Pack what is written; ``target`` takes the packed bytes."""
    if archive.name.endswith(GZIP):
        stored = StoredGzip(target)
        yield stored
        stored.close()
    else:
        stream = _zstandard().ZstdCompressor(level=_LEVEL).stream_writer(target, closefd=False)
        yield stream
        stream.close()


def unpacked(archive: Path, stream: IO[bytes]) -> IO[bytes]:
    """The unpacked bytes of an archive."""
    if archive.name.endswith(GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    unpacker = _zstandard().ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    return cast(IO[bytes], unpacker.stream_reader(stream, read_across_frames=True))


def read_errors(archive: Path) -> tuple[type[Exception], ...]:
    """What reading damaged packed bytes raises."""
    if archive.name.endswith(GZIP):
        return EOFError, zlib.error, gzip.BadGzipFile
    return (_zstandard().ZstdError,)


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise UserError(
            "tar.zst needs the package zstandard; `pip install zstandard`, or take a name ending in .tar.gz"
        ) from None
