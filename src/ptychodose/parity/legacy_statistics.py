"""The statistics of the legacy parity logger, under its own names and by its own definitions.

They are exact percentiles (NumPy's, linear) of whole arrays, so a data set is held in memory as a whole.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.formats.rawdata import RawDataFile

DEFINITIONS = {
    "legacy.raw": "statistics of diff3d as stored; percentiles interpolated linearly",
    "legacy.normalized": "statistics of diff3d / max(diff3d); percentiles interpolated linearly",
    "legacy.grouped": "statistics over the scans of each scan's mean of diff3d (no groups of neighbours)",
    "legacy.probe.amplitude": "statistics of |probeGuess|, and l2_norm = sqrt(sum |probeGuess|^2)",
    "legacy.probe.phase": "statistics of the angle of probeGuess, rad, every pixel alike",
}

_PATTERNS = {"median": 50, "p01": 1, "p10": 10, "p90": 90, "p99": 99}
_PROBE = {"p01": 1, "p05": 5, "p50": 50, "p95": 95, "p99": 99}


def legacy_boundaries(path: Path) -> list[dict[str, Any]]:
    """The ``legacy.*`` boundaries of a RawData file; all of its patterns are in memory, up to four times.

    Raises
    ------
    UserError
        The file breaks the RawData contract.
    """
    file = RawDataFile(path)
    patterns = file.all_patterns()
    of_pattern = patterns.mean(axis=(1, 2), dtype=np.float64)
    scans, members = np.unique(file.scan.scan_index, return_inverse=True)
    of_scan = np.bincount(members, weights=of_pattern) / np.bincount(members)
    # A scan without a photon has no largest value to divide by.
    normalized = patterns / (patterns.max() or np.float32(1))
    values = {
        "legacy.raw": pattern_statistics(patterns),
        "legacy.normalized": pattern_statistics(normalized),
        "legacy.grouped": pattern_statistics(of_scan)
        | {"n_unique_scans": len(scans), "n_patterns": len(patterns)},
    }
    values |= {f"legacy.probe.{part}": found for part, found in probe_statistics(file.scan.probe).items()}
    return [
        {"name": name, "values": found, "definition": DEFINITIONS[name]} for name, found in values.items()
    ]


def pattern_statistics(array: npt.NDArray[Any]) -> dict[str, float]:
    """Of all values of an array alike: the keys of the published log."""
    return _statistics(array, _PATTERNS) | {
        "nonzero_fraction": np.count_nonzero(array) / array.size,
        "count": array.size,
    }


def probe_statistics(probe: npt.NDArray[np.complex128]) -> dict[str, dict[str, float]]:
    """``{"amplitude": {...}, "phase": {...}}`` of a probe (N, N); the phase in rad."""
    return {
        "amplitude": _statistics(np.abs(probe), _PROBE) | {"l2_norm": float(np.linalg.norm(probe))},
        "phase": _statistics(np.angle(probe), _PROBE),
    }


def _statistics(array: npt.NDArray[Any], percentiles: dict[str, int]) -> dict[str, float]:
    found = {
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean(dtype=np.float64)),
        "std": float(array.std(dtype=np.float64)),
    }
    values = np.percentile(array, list(percentiles.values()))
    return found | dict(zip(percentiles, values.tolist(), strict=True))
