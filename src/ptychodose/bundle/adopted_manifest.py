"""The manifest of an adopted legacy folder, and what is wrong with its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptychodose.bundle.legacy_layout import LegacyFile
from ptychodose.bundle.legacy_runs import LegacyRun
from ptychodose.bundle.manifest_schema import SCHEMA, FileEntry, Manifest, Role
from ptychodose.bundle.npz_facts import describe_npz
from ptychodose.environment import describe_host, program
from ptychodose.formats.hashing import file_digest
from ptychodose.parity.baseline import dose_in_name
from ptychodose.parity.schema import ParityLog
from ptychodose.report.progress import Progress

_OF_CHECKPOINT = {
    "size_px": ("N",),
    "gridsize": ("gridsize",),
    "epochs": ("nepochs",),
    "declared_dose": ("nphotons", "nphotons_in_params"),
    "seed": ("npseed",),
    "intensity_scale": ("intensity_scale", "intensity_scale_value"),
}
"""Key of the manifest → where a legacy params.dill has it."""


@dataclass(frozen=True)
class Adopted:
    """The manifest, and the problems among its warnings: files that break a rule."""

    manifest: Manifest
    problems: list[str]


def adopted_manifest(
    root: Path,
    folder: Path,
    files: Sequence[LegacyFile],
    runs: Sequence[LegacyRun],
    log: ParityLog,
    *,
    written: Sequence[Path],
    warnings: Sequence[str],
) -> Adopted:
    """Hash and describe every adopted file.

    Parameters
    ----------
    root, folder
        Of the adopted study, and below it where the files' paths begin.
    files, runs
        What was adopted.
    log
        Of its data sets; its warnings are taken over.
    written
        Files beside ``folder`` that the adoption made.
    warnings
        What else is to be said.
    """
    found, problems = [], []
    with Progress("manifest", len(files), "files") as progress:
        for file in progress.over(files, lambda _: 1):
            entry, problem = _entry(root, folder, file, runs)
            found.append(entry)
            problems += [problem] if problem else []
    found += [
        FileEntry(
            path=path.relative_to(root).as_posix(),
            role="parity log" if path.name.startswith("parity_log") else "document",
            size_bytes=path.stat().st_size,
            sha256=file_digest(path, "sha256"),
        )
        for path in written
    ]
    problems += [text for run in runs for text in run.problems]
    of_runs = [text for run in runs for text in run.warnings]
    # The log says of the baseline again what its run says of itself.
    of_log = [text for text in log.warnings if not any(other.endswith(text) for other in of_runs)]
    doses = sorted({entry.dose for entry in found if entry.role == "dataset" and entry.dose}, key=float)
    manifest = Manifest(
        schema=SCHEMA,
        emitter=program(),
        scenario_id=log.scenario_id,
        doses=doses,
        environment=describe_host(),
        warnings=[*problems, *of_runs, *of_log, *_about_doses(found, log, doses), *warnings],
        files=sorted(found, key=lambda entry: entry.path),
        modified={entry.path: _modified(root / entry.path) for entry in found},
    )
    return Adopted(manifest, problems)


def _entry(
    root: Path, folder: Path, file: LegacyFile, runs: Sequence[LegacyRun]
) -> tuple[FileEntry, str | None]:
    path = folder / file.path
    role: Role = file.role
    is_npz = path.suffix.lower() == ".npz"
    npz, problem = describe_npz(path, dataset=role == "dataset") if is_npz else (None, None)
    entry = FileEntry(
        path=path.relative_to(root).as_posix(),
        role=role,
        size_bytes=path.stat().st_size,
        sha256=file_digest(path, "sha256"),
        md5=file_digest(path, "md5"),
        dose=file.dose,
        model=file.model,
        npz=npz,
        checkpoint=_checkpoint(file, runs) if role == "checkpoint" else None,
    )
    return entry, problem


def _checkpoint(file: LegacyFile, runs: Sequence[LegacyRun]) -> dict[str, Any] | None:
    """From the parameters of the same run, which may lie in a folder below."""
    key = (file.dose, file.model, file.n_train, file.trial)
    parameters = next(
        (
            run.parameters
            for run in runs
            if run.has_settings and key == (run.of.dose, run.of.model, run.of.n_train, run.of.trial)
        ),
        None,
    )
    if parameters is None:
        return None
    known = {
        name: next((parameters[key] for key in keys if parameters.get(key) is not None), None)
        for name, keys in _OF_CHECKPOINT.items()
    }
    return {name: value for name, value in (known | {"dose": file.dose}).items() if value is not None}


def _about_doses(entries: Sequence[FileEntry], log: ParityLog, doses: Sequence[str]) -> list[str]:
    found = []
    logged = {entry.file.sha256 for entry in log.datasets if entry.file}
    for entry in entries:
        if entry.role != "dataset":
            continue
        if entry.dose is None:
            found.append(
                f"{entry.path}: its name gives no dose (data_p1e5.npz gives 1e5), so its photons were "
                "compared with none"
            )
        elif entry.sha256 not in logged:
            found.append(f"{entry.path}: not in the parity log, which is of data_p*.npz in the folder itself")
    wanted = dose_in_name(log.scenario_id)
    if wanted is not None and wanted not in doses:
        found.append(f"scenario {log.scenario_id}: names the dose {wanted}, of which there is no data set")
    return found


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
