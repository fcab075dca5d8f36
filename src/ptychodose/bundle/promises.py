"""The MD5 of every file that dvc.lock promises, folders taken apart into their files."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptychodose.bundle.lockfile import Output, inside
from ptychodose.formats.hashing import file_digest

CACHE = Path(".dvc/cache/files/md5")
STORE = Path("data/store/files/md5")


@dataclass(frozen=True)
class Promise:
    """A file and the MD5 that dvc.lock (or the directory object it names) holds for it."""

    path: Path
    md5: str

    @property
    def whole_folder(self) -> bool:
        """A folder that no list of files is known of."""
        return self.md5.endswith(".dir")


def promises_of(root: Path, output: Output, listed: Mapping[str, str] | None = None) -> list[Promise]:
    """The files of an output; for ``listed`` see :func:`promises_of_folder`."""
    if output.md5.endswith(".dir"):
        return promises_of_folder(root, output.path, output.md5, listed)
    return [Promise(output.path, output.md5)]


def promises_of_folder(
    root: Path, path: Path, md5: str, listed: Mapping[str, str] | None = None
) -> list[Promise]:
    """The files of a tracked folder, from its list in the cache or the embedded store, itself verified.

    A folder that git keeps (``cache: false``) has no list there: its hash is that of the list of its files,
    as ``listed`` (MD5 by path) or the workspace has them. Where no list of that hash is found, the folder
    itself is the promise.
    """
    for place in (CACHE, STORE):
        listing = root / place / md5[:2] / md5[2:]
        content = listing.read_bytes() if listing.is_file() else b""
        if f"{hashlib.md5(content).hexdigest()}.dir" == md5:
            return [Promise(inside(path / entry["relpath"]), entry["md5"]) for entry in json.loads(content)]
    files = {Path(file).relative_to(path): hash_ for file, hash_ in _below(path, listed or {})}
    if folder_md5(files.items()) != md5:
        present = (file for file in (root / path).rglob("*") if file.is_file())
        files = {file.relative_to(root / path): file_digest(file, "md5") for file in present}
    if folder_md5(files.items()) == md5:
        return [Promise(path / file, hash_) for file, hash_ in sorted(files.items())]
    return [Promise(path, md5)]


def folder_md5(files: Iterable[tuple[Path, str]]) -> str:
    """The hash DVC gives a folder of these files (path in the folder, MD5)."""
    entries = sorted(({"md5": md5, "relpath": path.as_posix()} for path, md5 in files), key=_relpath)
    return f"{hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest()}.dir"


def digest_or_none(path: Path) -> str | None:
    """None where there is no file; a folder here is one whose list of files is not the promised one."""
    if path.is_dir():
        return "a folder with other files"
    return file_digest(path, "md5") if path.is_file() else None


def unexpected_files(root: Path, outputs: Iterable[Output], promises: Iterable[Promise]) -> list[str]:
    """Files in tracked folders that nobody promised, sorted."""
    promised = {promise.path for promise in promises}
    found = []
    for output in outputs:
        if output.md5.endswith(".dir") and output.path not in promised:
            present = (file for file in (root / output.path).rglob("*") if file.is_file())
            found += [file.relative_to(root) for file in present]
    return sorted(file.as_posix() for file in found if file not in promised)


def _relpath(entry: Mapping[str, str]) -> str:
    return entry["relpath"]


def _below(folder: Path, listed: Mapping[str, str]) -> list[tuple[str, str]]:
    start = f"{folder.as_posix()}/"
    return [(path, md5) for path, md5 in listed.items() if path.startswith(start)]
