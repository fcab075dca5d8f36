"""The parity log as one validated tree, whoever wrote it.

``ptychodose parity schema`` prints its JSON schema (docs/parity.schema.json). Keys that are not known here
are left aside, not refused: a log may hold more than it must.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptychodose.errors import UserError
from ptychodose.parity.emitter import BUCKETS, SCHEMA, TILES

FAMILY, VERSION = SCHEMA.rsplit("/", 1)
Count = Annotated[int, Field(ge=0)]
Tiles = Annotated[list[float], Field(min_length=TILES, max_length=TILES)]


class Part(BaseModel):
    """A part of the log: read only."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ArrayPrint(Part):
    """Fingerprint of an array; statistics of a complex one are those of its modulus.

    Only shape and dtype are required: a log may know no more (an imported legacy log does not).
    """

    shape: list[Count]
    dtype: str
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Of the C-order, little-endian bytes."""
    n: Count | None = None
    n_finite: Count | None = None
    n_zero: Count | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    percentiles: dict[str, float] = Field(default_factory=dict)
    sum_of_squares: float | None = None
    projection: Annotated[list[float], Field(min_length=BUCKETS, max_length=BUCKETS)] | None = None
    thumbnail: Annotated[list[Tiles], Field(min_length=TILES, max_length=TILES)] | None = None


class Boundary(Part):
    """One place between two stages: an array's fingerprint, or numbers by name (nested if need be)."""

    name: str
    array: ArrayPrint | None = None
    values: dict[str, Any] | None = None
    definition: str | None = None
    """What the array or the numbers are, where that is not what docs/parity.md says of the name."""


class FileFacts(Part):
    """The file a data set was read from."""

    path: str
    size_bytes: Count | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class Entry(Part):
    """One data set (model is null), or what a model makes of one."""

    name: str
    """``<dose>/<split>`` in a study; the file's name without its ending elsewhere."""
    dose: str | None
    """The declared dose, photons per pattern, as written ("1e5")."""
    model: str | None = None
    file: FileFacts | None = None
    problem: str | None = None
    """Why the data set could not be logged; then there are no boundaries."""
    trained_in: dict[str, Any] | None = None
    """The environment the model was trained in, if it is known."""
    boundaries: list[Boundary]

    @property
    def key(self) -> tuple[str, str]:
        """What this entry is compared with in another log: data set and model."""
        return self.name, self.model or ""


class Baseline(Part):
    """Parameters and metrics of the scenario's baseline."""

    source: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)


class ParityLog(Part):
    """A whole log."""

    schema_: str = Field(alias="schema")
    emitter: str
    scenario_id: str
    environment: dict[str, Any] = Field(default_factory=dict)
    created: str | None = None
    baseline: Baseline | None = None
    warnings: list[str] = Field(default_factory=list)
    datasets: list[Entry]


def parse_log(text: str, where: str) -> ParityLog:
    """A log from its JSON text; ``where`` names it in an error.

    Raises
    ------
    UserError
        Not whole JSON, not a parity log, of a newer schema, or a key breaks the schema.
    """
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not a whole JSON file ({error}); fetch or write it again") from None
    name = tree.get("schema") if isinstance(tree, dict) else None
    family, _, version = str(name).rpartition("/")
    if family != FAMILY or not version.isdigit():
        raise UserError(f"{where}: schema: not a parity log ({FAMILY}/{VERSION}), found {name!r}")
    if int(version) > int(VERSION):
        raise UserError(
            f"{where}: schema: the log is of version {version}, this ptychodose reads up to {VERSION}; "
            "install a newer ptychodose"
        )
    try:
        return ParityLog.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"])
        raise UserError(f"{where}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def read_log(path: Path) -> ParityLog:
    """:func:`parse_log` of a file."""
    try:
        return parse_log(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error})") from None
