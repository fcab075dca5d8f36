"""The manifest of a study, made of its files and checked against its dvc.lock."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptychodose.bundle.lock_check import check_against_lock, outside_bundle
from ptychodose.bundle.lockfile import Output, read_outputs
from ptychodose.bundle.manifest_schema import SCHEMA, FileEntry, Manifest
from ptychodose.bundle.npz_facts import describe_npz
from ptychodose.bundle.promises import Promise, promises_of, unexpected_files
from ptychodose.bundle.roles import place_of, role_of
from ptychodose.environment import describe_host, program
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json
from ptychodose.report.progress import Progress

UNTRACKED = ("dvc.yaml", "params.yaml")
"""What belongs to a study though no stage makes it."""

_SETTINGS = ("size_px", "gridsize", "epochs", "dose", "declared_dose", "seed", "intensity_scale")
_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class _Source:
    """A file to describe, and what dvc.lock says of it, if anything."""

    path: Path
    md5: str | None = None
    output: Output | None = None


def build_manifest(root: Path, scenario: str, doses: Sequence[str]) -> Manifest:
    """Hash and describe every file that dvc.lock promises, with all cores.

    Raises
    ------
    UserError
        A file is missing, is not the one of dvc.lock, or is in a tracked folder that does not list it; a
        config.json beside a checkpoint is malformed.
    """
    sources = _sources(root)
    with Progress("manifest", len(sources), "files") as progress:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            described = list(
                progress.over(pool.map(lambda source: _describe(root, source), sources), lambda _: 1)
            )
    manifest = Manifest(
        schema=SCHEMA,
        emitter=program(),
        scenario_id=scenario,
        doses=list(doses),
        environment=describe_host(),
        warnings=[problem for _, problem in described if problem],
        files=[entry for entry, _ in described],
        modified={entry.path: _modified(root / entry.path) for entry, _ in described},
    )
    # A stage that ended meanwhile has changed the lock.
    if found := check_against_lock(manifest, root):
        raise UserError(f"dvc.lock: changed while its files were read: {found[0]}; run it again")
    return manifest


def _sources(root: Path) -> list[_Source]:
    """Sorted by path."""
    outputs = outside_bundle(read_outputs(root, with_parameters=True))
    promised = [(output, promises_of(root, output)) for output in outputs]
    if found := unexpected_files(root, outputs, (promise for _, all_ in promised for promise in all_)):
        raise UserError(
            f"{found[0]}: in a folder of the study, not in dvc.lock; move it elsewhere, or run `dvc repro`"
        )
    sources = [_source(root, output, promise) for output, all_ in promised for promise in all_]
    sources += [_Source(Path(name)) for name in UNTRACKED if (root / name).is_file()]
    return sorted(sources, key=lambda source: source.path.as_posix())


def _source(root: Path, output: Output, promise: Promise) -> _Source:
    if promise.whole_folder and (root / promise.path).is_dir():
        raise UserError(
            f"{promise.path}: its files are not those of dvc.lock; `dvc repro` makes them again, "
            "`ptychodose verify` says more"
        )
    return _Source(promise.path, promise.md5, output)


def _describe(root: Path, source: _Source) -> tuple[FileEntry, str | None]:
    """The entry, and what is wrong with the file itself."""
    path = source.path.as_posix()
    file = root / source.path
    md5, sha256, size = _digests(file)
    if source.md5 is not None and md5 != source.md5:
        raise UserError(
            f"{path}: not the file of dvc.lock (MD5 {md5}, not {source.md5}); "
            "`dvc repro` makes it again, `ptychodose verify` says more"
        )
    role, place = role_of(path), place_of(path)
    npz, problem = describe_npz(file, dataset=role == "dataset") if path.endswith(".npz") else (None, None)
    entry = FileEntry(
        path=path,
        role=role,
        size_bytes=size,
        sha256=sha256,
        md5=source.md5,
        stage=source.output.stage if source.output else None,
        parameters=source.output.parameters if source.output else {},
        dose=place.get("dose"),
        model=place.get("model"),
        split=place.get("split"),
        npz=npz,
        checkpoint=_checkpoint(file.with_name("config.json")) if role == "checkpoint" else None,
    )
    return entry, problem


def _digests(path: Path) -> tuple[str, str, int]:
    """MD5, SHA-256 and bytes of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                md5.update(piece)
                sha256.update(piece)
                size += len(piece)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `dvc pull` fetches it, `dvc repro` makes it again") from None
    return md5.hexdigest(), sha256.hexdigest(), size


def _checkpoint(path: Path) -> dict[str, Any] | None:
    """What the config.json beside a checkpoint says of it; None where there is none."""
    if not path.is_file():
        return None
    config = read_json(path)
    settings = config.get("settings", {}) if isinstance(config, dict) else None
    if not isinstance(settings, dict):
        raise UserError(
            f"{path}: settings: must be an object of the model's parameters; run `dvc repro` again"
        )
    known = settings | config
    return {key: known[key] for key in _SETTINGS if known.get(key) is not None}


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
