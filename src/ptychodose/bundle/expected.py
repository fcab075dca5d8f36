"""All copies that there should be, by dvc.lock and by a manifest that is in step with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptychodose.bundle.copies import Copy, absent, objects, workspace
from ptychodose.bundle.git import ignored, tracked
from ptychodose.bundle.lock_check import listed_md5
from ptychodose.bundle.lockfile import Output
from ptychodose.bundle.manifest_schema import NAME, Manifest, read_manifest
from ptychodose.bundle.promises import CACHE, STORE, Promise, promises_of
from ptychodose.formats.hashing import file_digest
from ptychodose.stages.layout import BUNDLE


@dataclass(frozen=True)
class Expected:
    """What to read, and what is known to be absent without reading."""

    promises: list[Promise]
    copies: list[Copy]
    absent: list[Copy]
    n_unpushed: int
    """Objects that dvc.lock needs and neither the store nor git has: a study that is no release yet."""


def expected_copies(root: Path, outputs: Sequence[Output], manifest: Manifest | None) -> Expected:
    """The files of the workspace, and the objects of cache and store where there is one."""
    listed = listed_md5(manifest) if manifest else {}
    sha256 = {entry.md5: entry.sha256 for entry in manifest.files if entry.md5} if manifest else {}
    promised = [(output, promises_of(root, output, listed)) for output in outputs]
    promises = [promise for _, all_ in promised for promise in all_]
    kept = ignored(root, (output.path for output in outputs))
    serves = _objects(promised)
    needed = _objects([(output, all_) for output, all_ in promised if output.path in kept])
    copies = list(workspace(promises, sha256))
    missing: list[Copy] = []
    if (root / CACHE).is_dir():
        held = list(objects(root, "cache", serves, sha256))
        copies += held
        missing += absent("cache", needed, held)
    n_unpushed = 0
    if (root / STORE).is_dir():
        held = list(objects(root, "store", serves, sha256))
        copies += held
        lacking, in_git = list(absent("store", needed, held)), tracked(root, STORE)
        missing += [copy for copy in lacking if copy.path in in_git]
        n_unpushed = sum(copy.path not in in_git for copy in lacking)
    return Expected(promises, copies, missing, n_unpushed)


def _objects(promised: Sequence[tuple[Output, Sequence[Promise]]]) -> dict[str, Path]:
    """What each object is a copy of, by MD5; of a folder, its list is an object, too."""
    found = {output.md5: output.path for output, _ in promised}
    return found | {promise.md5: promise.path for _, promises in promised for promise in promises}


def trusted_manifest(root: Path, outputs: Sequence[Output], *, repairing: bool) -> Manifest | None:
    """The manifest, if there is one and it is the one of dvc.lock; one that no stage made is taken as it is.

    Raises
    ------
    UserError
        It cannot be read, and is not about to be repaired.
    """
    path = root / BUNDLE / NAME
    if not path.is_file():
        return None
    damaged = any(output.path == BUNDLE and not _is_promised(root, output) for output in outputs)
    if damaged and repairing:
        return None
    manifest = read_manifest(path)
    return None if damaged else manifest


def _is_promised(root: Path, output: Output) -> bool:
    path = output.path / NAME
    promises = {promise.path: promise.md5 for promise in promises_of(root, output)}
    return promises.get(path) == file_digest(root / path, "md5")
