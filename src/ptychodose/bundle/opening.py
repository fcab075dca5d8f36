"""The files of a bundle one by one, whether it is a folder, an archive or an archive in parts."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from ptychodose.bundle.bundle_names import DOCUMENTS, MANIFEST, MAX_DOCUMENT_BYTES, SUMS
from ptychodose.bundle.compression import is_archive, read_errors, unpacked
from ptychodose.bundle.contents import Contents
from ptychodose.bundle.pieces import part, sums_of
from ptychodose.bundle.tar_members import BLOCK, Budget, Incoming, read_tar
from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest

_FIRST = (DOCUMENTS[MANIFEST], SUMS)
_PART = re.compile(r"(.+)\.part[0-9]{3}")


@dataclass(frozen=True)
class Sum:
    """A file of an archive against its ``.sha256``; None where one of the two is absent."""

    name: str
    expected: str | None
    found: str | None


@dataclass
class Bundle:
    """An open bundle."""

    kind: Literal["folder", "archive", "parts"]
    sums: list[Sum]
    members: Iterator[Incoming]
    _budget: Budget | None = None
    special: list[str] = field(default_factory=list)
    """Links, sockets and the like in a folder, which is never followed; complete when ``members`` ends."""

    def allow(self, contents: Contents) -> None:
        """Let no more be unpacked than these contents need."""
        if self._budget:
            self._budget.left = contents.n_bytes + 2 * BLOCK * (len(contents.expected) + 2)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a folder, an archive, or parts by the name of the archive or of one of them.

    Raises
    ------
    UserError
        There is nothing of that name, or it is no bundle.
    """
    if found := _PART.fullmatch(path.name):
        path = path.with_name(found[1])
    if path.is_dir():
        special: list[str] = []
        yield Bundle("folder", [], _folder(path, special), special=special)
        return
    if not is_archive(path):
        raise UserError(f"{path}: neither a folder nor a name ending in .tar.gz or .tar.zst; give a bundle")
    files = [path] if path.is_file() else _parts(path)
    if not files:
        raise UserError(f"{path}: not found, nor {part(path, 1).name}; give a bundle")
    sums = _sums(path, files)
    with ExitStack() as opened:
        streams = [opened.enter_context(file.open("rb")) for file in files]
        joined = opened.enter_context(io.BufferedReader(cast(Any, _Joined(streams))))
        first = 2 * MAX_DOCUMENT_BYTES + 6 * BLOCK
        budget = Budget(unpacked(path, joined), read_errors(path), first)
        yield Bundle("archive" if files == [path] else "parts", sums, read_tar(budget), budget)


def _folder(folder: Path, special: list[str]) -> Iterator[Incoming]:
    files = set()
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                special.append(path.relative_to(folder).as_posix())
            elif path.is_file():
                files.add(path.relative_to(folder).as_posix())
    for name in (*(name for name in _FIRST if name in files), *sorted(files.difference(_FIRST))):
        with (folder / name).open("rb") as stream:
            yield Incoming(name, os.fstat(stream.fileno()).st_size, stream)


def _parts(archive: Path) -> list[Path]:
    """The parts before the first missing one."""
    parts: list[Path] = []
    while (path := part(archive, len(parts) + 1)).is_file():
        parts.append(path)
    return parts


def _sums(archive: Path, files: list[Path]) -> list[Sum]:
    """Of every file that is there or that the sums list."""
    sums_file = sums_of(archive)
    try:
        lines = sums_file.read_text(encoding="utf-8").splitlines() if sums_file.is_file() else []
    except UnicodeDecodeError:
        raise UserError(f"{sums_file}: not the text of sums; copy it again, or remove it") from None
    expected = {}
    for line in lines:
        found = re.fullmatch(r"([0-9a-f]{64})  ([^/]+)", line)
        if not found:
            raise UserError(f"{sums_file}: not lines of a hash and a name; copy it again, or remove it")
        expected[found[2]] = found[1]
    digests = {file.name: file_digest(file, "sha256") for file in files}
    return [Sum(name, expected.get(name), digests.get(name)) for name in {**digests, **expected}]


class _Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, streams: Sequence[IO[bytes]]) -> None:
        self._streams = list(streams)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._streams:
            if data := self._streams[0].read(len(buffer)):
                buffer[: len(data)] = data
                return len(data)
            self._streams.pop(0)
        return 0
