"""The manifest as one validated tree: what a bundle holds, and of what each file was made."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptychodose.errors import UserError

SCHEMA = "ptychodose/manifest/1"
FAMILY, VERSION = SCHEMA.rsplit("/", 1)
NAME = "manifest.json"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]

Role = Literal[
    "dataset",
    "checkpoint",
    "reconstruction",
    "metrics",
    "parity log",
    "parameters",
    "picture",
    "curve",
    "record",
    "document",
    "other",
]
"""What a file is for. ``record``: the JSON beside a dataset, checkpoint, reconstruction or metrics file;
``parameters``: params.yaml, params.dill; ``document``: dvc.yaml, dvc.lock, README and the like."""


class Part(BaseModel):
    """A part of the manifest: read only."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ArrayFacts(Part):
    """An array in an NPZ file; the hash is that of its C-order, little-endian bytes."""

    shape: list[Count]
    dtype: str
    sha256: Sha256


class NpzFacts(Part):
    """An NPZ file against the RawData contract, array by array."""

    contract: str | None
    """``good``, or the sentence that says what breaks it; null for an NPZ that is no dataset."""
    required: list[str] = Field(default_factory=list)
    optional: list[str] = Field(default_factory=list)
    extra: list[str] = Field(default_factory=list)
    arrays: dict[str, ArrayFacts] = Field(default_factory=dict)


class FileEntry(Part):
    """One file."""

    path: str
    """Relative to the root of the study or bundle, with / between folders."""
    role: Role
    size_bytes: Count
    sha256: Sha256
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    """The hash DVC knows the file by; null for what DVC does not track."""
    stage: str | None = None
    """The stage of dvc.yaml that made it; null for what no stage made."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Those dvc.lock records for that stage, by dotted name."""
    dose: str | None = None
    model: str | None = None
    split: str | None = None
    npz: NpzFacts | None = None
    checkpoint: dict[str, Any] | None = None
    """Of a checkpoint: size_px, gridsize, epochs, dose, declared_dose, seed, intensity_scale, where known."""


class Manifest(Part):
    """A whole manifest; files sorted by path."""

    schema_: str = Field(alias="schema")
    emitter: str
    scenario_id: str
    doses: list[str]
    environment: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    files: list[FileEntry]
    modified: dict[str, str] = Field(default_factory=dict)
    """Time of last change by path, ISO 8601 UTC: all times are here, so all else is the same each time."""


def parse_manifest(text: str, where: str) -> Manifest:
    """A manifest from its JSON text; ``where`` names it in an error.

    Raises
    ------
    UserError
        Not whole JSON, not a manifest, of a newer schema, or a key breaks the schema.
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not a whole JSON file ({error}); fetch or write it again") from None
    name = tree.get("schema") if isinstance(tree, dict) else None
    family, _, version = str(name).rpartition("/")
    if family != FAMILY or not version.isdigit():
        raise UserError(f"{where}: schema: not a manifest ({SCHEMA}), found {name!r}")
    if int(version) > int(VERSION):
        raise UserError(
            f"{where}: schema: the manifest is of version {version}, this ptychodose reads up to {VERSION}; "
            "install a newer ptychodose"
        )
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"])
        raise UserError(f"{where}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def read_manifest(path: Path) -> Manifest:
    """:func:`parse_manifest` of a file."""
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `dvc pull` fetches it, `dvc repro manifest` makes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error})") from None
