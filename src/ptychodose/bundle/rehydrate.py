"""A study's data from a bundle: every file checked while it is unpacked, all of them or none."""

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from ptychodose.bundle.bundle_report import examine
from ptychodose.bundle.contents import Contents
from ptychodose.bundle.manifest import build_manifest
from ptychodose.bundle.manifest_schema import FileEntry, Manifest
from ptychodose.bundle.members import made_by_stages
from ptychodose.bundle.npz_facts import describe_npz
from ptychodose.bundle.sizes import size_text
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.hashing import file_digest


def rehydrate(path: Path, target: Path) -> Manifest:
    """Unpack a folder, archive or parts into a new folder, in the study's own layout; its manifest.

    Raises
    ------
    UserError
        The target holds something, there is no bundle, its disk is too small, or anything in the bundle is
        not as its manifest lists; nothing is left at the target then.
    """
    target = target.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is not empty; give a new folder")
    with atomic_directory(target) as folder:
        report, contents = examine(
            path, lambda name: _new_file(folder / name), lambda c: _has_room(folder, c)
        )
        if problems := report.problems():
            raise UserError(
                f"{path}: {problems[0]}; nothing was unpacked, `ptychodose bundle verify` says more"
            )
    return contents.manifest


def differences(root: Path, manifest: Manifest) -> list[str]:
    """What a manifest built anew of a study's files says otherwise, a sentence each.

    Times and the machine are no part of it.
    """
    try:
        if made_by_stages(manifest):
            files = build_manifest(root, manifest.scenario_id, manifest.doses).files
        else:
            files = [_described_again(root, entry) for entry in manifest.files]
    except UserError as error:
        return [str(error)]
    listed, found = _entries(manifest.files, root), _entries(files, root)
    return [
        f"{path}: described otherwise than in the manifest"
        for path in sorted(listed.keys() | found.keys())
        if listed.get(path) != found.get(path)
    ]


def run_rehydrate(path: Path, target: Path) -> int:
    """``ptychodose bundle rehydrate``: 0, or 1 if a manifest built anew says otherwise."""
    manifest = rehydrate(path, target)
    found = differences(target, manifest)
    for line in found:
        print(f"differs: {line}")
    n_files, n_bytes = len(manifest.files), sum(entry.size_bytes for entry in manifest.files)
    print(f"unpacked and verified {n_files} files, {size_text(n_bytes)}, into {target}")
    print(f"manifest built anew: {'DIFFERS' if found else f'the same, {n_files} of {n_files} files'}")
    if made_by_stages(manifest):
        print(f"go on with: cd {shlex.quote(str(target))} && ptychodose table")
    return 1 if found else 0


def _described_again(root: Path, entry: FileEntry) -> FileEntry:
    """What can be seen of an adopted file: size, hashes, arrays."""
    path = root / entry.path
    npz = describe_npz(path, dataset=entry.role == "dataset")[0] if entry.npz else None
    found = {"size_bytes": path.stat().st_size, "sha256": file_digest(path, "sha256"), "npz": npz}
    if entry.md5 is not None:
        found["md5"] = file_digest(path, "md5")
    return entry.model_copy(update=found)


def _entries(files: Iterable[FileEntry], root: Path) -> dict[str, str]:
    """Every entry as text; sentences about a file name it as seen from the top of the study."""
    return {entry.path: entry.model_dump_json().replace(f"{root}/", "") for entry in files}


def _has_room(folder: Path, contents: Contents) -> None:
    n_bytes = sum(entry.size_bytes for entry in contents.manifest.files)
    if n_bytes > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{folder.parent}: {size_text(n_bytes)} are needed, {size_text(free)} are free; take another disk"
        )


def _new_file(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")
