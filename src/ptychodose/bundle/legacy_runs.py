"""The trainings in a legacy folder: parameters, metrics and reconstructions, read without trust."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ptychodose.bundle.legacy_layout import LegacyFile
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.legacy_dill import read_legacy_dill
from ptychodose.parity.baseline import (
    dose_in_name,
    dose_warnings,
    metric_warnings,
    read_baseline,
    relabelled,
)
from ptychodose.parity.emitter import plain

_PICKLES = (".dill", ".pkl", ".pickle")
_SCALE_KEYS = ("intensity_scale", "intensity_scale_value")
_SETTINGS = {"N", "gridsize", "nphotons", "nphotons_in_params"}
"""A params.dill with none of these holds metrics, no parameters."""


@dataclass
class LegacyRun:
    """What one folder of results holds."""

    folder: str
    """Relative to the legacy folder."""
    of: LegacyFile
    """One of its files, which says dose, model and trial."""
    source: str = ""
    """Path of the params.dill, if there is one."""
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    """By the name of their definition, for amplitude and for phase."""
    problems: list[str] = field(default_factory=list)
    """Files that could not be read."""
    warnings: list[str] = field(default_factory=list)
    """What is doubtful in those that could."""

    @property
    def has_settings(self) -> bool:
        """Whether the parameters are known."""
        return not _SETTINGS.isdisjoint(self.parameters)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "folder": self.folder,
            "dose": self.of.dose,
            "model": self.of.model,
            "n_train": self.of.n_train,
            "trial": self.of.trial,
            "parameters": self.parameters,
            "metrics": self.metrics,
            "problems": self.problems,
            "warnings": self.warnings,
        }


def refused_pickles(root: Path, files: Sequence[LegacyFile]) -> dict[str, str]:
    """Why the allow-listed reader does not take a pickle, by path; the reason begins with the path."""
    refused = {}
    for file in files:
        if PurePosixPath(file.path.lower()).suffix in _PICKLES:
            try:
                read_legacy_dill(root / file.path)
            except UserError as error:
                refused[file.path] = str(error).replace(str(root / file.path), file.path)
    return refused


def read_runs(root: Path, files: Sequence[LegacyFile]) -> list[LegacyRun]:
    """The runs among the files: every folder with a params.dill, metrics.json or recon.dill.

    ``root`` is the folder that the paths are relative to; no file may be one that :func:`refused_pickles`
    names.
    """
    runs: dict[str, LegacyRun] = {}
    for file in files:
        path = PurePosixPath(file.path)
        reader = _READERS.get(path.name)
        if reader is not None:
            run = runs.setdefault(path.parent.as_posix(), LegacyRun(path.parent.as_posix(), file))
            try:
                reader(run, root / file.path)
            except UserError as error:
                run.problems.append(str(error))
            except (ValueError, ArithmeticError, RecursionError) as error:
                # Whole files of absurd values: numbers of a thousand digits, lists a thousand deep.
                run.problems.append(f"{root / file.path}: no report can hold its values ({error!a:.100})")
    for run in runs.values():
        found = [*metric_warnings(run.metrics), *run.warnings]
        run.warnings = [f"{root.name}/{run.folder}: {text}" for text in found]
        run.problems = list(dict.fromkeys(run.problems))
    return list(runs.values())


def choose_baseline(runs: Sequence[LegacyRun], scenario_id: str) -> tuple[LegacyRun | None, str]:
    """The run whose parameters are those of the scenario's baseline, and why it is this one."""
    candidates = [run for run in runs if run.has_settings]
    if not candidates:
        return None, "no params.dill with parameters was found, so the scenario has no baseline"
    wanted = dose_in_name(scenario_id)

    def rank(run: LegacyRun) -> tuple[bool, bool, str]:
        return run.of.dose != wanted, run.of.model != "baseline", run.folder

    best = min(candidates, key=rank)
    reasons = [f"chosen from {len(candidates)} folder(s) with parameters in params.dill"]
    if wanted is not None and best.of.dose == wanted:
        reasons.append(f"it is of the scenario's dose, {wanted}")
    elif wanted is not None:
        reasons.append(f"none of them is of the scenario's dose, {wanted}")
    if best.of.model != "baseline":
        reasons.append("no baseline_run there holds parameters")
    return best, "; ".join(reasons)


def _read_params(run: LegacyRun, path: Path) -> None:
    baseline = read_baseline(path)
    _require_writable(baseline)
    run.warnings += _dose_warnings(baseline["source"], baseline["parameters"])
    run.source = baseline["source"]
    run.parameters |= baseline["parameters"]
    run.metrics |= baseline["metrics"]


def _read_metrics(run: LegacyRun, path: Path) -> None:
    metrics = relabelled(read_json(path))
    _require_writable(metrics)
    run.metrics |= {path.name: metrics}


def _read_recon(run: LegacyRun, path: Path) -> None:
    arrays = {name: value for name, value in read_legacy_dill(path).items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiuc":
            continue
        is_truth = "ground_truth" in str(name) and str(name).endswith(("phi", "phase"))
        if not np.isfinite(array).all():
            run.warnings.append(f"{path.name}: {name}: holds NaN or infinity")
        elif is_truth and array.size and np.ptp(array) == 0:
            run.warnings.append(f"{path.name}: {name}: the true phase is {array.flat[0]:g} everywhere")


_READERS = {"params.dill": _read_params, "metrics.json": _read_metrics, "recon.dill": _read_recon}


def _require_writable(tree: Any) -> None:
    """Raise what writing the tree as text would raise."""
    json.dumps(plain(tree), ensure_ascii=False).encode()


def _dose_warnings(source: str, parameters: Mapping[str, Any]) -> list[str]:
    """Of the parameters and of the scale, which was computed from the dose that the training assumed."""
    hints = {
        "parameter train_data_file": str(parameters.get("train_data_file")),
        "path of the parameters": source,
    }
    found = dose_warnings(parameters, hints)
    dose = next((dose for text in hints.values() if (dose := dose_in_name(text))), None)
    size_px = parameters.get("N")
    scale = next((parameters[key] for key in _SCALE_KEYS if key in parameters), None)
    if dose is None or not isinstance(size_px, int | float) or not isinstance(scale, int | float):
        return found
    believed = (scale * size_px / 2) ** 2
    if not math.isclose(believed, float(dose), rel_tol=1e-3):
        found.append(
            f"intensity_scale {scale:g} is √D / (N/2) for D = {believed:.4g} photons per pattern: the "
            f"training assumed that dose, not the {dose} of its data set"
        )
    return found
