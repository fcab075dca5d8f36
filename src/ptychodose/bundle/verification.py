"""Is every byte of the study the byte that dvc.lock and the manifest promise, wherever a copy lies?

DVC itself trusts a file whose modification time is unchanged, a read-only object of its cache, and what lies
in a remote; this reads them all: workspace, cache and embedded store. It needs neither DVC nor a network.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from ptychodose.bundle.copies import Copy, State
from ptychodose.bundle.expected import Expected, expected_copies, trusted_manifest
from ptychodose.bundle.findings import Fault, Findings
from ptychodose.bundle.lock_check import disagreements
from ptychodose.bundle.lockfile import read_outputs
from ptychodose.bundle.manifest_schema import Manifest
from ptychodose.bundle.promises import Promise, digest_or_none, promises_of_folder, unexpected_files
from ptychodose.bundle.sources import find_sources
from ptychodose.formats.hashing import file_digest
from ptychodose.report.progress import Progress

__all__ = ["Findings", "Promise", "digest_or_none", "promises_of_folder", "verify_workspace"]

_SLOW_BYTES = 2e9
"""From here on it takes seconds, and progress is shown."""


def verify_workspace(root: Path, *, repairing: bool = False) -> Findings:
    """Hash every file that dvc.lock promises and every object of cache and store, with all cores.

    Parameters
    ----------
    repairing
        Whether a manifest that cannot be read is one more damaged file, rather than an error.

    Raises
    ------
    UserError
        dvc.lock is missing or unreadable, or the manifest is, so nothing can be said.
    """
    outputs = read_outputs(root)
    manifest = trusted_manifest(root, outputs, repairing=repairing)
    expected = expected_copies(root, outputs, manifest)
    findings = Findings(
        with_manifest=manifest is not None,
        n_unpushed=expected.n_unpushed,
        unexpected=unexpected_files(root, outputs, expected.promises),
        disagreements=_out_of_step(root, manifest, expected),
    )
    good: list[Copy] = []
    for copy, state in zip(expected.copies, _states(root, expected.copies), strict=True):
        if state == "damaged" or state == "missing":
            findings.faults.append(Fault(copy, state))
            continue
        good.append(copy)
        if state == "wrong in the manifest":
            findings.disagreements.append(f"{copy.path}: as in dvc.lock, but of another SHA-256")
    findings.faults += [Fault(copy, "missing") for copy in expected.absent]
    findings.faults = find_sources(root, findings.faults, good, outputs)
    _count(root, findings, good)
    return findings


def _states(root: Path, copies: Sequence[Copy]) -> list[State]:
    sizes = (file.stat().st_size for copy in copies if (file := root / copy.path).is_file())
    slow = sum(sizes) > _SLOW_BYTES
    with (
        Progress("verify", len(copies), "files") if slow else nullcontext() as progress,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        states = pool.map(lambda copy: copy.state(root), copies)
        return list(progress.over(states, lambda _: 1) if progress else states)


def _out_of_step(root: Path, manifest: Manifest | None, expected: Expected) -> list[str]:
    if manifest is None:
        return []
    untracked = [entry for entry in manifest.files if entry.md5 is None]
    changed = [
        f"{entry.path}: changed since the manifest was written"
        for entry in untracked
        if not (file := root / entry.path).is_file() or file_digest(file, "sha256") != entry.sha256
    ]
    return disagreements(manifest, expected.promises) + changed


def _count(root: Path, findings: Findings, good: Sequence[Copy]) -> None:
    for copy in good:
        if copy.place == "workspace":
            findings.n_good += 1
            findings.n_bytes += (root / copy.path).stat().st_size
        else:
            findings.n_objects[copy.place] = findings.n_objects.get(copy.place, 0) + 1
