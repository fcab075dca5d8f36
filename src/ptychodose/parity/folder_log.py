"""A parity log of a folder of data sets, whoever made it."""

import csv
import io
import math
import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptychodose.config import DOSE_PATTERN
from ptychodose.environment import describe_host, program
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_file
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.npz import NpzReader
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.parity.baseline import dose_in_name, dose_warnings, metric_warnings, read_baseline
from ptychodose.parity.dataset_log import log_dataset
from ptychodose.parity.emitter import plain, write_log
from ptychodose.parity.legacy_statistics import probe_statistics
from ptychodose.parity.schema import read_log
from ptychodose.report.parity_markdown import parity_markdown
from ptychodose.report.progress import Progress

_DOSE_LIMIT = 5
"""Standard errors between the photons counted and the dose declared, as in simulate."""

_PROBE_COLUMNS = [("amplitude", key) for key in ("min", "max", "mean", "p50")] + [
    ("phase", key) for key in ("min", "max", "mean", "p50")
]


@dataclass(frozen=True)
class _Found:
    """A file to log."""

    path: Path
    name: str
    dose: str | None


def log_folder(
    dataset_root: Path,
    *,
    baseline_params: Path | None,
    scenario_id: str,
    output: Path,
    limit_datasets: int | None,
    legacy_statistics: bool,
) -> bool:
    """Log every data set of a folder; whether all of them are valid.

    A legacy folder holds ``data_p1e5.npz`` and its like, a study's ``<dose>/<split>.npz``; of any other, all
    NPZ files below it that hold diff3d or diffraction are taken.

    Parameters
    ----------
    baseline_params
        Parameters of the scenario's baseline, see baseline.read_baseline.
    output
        Folder for parity_log.json, parity_log.md, probe_stats.csv and baseline_snapshot.json.
    limit_datasets
        Log only the first so many, in the order of dose and name.
    legacy_statistics
        Whether to add the statistics of the legacy logger, which need a data set in memory as a whole.

    Raises
    ------
    UserError
        The folder is missing or holds no data set, or the baseline cannot be read.
    """
    datasets, warnings = _find(dataset_root)
    baseline = None if baseline_params is None else read_baseline(baseline_params)
    if baseline is not None:
        warnings += metric_warnings(baseline["metrics"])
        warnings += dose_warnings(baseline["parameters"], _hints(baseline, scenario_id))
    entries, probes = [], []
    datasets = datasets[:limit_datasets]
    with Progress("parity log", len(datasets), "data sets") as progress:
        for found in datasets:
            entry = log_dataset(
                found.path, name=found.name, dose=found.dose, legacy_statistics=legacy_statistics
            )
            entry["file"]["path"] = found.path.relative_to(dataset_root).as_posix()
            entries.append(entry)
            warnings += _photon_warnings(entry)
            if entry["problem"] is None:
                probes.append(_probe_row(found))
            progress.advance(note=found.name)
    head = {
        "scenario_id": scenario_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "baseline": baseline,
        "warnings": warnings,
    }
    _write(output, head, entries, probes)
    return all(entry["problem"] is None for entry in entries)


def _find(root: Path) -> tuple[list[_Found], list[str]]:
    """The data sets by dose and name, and what is to be said of them."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the one that holds the data sets")
    warnings: list[str] = []
    found = _legacy(root) or _native(root, warnings) or _others(root, warnings)
    if not found:
        raise UserError(
            f"{root}: no data set below it, an NPZ with diff3d; give the folder that holds the NPZ files"
        )
    return sorted(
        found, key=lambda one: (math.inf if one.dose is None else float(one.dose), one.name)
    ), warnings


def _legacy(root: Path) -> list[_Found]:
    doses = {path: dose_in_name(path.stem) for path in root.glob("data_p*.npz")}
    return [_Found(path, path.stem, dose) for path, dose in doses.items() if dose is not None]


def _native(root: Path, warnings: list[str]) -> list[_Found]:
    found = [
        _Found(path, f"{path.parent.name}/{path.stem}", path.parent.name)
        for path in sorted(root.glob("*/*.npz"))
        if re.fullmatch(DOSE_PATTERN, path.parent.name) and float(path.parent.name) > 0
    ]
    warnings += [text for one in found for text in _declaration_warnings(one)]
    return found


def _others(root: Path, warnings: list[str]) -> list[_Found]:
    found = []
    for path in sorted(root.rglob("*.npz")):
        name = path.relative_to(root).with_suffix("").as_posix()
        if _may_hold_patterns(path):
            found.append(_Found(path, name, dose_in_name(path.stem)))
        else:
            warnings.append(f"{name}.npz: skipped, it holds neither diff3d nor diffraction")
    return found


def _may_hold_patterns(path: Path) -> bool:
    """A file that cannot be read may, and its entry will say what is wrong with it."""
    try:
        with NpzReader(path) as reader:
            return not {"diff3d", "diffraction"}.isdisjoint(reader.keys)
    except (UserError, OSError):
        return True


def _declaration_warnings(found: _Found) -> list[str]:
    """A dose in the .json beside a data set that is not its folder's."""
    beside = found.path.with_suffix(".json")
    if found.dose is None or not beside.exists():
        return []
    try:
        declared = float(read_json(beside)["dose"]["declared_photons"])
    except UserError as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError):
        return [f"{beside}: dose.declared_photons: missing or no number"]
    if math.isclose(declared, float(found.dose), rel_tol=1e-6):
        return []
    return [
        f"{beside}: dose.declared_photons: {declared:g}, but the data set lies in the folder {found.dose}"
    ]


def _photon_warnings(entry: dict[str, Any]) -> list[str]:
    dose: dict[str, Any] = next(
        (part["values"] for part in entry["boundaries"] if part["name"] == "dose"), {}
    )
    deviation = dose.get("deviation_standard_errors")
    if deviation is None or abs(deviation) <= _DOSE_LIMIT:
        return []
    return [
        f"{entry['name']}: {dose['mean_photons']:g} photons per pattern were counted, "
        f"{abs(deviation):.1f} standard errors from the {entry['dose']} declared"
    ]


def _hints(baseline: dict[str, Any], scenario_id: str) -> dict[str, str]:
    """Where the dose of the baseline's data set may be named."""
    return {
        "parameter train_data_file": str(baseline["parameters"].get("train_data_file")),
        "path of the parameters": baseline["source"],
        "scenario": scenario_id,
    }


def _probe_row(found: _Found) -> list[Any]:
    statistics = probe_statistics(RawDataFile(found.path).scan.probe)
    values = [statistics[part][key] for part, key in _PROBE_COLUMNS]
    return [found.path.name, found.dose, *values, statistics["amplitude"]["l2_norm"]]


def _write(
    output: Path, head: dict[str, Any], entries: list[dict[str, Any]], probes: list[list[Any]]
) -> None:
    """All four files, or none of them."""
    with ExitStack() as files:
        log = files.enter_context(atomic_file(output / "parity_log.json"))
        write_log(log, entries, emitter=program(), environment=describe_host(), **head)
        text = files.enter_context(atomic_file(output / "parity_log.md"))
        text.write_text(parity_markdown(read_log(log)), encoding="utf-8")
        table = files.enter_context(atomic_file(output / "probe_stats.csv"))
        table.write_text(_probe_table(probes), encoding="utf-8")
        snapshot = files.enter_context(atomic_file(output / "baseline_snapshot.json"))
        write_json(snapshot, plain(_snapshot(head, entries)))


def _probe_table(probes: list[list[Any]]) -> str:
    stream = io.StringIO()
    short = {"amplitude": "amp", "phase": "phase"}
    columns = [f"{short[part]}_{key}" for part, key in _PROBE_COLUMNS]
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerows([["filename", "photon_dose", *columns, "l2_norm"], *probes])
    return stream.getvalue()


def _snapshot(head: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    baseline = head["baseline"] or {"source": None, "parameters": {}, "metrics": {}}
    doses = {entry["dose"]: None for entry in entries if entry["dose"] is not None}
    datasets = [{key: entry[key] for key in ("name", "dose", "file", "problem")} for entry in entries]
    return {
        "scenario_id": head["scenario_id"],
        "created": head["created"],
        **baseline,
        "doses": list(doses),
        "datasets": datasets,
        "warnings": head["warnings"],
    }
