"""How alike the checkpoints of two studies are: the same weights, the same up to rounding, or others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ptychodose.errors import UserError
from ptychodose.formats.hashing import file_digest
from ptychodose.formats.revisions import Folder, Tree
from ptychodose.parity.environments import read_run_log
from ptychodose.parity.numbers import Run, in_order
from ptychodose.parity.outputs import promised_outputs

CLOSE = 1e-4
"""Largest relative difference of a layer's norm, and of its mean in units of the layer's rms."""

Tier = Literal["exact", "close", "another training", "not compared", "missing"]
Layers = Mapping[str, Mapping[str, Any]]
"""Values of the boundary ``train.weights``: by layer its shape, l2_norm, mean and sha256."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network of the reference, and how alike that of the workspace is."""

    model: str
    dose: str
    tier: Tier
    detail: str = ""


def compare_checkpoints(reference: Tree, workspace: Folder) -> list[Checkpoint]:
    """Every checkpoint that the reference's dvc.lock promises: by its bytes, else by the parity logs.

    Raises
    ------
    UserError
        The reference has no dvc.lock.
    """
    found = []
    for output, promises in promised_outputs(reference, "data/models").items():
        path = Path(output) / "model.keras"
        md5 = next((promise.md5 for promise in promises if promise.path == path), None)
        model, dose = path.parts[-3:-1]
        found.append(_compared((model, dose), workspace.root / path, md5, reference, workspace))
    return sorted(found, key=lambda checkpoint: in_order((checkpoint.model, checkpoint.dose)))


def tier(a: Layers, b: Layers) -> Tier:
    """How alike two networks are, layer by layer."""
    if a.keys() != b.keys() or not a:
        return "another training"
    if all(a[layer].get("sha256") == b[layer].get("sha256") is not None for layer in a):
        return "exact"
    return "close" if all(_close(a[layer], b[layer]) for layer in a) else "another training"


def _compared(run: Run, file: Path, md5: str | None, reference: Tree, workspace: Folder) -> Checkpoint:
    if not file.is_file():
        return Checkpoint(*run, "missing", f"{file} is not there")
    if file_digest(file, "md5") == md5:
        return Checkpoint(*run, "exact")
    try:
        layers = [_weights(tree, run) for tree in (reference, workspace)]
    except UserError as error:
        return Checkpoint(*run, "not compared", str(error))
    if layers[0] is None or layers[1] is None:
        return Checkpoint(*run, "not compared", "no parity log; judged by its metrics")
    alike = tier(layers[0], layers[1])
    details = {"close": f"norms and means of all layers within {CLOSE:g}"}
    return Checkpoint(*run, alike, details.get(alike, "" if alike == "exact" else "judged by its metrics"))


def _weights(tree: Tree, run: Run) -> Layers | None:
    log = read_run_log(tree, run)
    boundaries = [boundary for entry in log.datasets for boundary in entry.boundaries] if log else []
    return next((boundary.values for boundary in boundaries if boundary.name == "train.weights"), None)


def _close(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    try:
        if a["shape"] != b["shape"]:
            return False
        # A mean may be zero but for rounding, so it is measured by what the weights are like.
        rms = a["l2_norm"] / math.sqrt(math.prod(a["shape"]) or 1)
        return bool(
            abs(a["l2_norm"] - b["l2_norm"]) <= CLOSE * a["l2_norm"]
            and abs(a["mean"] - b["mean"]) <= CLOSE * rms
        )
    except (KeyError, TypeError):
        return False
