"""Do a manifest and dvc.lock speak of the same files with the same hashes?"""

from collections.abc import Iterable
from pathlib import Path

from ptychodose.bundle.lockfile import Output, read_outputs
from ptychodose.bundle.manifest_schema import Manifest
from ptychodose.bundle.promises import Promise, promises_of
from ptychodose.stages.layout import BUNDLE


def check_against_lock(manifest: Manifest, root: Path) -> list[str]:
    """What is in one and not in the other or has another hash there, a sentence a file.

    Raises
    ------
    UserError
        There is no dvc.lock, or DVC did not write it.
    """
    listed = listed_md5(manifest)
    promises = [promise for output in read_outputs(root) for promise in promises_of(root, output, listed)]
    return disagreements(manifest, promises)


def disagreements(manifest: Manifest, promises: Iterable[Promise]) -> list[str]:
    """The same, of the promises of dvc.lock."""
    listed, promised = listed_md5(manifest), {}
    found = []
    for promise in promises:
        path = promise.path.as_posix()
        if promise.path.is_relative_to(BUNDLE):
            continue  # it cannot hold its own hash
        if promise.whole_folder:
            found.append(f"{path}: dvc.lock holds another list of its files than the manifest")
            listed = {file: md5 for file, md5 in listed.items() if not file.startswith(f"{path}/")}
        else:
            promised[path] = promise.md5
    for path in sorted(listed.keys() | promised.keys()):
        if path not in listed:
            found.append(f"{path}: in dvc.lock, not in the manifest")
        elif path not in promised:
            found.append(f"{path}: in the manifest, not in dvc.lock")
        elif listed[path] != promised[path]:
            found.append(f"{path}: MD5 {promised[path]} in dvc.lock, {listed[path]} in the manifest")
    return found


def listed_md5(manifest: Manifest) -> dict[str, str]:
    """MD5 by path of the files that DVC tracks."""
    return {entry.path: entry.md5 for entry in manifest.files if entry.md5 is not None}


def outside_bundle(outputs: Iterable[Output]) -> list[Output]:
    """All outputs but the manifest's own."""
    return [output for output in outputs if not output.path.is_relative_to(BUNDLE)]
