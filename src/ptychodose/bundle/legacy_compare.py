"""Are the files of a manifest, or of a folder, those that somebody published?"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ptychodose.bundle.legacy_manifest import PublishedFile, read_published
from ptychodose.bundle.manifest_schema import read_manifest
from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest
from ptychodose.report.progress import Progress


@dataclass(frozen=True)
class Match:
    """What was found of a published file."""

    published: PublishedFile
    verdict: str
    """``same bytes``, ``same name, other bytes`` or ``not here``."""
    ours: str | None
    """The path of the file here."""

    @property
    def line(self) -> str:
        """For people."""
        where = "" if self.ours is None or self.ours == self.published.path else f" (here {self.ours})"
        return f"{self.verdict}: {self.published.path}{where}"


SAME, OTHER, ABSENT = "same bytes", "same name, other bytes", "not here"


def run_compare_manifest(manifest_or_folder: Path, published: Path) -> int:
    """Print what is here of every published file; 0 all of them, 1 not all.

    Parameters
    ----------
    manifest_or_folder
        A manifest.json, which is believed, or any folder, whose files are read and hashed.
    published
        What legacy_manifest.read_published takes.

    Raises
    ------
    UserError
        Nothing can be said: one of the two is missing or damaged.
    """
    theirs = read_published(published)
    matches = compare_files(theirs.files, _hashes(manifest_or_folder))
    for match in matches:
        print(match.line)
    for text in theirs.warnings:
        print(f"warning: {text}")
    n_same = sum(match.verdict == SAME for match in matches)
    print(f"{n_same} of {len(matches)} published files are here with the same bytes")
    return 0 if n_same == len(matches) else 1


def compare_files(published: list[PublishedFile], hashes: dict[str, str]) -> list[Match]:
    """Each published file beside what is here; ``hashes`` are the SHA-256 by path."""
    paths = {sha256: path for path, sha256 in sorted(hashes.items(), reverse=True)}
    return [_match(file, hashes, paths) for file in published]


def _match(file: PublishedFile, hashes: dict[str, str], paths: dict[str, str]) -> Match:
    alike = [path for path in hashes if PurePosixPath(path).name == file.name]
    # Every run has a params.dill: the one in the most similar folder is meant.
    nearest = max(alike, key=lambda path: _common_end(path, file.path), default=None)
    if nearest is not None and hashes[nearest] == file.sha256:
        return Match(file, SAME, nearest)
    if file.sha256 in paths:
        return Match(file, SAME, paths[file.sha256])
    return Match(file, ABSENT if nearest is None else OTHER, nearest)


def _common_end(a: str, b: str) -> int:
    """Parts of two paths that agree, counted from the end, and of their folders anywhere if that is even."""
    ends = zip(reversed(PurePosixPath(a).parts), reversed(PurePosixPath(b).parts), strict=False)
    n = 0
    for one, other in ends:
        if one != other:
            break
        n += 1
    shared = set(PurePosixPath(a).parts) & set(PurePosixPath(b).parts)
    return 1000 * n + len(shared)


def _hashes(source: Path) -> dict[str, str]:
    if not source.is_dir():
        return {entry.path: entry.sha256 for entry in read_manifest(source).files}
    files = sorted(path for path in source.rglob("*") if path.is_file() and not _is_hidden(path, source))
    if not files:
        raise UserError(f"{source}: an empty folder; give a manifest.json or the folder that holds the files")
    with Progress("hash", len(files), "files") as progress:
        return {
            path.relative_to(source).as_posix(): file_digest(path, "sha256")
            for path in progress.over(files, lambda _: 1)
        }


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
