"""Plain files in a tar: written so that only names and contents count, read with no trust.

A bundle needs the oldest part of the format only: one header of 512 bytes and the content, padded, for each
file. Whatever else a tar can hold (links, devices, folders, extended headers) is refused on reading.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from ptychodose.errors import UserError

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 2**20
END = bytes(2 * BLOCK)
_MAX_BYTES = 8 * 2**30 - 1


class DamagedError(Exception):
    """What is wrong with a bundle, without its name."""


def header(name: str, size: int) -> bytes:
    """The header of a file.

    Raises
    ------
    UserError
        The name or the size does not fit the format.
    """
    if size > _MAX_BYTES:
        raise UserError(f"{name}: larger than the 8 GiB a tar holds; pack into a folder instead")
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 315532800  # 1980-01-01, as in NPZ files
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8")
    except ValueError:
        raise UserError(f"{name}: too long a name for a tar; pack into a folder instead") from None


def padding(size: int) -> bytes:
    """Zeros up to the next block."""
    return bytes(-size % BLOCK)


def tar_size(sizes: list[int]) -> int:
    """Bytes of a tar of files of these sizes."""
    return sum(BLOCK + size + len(padding(size)) for size in sizes) + len(END)


class Budget:
    """A stream of which no more than ``left`` bytes may be read: what unpacks to more is an attack."""

    def __init__(self, stream: IO[bytes], errors: tuple[type[Exception], ...], left: int) -> None:
        self._stream, self._errors, self.left = stream, errors, left

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, fewer at the end only."""
        self.left -= size
        if self.left < 0:
            raise DamagedError("it unpacks to more than its manifest lists; it is not to be trusted")
        pieces = []
        try:
            while size and (piece := self._stream.read(size)):
                pieces.append(piece)
                size -= len(piece)
        except self._errors as error:
            raise DamagedError(f"damaged or cut off ({error})") from None
        return b"".join(pieces)


@dataclass
class Incoming:
    """A file of a bundle that is being read; its content is read once, before the next file."""

    name: str
    size: int
    _stream: Budget | IO[bytes]

    def __post_init__(self) -> None:
        self._left = self.size

    def chunks(self) -> Iterator[bytes]:
        """The content, or what is left of it.

        Raises
        ------
        DamagedError
            It ends too early.
        """
        while self._left:
            data = self._stream.read(min(self._left, CHUNK_BYTES))
            if not data:
                raise DamagedError(f"it ends inside {self.name!a}; copy it again")
            self._left -= len(data)
            yield data


def read_tar(stream: Budget) -> Iterator[Incoming]:
    """The files of a tar in their order.

    Raises
    ------
    DamagedError
        It is cut off or holds anything that :func:`header` does not write.
    """
    while (block := stream.read(BLOCK)) != bytes(BLOCK):
        name, size = _parse(block)
        incoming = Incoming(name, size, stream)
        yield incoming
        for _ in incoming.chunks():
            pass
        if stream.read(-size % BLOCK) != padding(size):
            raise DamagedError(f"not zero behind {name!a}, or cut off there; copy it again")
    stream.left = max(stream.left, 2 * BLOCK)
    if stream.read(BLOCK) != bytes(BLOCK) or stream.read(1):
        raise DamagedError("it does not end as a tar does; copy it again")


def _parse(block: bytes) -> tuple[str, int]:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise DamagedError(f"damaged or cut off ({error}); copy it again") from None
    if info.type != tarfile.REGTYPE:
        raise DamagedError(
            f"{info.name!a}: a link, folder, device or other special member, which a bundle never holds; "
            "it is not to be trusted"
        )
    if info.size < 0:
        raise DamagedError(f"{info.name!a}: a size below zero; it is not to be trusted")
    return info.name, info.size
