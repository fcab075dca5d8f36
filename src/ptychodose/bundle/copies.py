"""Every copy of every byte of a study: in the workspace, in DVC's cache and in the embedded store."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptychodose.bundle.promises import CACHE, STORE, Promise
from ptychodose.formats.hashing import file_digest

Place = Literal["workspace", "cache", "store"]
State = Literal["good", "damaged", "missing", "wrong in the manifest"]

_NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Copy:
    """A file that should be there."""

    path: Path
    place: Place
    md5: str
    """As DVC writes it: that of a folder, or of the list of its files, ends in ``.dir``."""
    sha256: str | None = None
    """Of the same bytes, where a manifest in step with dvc.lock gives it."""
    output: Path | None = None
    """What of the study it is or keeps; None for an object that dvc.lock does not need."""

    def state(self, root: Path) -> State:
        """Read it once, with the SHA-256 if that is known: it is the stronger hash, and often the faster."""
        file = root / self.path
        if file.is_dir():
            return "damaged"
        try:
            if self.sha256 is not None and file_digest(file, "sha256") == self.sha256:
                return "good"
            md5 = self.md5 if self.place == "workspace" else self.md5.removesuffix(".dir")
            if file_digest(file, "md5") != md5:
                return "damaged"
        except FileNotFoundError:
            return "missing"
        return "good" if self.sha256 is None else "wrong in the manifest"


def objects(
    root: Path, place: Literal["cache", "store"], serves: Mapping[str, Path], sha256: Mapping[str, str]
) -> Iterator[Copy]:
    """The objects that a cache or store holds; ``serves``: what each is a copy of, by MD5."""
    folder = root / (CACHE if place == "cache" else STORE)
    for file in sorted(folder.glob("??/*")):
        md5 = f"{file.parent.name}{file.name}"
        if _NAME.fullmatch(md5):
            yield Copy(file.relative_to(root), place, md5, sha256.get(md5), serves.get(md5))


def absent(
    place: Literal["cache", "store"], needed: Mapping[str, Path], held: Iterable[Copy]
) -> Iterator[Copy]:
    """The objects that dvc.lock needs and the place has not."""
    known = {copy.md5 for copy in held}
    folder = CACHE if place == "cache" else STORE
    for md5, output in needed.items():
        if md5 not in known:
            yield Copy(folder / md5[:2] / md5[2:], place, md5, output=output)


def workspace(promises: Iterable[Promise], sha256: Mapping[str, str]) -> Iterator[Copy]:
    """The files that dvc.lock promises."""
    for promise in promises:
        known = sha256.get(promise.md5)
        yield Copy(promise.path, "workspace", promise.md5, known, promise.path)
