"""`ptychodose verify --repair`: good bytes from elsewhere in the place of damaged ones, which are kept."""

import shutil
from pathlib import Path

from ptychodose.bundle.findings import ASIDE, Fault, Findings
from ptychodose.bundle.git import committed
from ptychodose.bundle.verification import verify_workspace
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory, atomic_file
from ptychodose.formats.hashing import file_digest
from ptychodose.formats.jsonfile import dump_json

_OBJECT_MODE, _FILE_MODE = 0o444, 0o644
"""DVC keeps its objects read-only."""


def run_verify(root: Path, *, repair: bool, as_json: bool) -> int:
    """Print what is wrong, repaired first if asked for.

    Returns
    -------
    int
        0 nothing is wrong (any more), 1 something is.

    Raises
    ------
    UserError
        It could not be checked.
    """
    repaired: list[str] = []
    if repair:
        findings, repaired = repair_study(root)
    else:
        findings = verify_workspace(root)
    if as_json:
        print(dump_json(findings.as_dict() | {"repaired": repaired}), end="")
    else:
        print("\n".join([*(f"repaired: {path}" for path in repaired), findings.summary()]))
    return 0 if findings.good else 1


def repair_study(root: Path) -> tuple[Findings, list[str]]:
    """Repair what can be, and verify again.

    Returns
    -------
    Findings, list of str
        What is still wrong, and the paths that were repaired.

    Raises
    ------
    UserError
        It could not be checked.
    """
    repaired: list[str] = []
    findings = verify_workspace(root, repairing=True)
    # A repaired list of a folder, or manifest, can show more that is wrong.
    while mended := [fault for fault in findings.faults if fault.repairable and fault.path not in repaired]:
        # What git restores in the store is a source for the rest.
        now = [fault for fault in mended if fault.source or fault.in_git or not fault.needed]
        for fault in now:
            _mend(root, fault)
        repaired += [fault.path for fault in now]
        findings = verify_workspace(root, repairing=True)
    return findings, repaired


def _mend(root: Path, fault: Fault) -> None:
    target = root / fault.path
    if fault.source is not None:
        with atomic_file(target) as partial:
            shutil.copyfile(root / fault.source, partial)
            _accept(root, fault, partial)
    elif fault.in_git:
        _mend_from_git(root, fault, target)
    else:
        _set_aside(root, fault)


def _mend_from_git(root: Path, fault: Fault, target: Path) -> None:
    files = committed(root, fault.copy.path)
    if Path() in files:
        with atomic_file(target) as partial:
            partial.write_bytes(files[Path()])
            _accept(root, fault, partial)
        return
    with atomic_directory(target) as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        _set_aside(root, fault)


def _accept(root: Path, fault: Fault, partial: Path) -> None:
    """The last look at the new bytes; then the old ones make room."""
    if file_digest(partial, "md5") != fault.copy.md5.removesuffix(".dir"):
        raise UserError(f"{fault.source or fault.path}: changed while it was read; run the repair again")
    partial.chmod(_FILE_MODE if fault.copy.place == "workspace" else _OBJECT_MODE)
    _set_aside(root, fault)


def _set_aside(root: Path, fault: Fault) -> None:
    """Keep what is damaged: nobody knows yet whether it is worth something."""
    target = root / fault.path
    if not target.exists() and not target.is_symlink():
        return
    aside, number = root / ASIDE / f"{fault.path}.damaged", 1
    while aside.exists():
        number += 1
        aside = root / ASIDE / f"{fault.path}.{number}.damaged"
    aside.parent.mkdir(parents=True, exist_ok=True)
    target.rename(aside)
