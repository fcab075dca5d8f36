"""The legacy pipeline's dose_parity_log.json as a parity log."""

import math
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptychodose.config import DOSE_PATTERN
from ptychodose.errors import UserError
from ptychodose.parity.baseline import dose_warnings, metric_warnings, relabelled
from ptychodose.parity.emitter import SCHEMA, plain
from ptychodose.parity.legacy_statistics import DEFINITIONS

PARTLY = "imported from a legacy log, which holds no hash, projection or thumbnail of an array"
DERIVED_DOSE = (
    "derived from the legacy mean and standard deviation of diff3d: mean_sum_squares = N^2 (mean^2 + std^2), "
    "mean_photons = D mean_sum_squares"
)

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Metadata(_Part):
    scenario_id: str
    dataset_root: str = ""
    baseline_params: str = ""
    timestamp: str | None = None
    git_sha: str | None = None


class _Array(_Part):
    shape: list[Annotated[int, Field(ge=0)]]
    dtype: str


class _Statistics(_Part):
    """What a fingerprint needs of them; the others stay as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    min: Number
    max: Number
    mean: Number
    std: Number


class _Raw(_Statistics):
    nonzero_fraction: Annotated[float, Field(ge=0, le=1)]
    count: Annotated[int, Field(ge=1)]


class _Stats(_Part):
    raw: _Raw
    normalized: dict[str, int | float]
    grouped: dict[str, int | float]


class _Probe(_Part):
    amplitude: _Statistics
    phase: dict[str, float]
    l2_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Dataset(_Part):
    filename: str
    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]
    photon_dose: Annotated[str, Field(pattern=f"^{DOSE_PATTERN}$")]
    arrays: dict[str, _Array]
    stats: _Stats
    probe: _Probe


class _Log(_Part):
    metadata: _Metadata
    baseline_params: dict[str, Any]
    metrics: dict[str, list[float | None]]
    datasets: list[_Dataset]


def is_legacy_log(tree: Any) -> bool:
    """Whether a JSON tree is a parity log of the legacy pipeline."""
    return isinstance(tree, dict) and "schema" not in tree and {"metadata", "datasets"} <= tree.keys()


def import_legacy_log(tree: Any, where: str) -> dict[str, Any]:
    """The tree of a schema.ParityLog with what a legacy log says, its mistakes under ``warnings``.

    What means the same here gets the name it has here; the rest keeps its own, ``legacy.*``, with a
    definition. So do percentiles: theirs are interpolated, those of a fingerprint are not.

    Parameters
    ----------
    tree
        The JSON, NaN accepted; ``where`` names it in an error.

    Raises
    ------
    UserError
        A key is missing or of another type.
    """
    try:
        log = _Log.model_validate(tree)
        datasets = [_dataset(dataset) for dataset in log.datasets]
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(word) for word in first["loc"])
        rule = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise UserError(f"{where}: {key}: {rule}; copy the legacy log again") from None
    metrics = relabelled(log.metrics)
    hints = {
        "path of the parameters": log.metadata.baseline_params,
        "scenario": log.metadata.scenario_id,
    }
    imported: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "emitter": f"legacy pipeline {log.metadata.git_sha or 'of an unknown revision'}",
            "scenario_id": log.metadata.scenario_id,
            "created": log.metadata.timestamp,
            "baseline": {
                "source": log.metadata.baseline_params,
                "parameters": log.baseline_params,
                "metrics": metrics,
            },
            "warnings": [*metric_warnings(metrics), *dose_warnings(log.baseline_params, hints)],
            "datasets": datasets,
        }
    )
    return imported


def _dataset(dataset: _Dataset) -> dict[str, Any]:
    raw, boundaries = dataset.stats.raw, []
    patterns = dataset.arrays.get("diff3d")
    if patterns is not None and len(patterns.shape) == 3 and raw.max > 0:
        boundaries += [
            {"name": "dose", "values": _dose(dataset, patterns, raw), "definition": DERIVED_DOSE},
            {"name": "raw.diff3d", "array": _patterns(patterns, raw), "definition": PARTLY},
        ]
    for key in ("xcoords", "ycoords", "scan_index", "probeGuess", "objectGuess"):
        if key in dataset.arrays:
            array = dataset.arrays[key].model_dump()
            array |= _probe(dataset) if key == "probeGuess" else {}
            boundaries.append({"name": f"raw.{key}", "array": array, "definition": PARTLY})
    kept = {f"legacy.{name}": values for name, values in dataset.stats.model_dump().items()}
    kept["legacy.probe.amplitude"] = dataset.probe.amplitude.model_dump() | {"l2_norm": dataset.probe.l2_norm}
    kept["legacy.probe.phase"] = dataset.probe.phase
    boundaries += [
        {"name": name, "values": values, "definition": DEFINITIONS[name]} for name, values in kept.items()
    ]
    return {
        "name": PurePosixPath(dataset.filename).stem,
        "dose": dataset.photon_dose,
        "file": {"path": dataset.path, "size_bytes": dataset.size_bytes, "sha256": dataset.sha256},
        "boundaries": boundaries,
    }


def _dose(dataset: _Dataset, patterns: _Array, raw: _Raw) -> dict[str, float]:
    n, size_px, _ = patterns.shape
    dose_photons = float(dataset.photon_dose)
    energy = size_px**2 * (raw.mean**2 + raw.std**2)
    return {
        "declared_dose_photons": dose_photons,
        "mean_photons": dose_photons * energy,
        "intensity_scale": math.sqrt(dose_photons) / (size_px / 2),
        "normalization": size_px / 2 / math.sqrt(energy),
        "mean_sum_squares": energy,
        "probe_l2_norm": dataset.probe.l2_norm,
        "amplitude_scale": math.sqrt(energy) / dataset.probe.l2_norm,
        "n_patterns": n,
        "size_px": size_px,
    }


def _patterns(patterns: _Array, raw: _Raw) -> dict[str, Any]:
    return {
        "shape": patterns.shape,
        "dtype": patterns.dtype,
        "n": raw.count,
        "n_zero": round(raw.count * (1 - raw.nonzero_fraction)),
        "min": raw.min,
        "max": raw.max,
        "mean": raw.mean,
        "std": raw.std,
        "sum_of_squares": raw.count * (raw.mean**2 + raw.std**2),
    }


def _probe(dataset: _Dataset) -> dict[str, Any]:
    """Of its modulus, as in a fingerprint."""
    amplitude = dataset.probe.amplitude
    found = {"min": amplitude.min, "max": amplitude.max, "mean": amplitude.mean, "std": amplitude.std}
    return found | {"sum_of_squares": dataset.probe.l2_norm**2}
