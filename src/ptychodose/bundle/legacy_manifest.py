"""The manifests, verification reports and file lists that the legacy pipeline published."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ptychodose.bundle.manifest_schema import FAMILY, Count, Sha256, parse_manifest
from ptychodose.errors import UserError
from ptychodose.parity.baseline import dose_warnings, metric_warnings, relabelled

NAMES = ("ground_truth_manifest.json", "dose_baseline_summary.json", "files.csv", "bundle_verification.json")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PublishedFile(_Part):
    """A file as published."""

    path: str
    sha256: Sha256
    size_bytes: Count | None = None

    @property
    def name(self) -> str:
        """Of the file, without its folders."""
        return PurePosixPath(self.path).name


class _LegacyManifest(_Part):
    """A ground_truth_manifest.json, or with the keys at the end a dose_baseline_summary.json."""

    scenario_id: str | None = None
    datasets: list[PublishedFile]
    baseline_params: PublishedFile | None = None
    baseline_files: list[PublishedFile] = Field(default_factory=list)
    pinn_weights: PublishedFile | None = None
    errors: list[Any] = Field(default_factory=list)
    baseline_params_path: str | None = None
    key_params: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)


class _Verified(_Part):
    """A line of a verification report; one without hash is of a document."""

    source: str
    verified: bool
    expected_sha256: Sha256 | None = None
    destination_sha256: Sha256 | None = None
    size_bytes: Count | None = None


class _Summary(_Part):
    total_files: Count
    verified_files: Count


class _Verification(_Part):
    scenario_id: str | None = None
    files: Annotated[list[_Verified], Field(min_length=1)]
    summary: _Summary


@dataclass(frozen=True)
class PublishedManifest:
    """What was published, and what is wrong with it."""

    source: str
    scenario_id: str | None
    files: list[PublishedFile]
    warnings: list[str]


def read_published(path: Path) -> PublishedManifest:
    """A published file of any kind below, or a folder that holds some of them, taken together.

    Raises
    ------
    UserError
        Nothing of the kind is there, one is damaged, or two give a path different hashes.
    """
    if not path.is_dir():
        return _read(path)
    parts = [_read(path / name) for name in NAMES if (path / name).is_file()]
    if not parts:
        raise UserError(f"{path}: holds none of {', '.join(NAMES)}; give the published manifest itself")
    files: dict[str, PublishedFile] = {}
    for part in parts:
        for file in part.files:
            other = files.setdefault(file.path, file)
            if other.sha256 != file.sha256:
                raise UserError(
                    f"{part.source}: {file.path}: SHA-256 {file.sha256}, but another published file says "
                    f"{other.sha256}; give the one that is right"
                )
    scenario = next((part.scenario_id for part in parts if part.scenario_id), None)
    return PublishedManifest(
        str(path), scenario, list(files.values()), [text for part in parts for text in part.warnings]
    )


def read_published_manifest(path: Path) -> PublishedManifest:
    """A ground_truth_manifest.json, dose_baseline_summary.json or files.csv, or a manifest of ptychodose.

    Raises
    ------
    UserError
        The file is missing, damaged, or a key breaks the format.
    """
    if path.suffix == ".csv":
        return PublishedManifest(str(path), None, _table(path), [])
    tree = _json(path)
    if str(tree.get("schema", "")).startswith(FAMILY):
        own = parse_manifest(json.dumps(tree), str(path))
        files = [PublishedFile(path=e.path, sha256=e.sha256, size_bytes=e.size_bytes) for e in own.files]
        return PublishedManifest(str(path), own.scenario_id, files, own.warnings)
    found = _validated(_LegacyManifest, tree, path)
    single = [file for file in (found.baseline_params, found.pinn_weights) if file is not None]
    warnings = [f"reports the error: {text}" for text in found.errors]
    warnings += metric_warnings(relabelled(found.metrics))
    hints = {
        "path of the parameters": found.baseline_params_path or "",
        "scenario": found.scenario_id or "",
    }
    warnings += dose_warnings(found.key_params, hints)
    return PublishedManifest(
        str(path),
        found.scenario_id,
        [*found.datasets, *single, *found.baseline_files],
        [f"{path}: {text}" for text in warnings],
    )


def read_published_verification(path: Path) -> PublishedManifest:
    """A bundle_verification.json: what was in the published bundle, and what its own check left open.

    Raises
    ------
    UserError
        The file is missing, damaged, or a key breaks the format.
    """
    found = _validated(_Verification, _json(path), path)
    warnings = []
    files = []
    for file in found.files:
        if not file.verified:
            warnings.append(f"{path}: {file.source}: was not verified when it was published")
        if file.expected_sha256 is None:
            warnings.append(f"{path}: {file.source}: called verified, but without a hash")
            continue
        if file.destination_sha256 not in (None, file.expected_sha256):
            warnings.append(f"{path}: {file.source}: the bundle held other bytes than the manifest says")
        files.append(PublishedFile(path=file.source, sha256=file.expected_sha256, size_bytes=file.size_bytes))
    n_verified = sum(file.verified for file in found.files)
    if (found.summary.total_files, found.summary.verified_files) != (len(found.files), n_verified):
        warnings.append(
            f"{path}: summary: says {found.summary.verified_files} of {found.summary.total_files} files are "
            f"verified, its list says {n_verified} of {len(found.files)}"
        )
    return PublishedManifest(str(path), found.scenario_id, files, warnings)


def _read(path: Path) -> PublishedManifest:
    if path.suffix == ".json" and "summary" in _json(path):
        return read_published_verification(path)
    return read_published_manifest(path)


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy the published file again") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: no published manifest, which is a JSON object")
    return tree


def _table(path: Path) -> list[PublishedFile]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows: Iterable[dict[str, str]] = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({error}); copy the published file again") from None
    if not rows:
        raise UserError(f"{path}: no published file list, which has the columns path, size_bytes, sha256")
    files: list[PublishedFile] = _validated(TypeAdapter(list[PublishedFile]), rows, path)
    return files


def _validated(kind: Any, tree: Any, path: Path) -> Any:
    validate = kind.validate_python if isinstance(kind, TypeAdapter) else kind.model_validate
    try:
        return validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"])
        raise UserError(
            f"{path}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}; copy the published file again"
        ) from None
