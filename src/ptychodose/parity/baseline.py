"""The baseline of a scenario: its parameters and metrics, as the legacy pipeline left them, named rightly."""

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.legacy_dill import read_legacy_dill

_NAMES = {
    "psnr": "psnr@legacy255",
    "psnr255": "psnr@legacy255",
    "psnr_range": "psnr",
    "ms_ssim": "ms_ssim@legacy",
    "ms_ssim_sigma1": "ms_ssim@legacy",
}
"""Legacy name of a metric → the name of its definition, metrics.definitions."""

_PAIRED = {"mae", "mse", "psnr", "ssim", "ms_ssim", "frc50"}
_AMPLITUDE_ONLY = {"scale", "mae", "mse", "psnr255", "psnr_range", "ssim", "ms_ssim_sigma1", "frc50_stub"}
"""What a legacy metrics.json holds for each way of aligning the amplitude: numbers, no pairs."""

_ZERO_PHASE = {"mae": (0.0, 1e-5), "psnr@legacy255": (100.0, math.inf)}
"""Ranges (rad, dB) that no reconstructed phase reaches: it and its truth are zero by construction."""

_DOSE = re.compile(r"(?<![a-z0-9])p(\d(?:\.\d+)?e\d+)(?![a-z0-9]|\.\d)", re.IGNORECASE)
_PHOTON_KEYS = ("nphotons", "nphotons_in_params")


def dose_in_name(name: str) -> str | None:
    """The dose that a name such as ``data_p1e5`` or ``PGRID-P1E5-T1024`` gives: ``1e5``."""
    found = _DOSE.search(name.replace("_", "-"))
    return found[1].lower() if found else None


def read_baseline(path: Path) -> dict[str, Any]:
    """Parameters and metrics of a baseline: source, parameters, metrics.

    A legacy ``params.dill`` may hold metrics instead of parameters; those of a ``metrics.json`` beside the
    file are taken too.

    Parameters
    ----------
    path
        A dictionary in a ``.json`` or ``.yaml`` file, or a legacy ``.dill``, read without trust.

    Raises
    ------
    UserError
        The file is missing, of another kind, damaged, refused or no dictionary.
    """
    tree = _read(path)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds no dictionary; give the parameters by name")
    metrics = {name: pair for name, pair in tree.items() if name in _PAIRED and _is_pair(pair)}
    parameters = {str(key): _summary(value) for key, value in tree.items() if key not in metrics}
    found = relabelled(metrics)
    beside = path.with_name("metrics.json")
    if beside.exists():
        found |= {"metrics.json": relabelled(read_json(beside))}
    return {"source": path.as_posix(), "parameters": parameters, "metrics": found}


def relabelled(metrics: Any) -> Any:
    """Legacy metrics by the name of their definition, for amplitude and for phase; NaN becomes None.

    Pairs are (amplitude, phase), whatever a legacy table calls them. A dictionary of plain numbers with the
    names of metrics is of the amplitude alone. What is no metric stays as it is.
    """
    if not isinstance(metrics, Mapping):
        return metrics
    amplitude_only = len(_AMPLITUDE_ONLY & metrics.keys()) > 2
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        label = _NAMES.get(name, str(name))
        if name in _PAIRED and _is_pair(value):
            amplitude, phase = map(_number, value)
            found[label] = {"amplitude": amplitude, "phase": phase}
        elif amplitude_only and isinstance(value, int | float):
            found[label] = {"amplitude": _number(value)}
        else:
            found[label] = relabelled(value)
    return found


def metric_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """What is wrong with relabelled metrics as the legacy tables show them."""
    found = []
    pair = metrics.get("ms_ssim@legacy")
    if isinstance(pair, dict) and None not in (shown := [pair.get("amplitude"), pair.get("phase")]):
        found.append(
            'legacy tables label these pairs (train, test): "ms_ssim '
            f'{shown[0]:.3f} (train) / {shown[1]:.3f} (test)"; they are amplitude and phase'
        )
    elif any(isinstance(value, dict) and "phase" in value for value in metrics.values()):
        found.append("legacy tables label pairs of metrics (train, test); they are amplitude and phase")
    if signs := _signs_of_zero_phase(metrics):
        found.append(f"the phase is zero by construction ({', '.join(signs)}); its metrics say nothing")
    return found


def dose_warnings(parameters: Mapping[str, Any], hints: Mapping[str, str]) -> list[str]:
    """A photon count in the parameters that is not the dose of the baseline's data set.

    Parameters
    ----------
    hints
        Where the dose may be named → the text, the best first; the first that names one counts.
    """
    doses = ((where, text, dose_in_name(text)) for where, text in hints.items())
    named = next(((where, text, dose) for where, text, dose in doses if dose), None)
    key = next((key for key in _PHOTON_KEYS if isinstance(parameters.get(key), int | float)), None)
    if named is None or key is None:
        return []
    where, text, dose = named
    photons = float(parameters[key])
    if math.isclose(photons, float(dose), rel_tol=1e-6):
        return []
    return [
        f"dose mismatch: {key} is {photons:g} in the baseline's parameters, but its data set is of {dose} "
        f"photons per pattern (inferred from the {where}, {text!r}); the likelihood assumed noise "
        f"{_ratio(photons / float(dose))} in intensity"
    ]


def _ratio(ratio: float) -> str:
    return f"{ratio:g} times too small" if ratio > 1 else f"{1 / ratio:g} times too large"


def _signs_of_zero_phase(metrics: Mapping[str, Any]) -> list[str]:
    pairs = {name: pair for name, pair in metrics.items() if isinstance(pair, dict) and "phase" in pair}
    phases = {name: pair["phase"] for name, pair in pairs.items()}
    signs = [
        f"{name} {phases[name]:.4g}"
        for name, (low, high) in _ZERO_PHASE.items()
        if phases.get(name) is not None and low <= phases[name] <= high
    ]
    return signs + [f"{name} undefined" for name, phase in phases.items() if phase is None and signs]


def _read(path: Path) -> Any:
    if path.suffix == ".dill":
        return read_legacy_dill(path)
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: of an unknown kind; give a .json, a .yaml or a legacy params.dill")
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(number is None or isinstance(number, int | float) for number in value)
    )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _summary(value: Any) -> Any:
    """For JSON: an array by its shape, type and hash, text by its beginning."""
    if isinstance(value, np.ndarray):
        stored = np.ascontiguousarray(value)
        digest = hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes())
        return {"shape": list(value.shape), "dtype": value.dtype.name, "sha256": digest.hexdigest()}
    if isinstance(value, Mapping):
        return {str(key): _summary(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_summary(item) for item in value]
    return value if isinstance(value, bool | int | float | type(None)) else str(value)[:1000]
