"""One long file, or parts of it of a limited size, written so that a killed run goes on."""

import hashlib
import os
from pathlib import Path
from typing import Protocol

from ptychodose.bundle.sizes import size_text
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_file

MAX_PARTS = 999


class Writer(Protocol):
    """What takes bytes."""

    def write(self, data: bytes) -> object:
        """Take bytes."""


class Pieces:
    """Takes the bytes of an archive; ``finish`` names the pieces and writes their sums beside them.

    Until then each piece has a temporary name. Bytes that a killed run left there are compared with those
    that come, which costs no more than reading them, and are kept as far as they are the same.
    """

    def __init__(self, target: Path, max_size: int | None, split: bool) -> None:
        self._target, self._max_size, self._split = target, max_size, split
        self._pieces = [_Piece(_partial(target, 1))]

    def write(self, data: bytes) -> None:
        """Take bytes.

        Raises
        ------
        UserError
            They exceed the size limit, and no parts were asked for; or there are more than 999 parts.
        """
        while self._max_size and self._pieces[-1].size + len(data) > self._max_size:
            if not self._split:
                raise too_large(self._target, None, self._max_size)
            if len(self._pieces) == MAX_PARTS:
                raise too_many_parts(self._max_size)
            n_left = self._max_size - self._pieces[-1].size
            self._pieces[-1].write(data[:n_left])
            data = data[n_left:]
            self._pieces.append(_Piece(_partial(self._target, len(self._pieces) + 1)))
        self._pieces[-1].write(data)

    def finish(self) -> list[Path]:
        """The files: the archive or its parts, and their sums in the format of ``sha256sum``."""
        sums = {}
        for number, piece in enumerate(self._pieces, 1):
            piece.finish()
            name = self._target if len(self._pieces) == 1 else part(self._target, number)
            piece.path.replace(name)
            sums[name] = piece.digest.hexdigest()
        sums_file = sums_of(self._target)
        with atomic_file(sums_file) as partial:
            partial.write_text("".join(f"{digest}  {path.name}\n" for path, digest in sums.items()))
        remove_partials(self._target)
        return [*sums, sums_file]

    def close(self) -> None:
        """Close the files and leave them as they are."""
        for piece in self._pieces:
            piece.close()


def part(archive: Path, number: int) -> Path:
    """A part, counted from 1."""
    return archive.with_name(f"{archive.name}.part{number:03d}")


def sums_of(archive: Path) -> Path:
    """The file of sums beside an archive or its parts."""
    return archive.with_name(f"{archive.name}.sha256")


def remove_partials(archive: Path) -> None:
    """Remove what unfinished runs left."""
    for number in range(1, MAX_PARTS + 1):
        _partial(archive, number).unlink(missing_ok=True)


def too_large(target: Path, n_bytes: int | None, max_size: int) -> UserError:
    """The bundle exceeds the limit."""
    size = f"{size_text(n_bytes)} are" if n_bytes else "it is"
    return UserError(
        f"{target}: {size} more than --max-size {size_text(max_size)}; "
        "raise it, or add --split for an archive in parts"
    )


def too_many_parts(max_size: int) -> UserError:
    """The limit is too small."""
    return UserError(f"--max-size: parts of {max_size} bytes would be more than {MAX_PARTS}; raise it")


def _partial(archive: Path, number: int) -> Path:
    return archive.with_name(f".{part(archive, number).name}.partial")


class _Piece:
    def __init__(self, path: Path) -> None:
        path.touch()
        self.path, self.size, self.digest = path, 0, hashlib.sha256()
        self._stream = path.open("r+b")
        self._same = True

    def write(self, data: bytes) -> None:
        if self._same and self._stream.read(len(data)) != data:
            self._same = False
            self._stream.seek(self.size)
            self._stream.truncate()
        if not self._same:
            self._stream.write(data)
        self.size += len(data)
        self.digest.update(data)

    def close(self) -> None:
        if not self._stream.closed:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def finish(self) -> None:
        self._stream.truncate(self.size)
        self.close()
