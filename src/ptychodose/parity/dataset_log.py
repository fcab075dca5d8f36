"""What a parity log says of a data set: every boundary up to the network's input, in one pass."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest
from ptychodose.formats.npz import NpzReader
from ptychodose.formats.rawdata import CHUNK_PATTERNS, RawDataFile
from ptychodose.parity.emitter import Fingerprint, fingerprint, plain
from ptychodose.parity.legacy_statistics import legacy_boundaries
from ptychodose.parity.neighbours import nearest_rows
from ptychodose.physics.photons import measured_dose

Real = npt.NDArray[np.float64]
Boundaries = list[dict[str, Any]]

NEIGHBOURS = 6
_VECTORS = ("xcoords", "ycoords", "scan_index")

LEGACY_AXES = "made of the file's diffraction (N, N, n): axes moved, float32"
WITHOUT_DOSE = "sum of diff3d^2 of each pattern (n,): no dose is declared, so photons cannot be counted"
DERIVED = "derived from raw.diff3d, multiplied by dose.normalization; not hashed"


def log_dataset(
    path: Path, *, name: str, dose: str | None, legacy_statistics: bool = False
) -> dict[str, Any]:
    """An entry of a parity log (schema.Entry) for a RawData file.

    The patterns are read once, a chunk at a time, except for ``legacy_statistics``, which need them all in
    memory. A file that breaks the contract gives an entry with a ``problem`` and no boundaries.

    Parameters
    ----------
    name
        Of the entry: ``<dose>/<split>``, or the file's name without its ending.
    dose
        Declared dose as written ("1e5"), photons per pattern, None if it is not known.
    legacy_statistics
        Whether to add the statistics of the legacy logger, parity.legacy_statistics.

    Raises
    ------
    UserError
        The dose is no positive number.
    """
    dose_photons = None if dose is None else _photons(path, dose)
    facts: dict[str, Any] = {"path": path.as_posix()}
    problem, found = None, []
    try:
        facts["size_bytes"] = path.stat().st_size
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(file_digest, path, "sha256")
            try:
                found = _boundaries(path, dose_photons)
                found += legacy_boundaries(path) if legacy_statistics else []
            except UserError as error:
                problem, found = str(error), []
        facts["sha256"] = digest.result()
    except FileNotFoundError:
        problem = f"{path}: not found"
    except OSError as error:
        problem = f"{path}: {error.strerror or error}"
    entry = {
        "name": name,
        "dose": dose,
        "model": None,
        "file": facts,
        "problem": problem,
        "boundaries": found,
    }
    logged: dict[str, Any] = plain(entry)
    return logged


def _photons(path: Path, dose: str) -> float:
    try:
        photons = float(dose)
    except ValueError:
        photons = math.nan
    if not 0 < photons < math.inf:
        raise UserError(f"{path}: dose: {dose!r} is not a number of photons above 0, such as 1e5")
    return photons


def _boundaries(path: Path, dose_photons: float | None) -> Boundaries:
    file = RawDataFile(path)
    patterns, sums = _one_pass(file, dose_photons)
    with NpzReader(path) as reader:
        stored = {key: fingerprint(reader.array(key)) for key in _VECTORS}
        stored |= {
            key: fingerprint(reader.array(key)) for key in ("probeGuess", "objectGuess") if key in file.keys
        }
    dose = _dose_values(file, sums, dose_photons)
    found: Boundaries = [
        {"name": "dose", "values": dose},
        {"name": "raw.diff3d", "array": patterns, **_said(LEGACY_AXES if file.legacy_axes else None)},
        {
            "name": "raw.photons",
            "array": fingerprint(sums.energy if sums.photons is None else sums.photons.astype(np.int64)),
            **_said(WITHOUT_DOSE if sums.photons is None else None),
        },
        *({"name": f"raw.{key}", "array": array} for key, array in stored.items()),
        {"name": "grouped.scans", "values": _scans(file.scan.scan_index, sums.amplitude)},
        *_groups(file, sums.amplitude),
    ]
    if dose["normalization"] is not None:
        scaled = scaled_fingerprint(patterns, dose["normalization"])
        found.append({"name": "normalized", "array": scaled, "definition": DERIVED})
    return found


@dataclass
class _Sums:
    """Of each pattern, (n,)."""

    energy: Real
    """Sum of diff3d^2."""
    amplitude: Real
    """Mean of diff3d."""
    photons: Real | None
    """Sum of n = rint(diff3d^2 D); None without a dose."""

    def take(self, rows: slice, patterns: npt.NDArray[np.float32], dose_photons: float | None) -> None:
        flat = patterns.reshape(len(patterns), -1)
        squares = np.square(flat, dtype=np.float64)
        self.energy[rows] = squares.sum(axis=1)
        self.amplitude[rows] = flat.mean(axis=1, dtype=np.float64)
        if self.photons is not None and dose_photons is not None:
            squares *= dose_photons
            self.photons[rows] = np.rint(squares, out=squares).sum(axis=1)


def _one_pass(file: RawDataFile, dose_photons: float | None) -> tuple[dict[str, Any], _Sums]:
    """The fingerprint of the patterns, and what is summed of each."""
    n, start, found = len(file.scan), 0, Fingerprint()
    sums = _Sums(np.empty(n), np.empty(n), None if dose_photons is None else np.empty(n))
    with ThreadPoolExecutor(1) as pool:
        previous: Future[None] | None = None
        for stored, patterns in _chunks(file):
            # The next chunk is read while this one is hashed.
            if previous is not None:
                previous.result()
            previous = pool.submit(found.update, stored)
            sums.take(slice(start, start + len(patterns)), patterns, dose_photons)
            start += len(patterns)
    if previous is not None:
        previous.result()
    return found.result(), sums


def _chunks(file: RawDataFile) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.float32]]]:
    """Patterns as stored beside the checked ones; the file is read twice if its precision is unusual."""
    with NpzReader(file.path) as reader:
        if file.legacy_axes or reader.header("diff3d").dtype.newbyteorder("=") == np.float32:
            yield from ((patterns, patterns) for patterns in file.patterns())
        else:
            yield from zip(reader.chunks("diff3d", CHUNK_PATTERNS), file.patterns(), strict=True)


def _dose_values(file: RawDataFile, sums: _Sums, dose_photons: float | None) -> dict[str, float | None]:
    """The numbers of the boundary ``dose``; docs/parity.md says what each is."""
    size_px, energy = file.scan.size_px, math.fsum(sums.energy) / len(sums.energy)
    probe_norm = float(np.linalg.norm(file.scan.probe))
    values: dict[str, float | None] = dict.fromkeys(
        (
            "declared_dose_photons",
            "mean_photons",
            "min_photons",
            "max_photons",
            "standard_error_photons",
            "deviation_standard_errors",
            "intensity_scale",
        )
    )
    if dose_photons is not None and sums.photons is not None:
        # A file does not say whether it is a whole scan, so the spread of the patterns counts.
        measured = measured_dose(sums.photons, dose_photons, whole_scan=False)
        values |= {
            "declared_dose_photons": dose_photons,
            "mean_photons": measured.mean_photons,
            "min_photons": measured.min_photons,
            "max_photons": measured.max_photons,
            "standard_error_photons": measured.standard_error_photons,
            "deviation_standard_errors": measured.deviation_in_standard_errors,
            "intensity_scale": math.sqrt(dose_photons) / (size_px / 2),
        }
    return values | {
        "normalization": size_px / 2 / math.sqrt(energy) if energy else None,
        "mean_sum_squares": energy,
        "probe_l2_norm": probe_norm,
        # Root mean square of the object's amplitude under the probe, if the probe is in units of diff3d:
        # sum diff3d^2 = sum |P O|^2 in the mean.
        "amplitude_scale": math.sqrt(energy) / probe_norm if probe_norm else None,
        "n_patterns": len(sums.energy),
        "size_px": size_px,
    }


def _scans(scan_index: npt.NDArray[np.int64], amplitude: Real) -> dict[str, dict[str, float]]:
    scans, members = np.unique(scan_index, return_inverse=True)
    counts = np.bincount(members)
    means = np.bincount(members, weights=amplitude) / counts
    return {
        str(scan): {"n_patterns": int(count), "mean_amplitude": float(mean)}
        for scan, count, mean in zip(scans, counts, means, strict=True)
    }


def _groups(file: RawDataFile, amplitude: Real) -> Boundaries:
    """Each position with its nearest neighbours; nothing where there are too few positions."""
    points = np.column_stack([file.scan.y, file.scan.x])
    if len(points) <= NEIGHBOURS:
        return []
    rows = nearest_rows(points, NEIGHBOURS + 1)
    members = points[rows]
    arrays = {
        "neighbours": rows,
        "offsets_px": members - members.mean(axis=1, keepdims=True),
        "amplitude": amplitude[rows].mean(axis=1),
    }
    return [{"name": f"grouped.{name}", "array": fingerprint(array)} for name, array in arrays.items()]


def scaled_fingerprint(array: dict[str, Any], factor: float) -> dict[str, Any]:
    """The fingerprint of a float32 array times a positive factor, up to rounding; it has no hash."""
    scaled = array | {"dtype": "float32", "sha256": None}
    scaled |= {key: array[key] * factor for key in ("min", "max", "mean", "std") if key in array}
    scaled["sum_of_squares"] = array["sum_of_squares"] * factor**2
    scaled |= {key: np.asarray(array[key]) * factor for key in ("projection", "thumbnail") if key in array}
    if "percentiles" in array:
        scaled["percentiles"] = {p: value * factor for p, value in array["percentiles"].items()}
    return scaled


def _said(definition: str | None) -> dict[str, str]:
    return {} if definition is None else {"definition": definition}
