"""Keras checkpoints: loaded in safe mode, stored so that equal models give equal bytes."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras

from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory, atomic_file
from ptychodose.formats.jsonfile import read_json, write_json


def save_model(model: keras.Model, path: Path) -> None:
    """Save in Keras' own format (.keras), without its dates and memory addresses."""
    with atomic_file(path) as partial:
        # Keras insists on the ending .keras.
        dated = partial.with_name(f"{partial.name}.keras")
        try:
            model.save(dated)
            _reproducible(dated, partial)
        finally:
            dated.unlink(missing_ok=True)


def load_model(path: Path) -> keras.Model:
    """Load a .keras file in safe mode: no code from the file is run."""
    # Importing the networks registers their layers, so that Keras can find them by name.
    import ptychodose.networks.legacy
    import ptychodose.networks.pinn
    import ptychodose.networks.pinn_groups  # noqa: F401

    if not path.exists():
        raise UserError(f"{path}: not found; fetch it with `dvc pull` or train it with `dvc repro`")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{path}: not a Keras checkpoint of this project ({reason})") from None


def save_training_state(model: keras.Model, progress: dict[str, Any], folder: Path) -> None:
    """Weights and optimizer of a compiled model, with a JSON of how far it is, as one atomic folder."""
    with atomic_directory(folder) as partial:
        model.save_weights(partial / "state.weights.h5")
        write_json(partial / "progress.json", progress)


def read_progress(folder: Path) -> dict[str, Any] | None:
    """The JSON of :func:`save_training_state`, or None if there is no unfinished training."""
    path = folder / "progress.json"
    return dict(read_json(path)) if path.exists() else None


def load_training_state(model: keras.Model, folder: Path) -> None:
    """Restore weights and optimizer into a compiled model of the same architecture."""
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / "state.weights.h5")


def _reproducible(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            data = old.read(name)
            if name == "metadata.json":
                metadata = json.loads(data)
                del metadata["date_saved"]
                data = json.dumps(metadata).encode()
            elif name == "config.json":
                data = _numbered(data.decode()).encode()
            new.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)


def _numbered(config: str) -> str:
    """Keras names an object that two layers share by its address in memory: name them 1, 2, ... instead."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )([0-9]+)',
        lambda found: f"{found[1]}{numbers.setdefault(found[2], len(numbers) + 1)}",
        config,
    )
