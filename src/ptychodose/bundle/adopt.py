"""Take over a legacy run: checked, described, and kept by git and DVC, with the original left as it is."""

import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from ptychodose.bundle.adopted_manifest import Adopted, adopted_manifest
from ptychodose.bundle.adopted_readme import adopted_readme
from ptychodose.bundle.adopted_repository import can_track, start_repository, track
from ptychodose.bundle.legacy_layout import LegacyFile, find_legacy_files
from ptychodose.bundle.legacy_runs import LegacyRun, choose_baseline, read_runs, refused_pickles
from ptychodose.bundle.manifest_documents import documents
from ptychodose.bundle.response import response
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.hashing import file_digest
from ptychodose.formats.jsonfile import dump_json
from ptychodose.parity.emitter import plain
from ptychodose.parity.folder_log import log_folder
from ptychodose.parity.schema import read_log
from ptychodose.report.progress import Progress
from ptychodose.stages.layout import BUNDLE

FOLDER = Path("legacy")
"""Where the legacy files lie in the adopted study, by their old paths."""
LOG = Path("parity")
RUNS = Path("runs.json")


def run_adopt(legacy: Path, target: Path, *, scenario_id: str) -> int:
    """Adopt a legacy folder into a fresh one; 0 if every file is good, 1 if one is refused or broken.

    Every file is copied, but for pickles that the allow-listed reader refuses; nothing of the legacy folder
    is changed or run.

    Raises
    ------
    UserError
        ``target`` holds something or lies in the legacy folder, which is missing or holds no data set; the
        scenario has no name; a file changed while it was copied; or git or DVC failed. Nothing is adopted
        then.
    """
    _require_name(scenario_id)
    _require_fresh(target, legacy)
    layout = find_legacy_files(legacy)
    refused = refused_pickles(legacy, layout.files)
    files = [file for file in layout.files if file.path not in refused]
    warnings = [f"{text}; left out" for text in refused.values()]
    warnings += [f"{path}: {reason}, left out" for path, reason in layout.left_out.items()]
    names = shlex.join([legacy.resolve().name, target.resolve().name])
    with atomic_directory(target.resolve()) as study:
        _copy(legacy, study / FOLDER, files)
        # Inside it, so that no path of this machine gets into what is written.
        with chdir(study):
            tracked = can_track()
            if tracked:
                # First, or the revision of a repository around the target would be recorded as this one's.
                start_repository(Path())
            adopted = _describe(files, scenario_id, warnings, names)
            if tracked:
                track(Path(), FOLDER.as_posix())
    _print(adopted, target, n_refused=len(refused), tracked=tracked)
    return 1 if adopted.problems or refused else 0


def _require_name(scenario_id: str) -> None:
    if not scenario_id.strip() or not scenario_id.isprintable():
        raise UserError(f"--scenario-id: {scenario_id!r} is no name; give one such as PGRID-P1E5-T1024")


def _require_fresh(target: Path, legacy: Path) -> None:
    if target.resolve().is_relative_to(legacy.resolve()):
        raise UserError(f"{target}: lies in the legacy folder, which stays as it is; give a folder elsewhere")
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UserError(f"{target}: is there and not an empty folder; give a new one")
    if target.resolve() == Path.cwd():
        raise UserError(f"{target}: is the current folder; go to the one above it and give its name")


def _copy(legacy: Path, folder: Path, files: Sequence[LegacyFile]) -> None:
    """Bytes and times. No hard links: DVC makes its files read-only, and the original would become so."""
    with Progress("copy", len(files), "files") as progress:
        for file in progress.over(files, lambda _: 1):
            source, copy = legacy / file.path, folder / file.path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            times = source.stat()
            os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
            if file_digest(source, "sha256") != file_digest(copy, "sha256"):
                raise UserError(f"{source}: changed while it was copied; wait until its writer has finished")


def _describe(files: Sequence[LegacyFile], scenario_id: str, warnings: Sequence[str], names: str) -> Adopted:
    """Log, manifest, response and README of the study in the current folder."""
    runs = read_runs(FOLDER, files)
    baseline, choice = choose_baseline(runs, scenario_id)
    log_folder(
        FOLDER,
        baseline_params=None if baseline is None else Path(baseline.source),
        scenario_id=scenario_id,
        output=LOG,
        limit_datasets=None,
        legacy_statistics=False,
    )
    log = read_log(LOG / "parity_log.json")
    RUNS.write_text(dump_json(plain([run.as_dict() for run in runs])), encoding="utf-8")
    written = [RUNS, *sorted(LOG.iterdir())]
    adopted = adopted_manifest(Path(), FOLDER, files, runs, log, written=written, warnings=warnings)
    answer = response(
        adopted.manifest,
        log,
        baseline_choice=_chosen(baseline, choice),
        commands=_commands(names, scenario_id, baseline),
    )
    # Where those of a study lie, so that it is packed like one; the response is the page to hand over.
    BUNDLE.mkdir(parents=True)
    texts = {BUNDLE / name: text for name, text in documents(adopted.manifest).items()}
    texts[BUNDLE / "README.md"] = texts[Path("response.md")] = answer
    texts[Path("README.md")] = adopted_readme(adopted, runs, FOLDER.as_posix())
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return adopted


def _chosen(baseline: LegacyRun | None, choice: str) -> str:
    return f"{choice}." if baseline is None else f"{FOLDER.as_posix()}/{baseline.folder}: {choice}."


def _commands(names: str, scenario_id: str, baseline: LegacyRun | None) -> list[str]:
    scenario = ["--scenario-id", scenario_id]
    parameters = [] if baseline is None else ["--baseline-params", baseline.source]
    log = ["ptychodose", "parity", "log", "--dataset-root", str(FOLDER), *scenario, *parameters]
    return [
        "# how this was made",
        f"ptychodose adopt {names} {shlex.join(scenario)}",
        "# inside it: the same log again, and all bytes against a published manifest",
        shlex.join([*log, "--output", "again"]),
        "ptychodose compare-manifest . ground_truth_manifest.json",
    ]


def _print(adopted: Adopted, target: Path, *, n_refused: int, tracked: bool) -> None:
    for text in adopted.manifest.warnings:
        print(f"{'problem' if text in adopted.problems else 'warning'}: {text}")
    files = [entry for entry in adopted.manifest.files if entry.path.startswith(f"{FOLDER}/")]
    n_datasets = sum(entry.role == "dataset" for entry in files)
    kept = (
        "staged in git, the data in DVC: commit it"
        if tracked
        else "git was not found, so it is a plain folder"
    )
    print(
        f"{target}: {len(files)} files adopted ({n_datasets} data sets), {n_refused} refused, "
        f"{len(adopted.problems)} broken, {sum(entry.size_bytes for entry in files) / 1e6:.1f} MB; {kept}"
    )
