"""Stage train@model-dose: one network, trained on the photons of one dose."""

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from ptychodose import networks
from ptychodose.config import Params
from ptychodose.environment import describe_environment, make_deterministic
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory, atomic_file
from ptychodose.formats.checkpoints import (
    load_training_state,
    read_progress,
    save_model,
    save_training_state,
)
from ptychodose.formats.hashing import file_digest
from ptychodose.formats.jsonfile import read_json, rounded, write_json
from ptychodose.formats.params_dill import write_params_dill
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.networks.pinn import build_pinn, rate_model
from ptychodose.networks.training import (
    PhotonHalves,
    compile_for_training,
    train_epoch,
    validation_loss,
)
from ptychodose.physics.photons import mean_exit_energy
from ptychodose.physics.randomness import generator, philox_key
from ptychodose.report.progress import Progress
from ptychodose.stages import layout


def run(params: Params, model: str, dose: str) -> None:
    """Write data/models/<model>/<dose>/ and metrics/<model>/<dose>.loss.csv.

    The state after every epoch is kept outside these folders; a training that was killed goes on from
    there if parameters and data are the same.
    """
    dataset = RawDataFile(layout.dataset(dose, "train"))
    facts = read_json(dataset.path.with_suffix(".json"))
    train, dose_photons = params.train, float(dose)
    patterns = dataset.all_patterns()
    training, validation = _split_validation(params, len(patterns))

    make_deterministic(params.seed)
    network = build_pinn(dataset.scan.size_px, width=train.width, stages=train.stages)
    energy = mean_exit_energy(dose_photons, facts["gain_squared"])
    network.get_layer("probe").set_probe(dataset.scan.probe, energy)
    rates = rate_model(network)
    halves = PhotonHalves(
        patterns[training], dose_photons, facts["dose"]["mean_photons"], train.batch_size, params.seed
    )
    held_back = dataclasses.replace(halves, patterns=patterns[validation])
    total_steps = halves.steps * train.epochs
    compile_for_training(
        rates,
        dose_photons=dose_photons,
        learning_rate=train.learning_rate,
        warmup_fraction=train.warmup_fraction,
        clip_norm=train.clip_norm,
        total_steps=total_steps,
    )

    state = layout.resume(model, dose)
    identity = {
        "train": train.model_dump(),
        "seed": params.seed,
        "dataset_sha256": file_digest(dataset.path, "sha256"),
        "code_sha256": _code_digest(),
        "keras": keras.version(),
        "backend": keras.backend.backend(),
    }
    history = _resume(rates, state, identity)
    with Progress(f"train {model} {dose}", total_steps, "steps") as progress:
        progress.advance(halves.steps * len(history))
        for epoch in range(len(history), train.epochs):
            try:
                loss = train_epoch(
                    rates, halves, epoch, lambda loss: progress.advance(note=f"loss {loss:.5f}")
                )
                held_back_loss = validation_loss(rates, held_back) if len(validation) else None
            except FloatingPointError as error:
                raise UserError(f"train {model} {dose}: {error}; lower train.learning_rate") from None
            history.append({"epoch": epoch + 1, "loss": loss, "val_loss": held_back_loss})
            save_training_state(rates, {"identity": identity, "history": history}, state)

    with atomic_directory(layout.model(model, dose)) as folder:
        save_model(network, folder / "model.keras")
        write_json(folder / "config.json", _config(params, model, dose, facts, network))
        write_json(folder / "history.json", history)
        write_json(folder / "environment.json", describe_environment())
        write_params_dill(folder / "params.dill", _legacy_settings(params, dose, facts, dataset))
    _write_loss_curve(layout.loss_curve(model, dose), history)
    shutil.rmtree(state, ignore_errors=True)


def _code_digest() -> str:
    """Hash of the code a training state belongs to."""
    files = [*sorted(Path(networks.__path__[0]).glob("*.py")), Path(__file__)]
    return hashlib.sha256("".join(file_digest(file, "sha256") for file in files).encode()).hexdigest()


def _split_validation(params: Params, n: int) -> tuple[np.ndarray, np.ndarray]:
    order = generator(philox_key("validation", params.seed)).permutation(n)
    n_validation = int(n * params.train.validation_fraction)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def _resume(rates: keras.Model, state: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """History of the epochs already done by a training that was killed; none if it was another one."""
    progress = read_progress(state)
    if progress is None or progress["identity"] != rounded(identity):
        shutil.rmtree(state, ignore_errors=True)
        return []
    load_training_state(rates, state)
    return list(progress["history"])


def _config(
    params: Params, model: str, dose: str, facts: dict[str, Any], network: keras.Model
) -> dict[str, Any]:
    return {
        "schema": "ptychodose/model/1",
        "scenario": params.scenario,
        "model": model,
        "dose": dose,
        "size_px": facts["size_px"],
        "gridsize": 1,
        "seed": params.seed,
        "train": params.train.model_dump(),
        "n_parameters": network.count_params(),
        "intensity_scale": facts["intensity_scale"],
        "mean_exit_energy": mean_exit_energy(float(dose), facts["gain_squared"]),
        "mean_fraction": facts["dose"]["mean_photons"] / float(dose),
        "gain_origin": facts["gain_origin"],
        "formulas": {
            "mean_exit_energy": "E = D / g^2 = mean_i sum |P O_i|^2 of the train set",
            "mean_fraction": "m = measured mean photons / D of the train set",
            "input": "X = diff3d (N/2) / sqrt(m), so mean_i sum X_i^2 = (N/2)^2",
            "amplitude": "true amplitude of another set = output x sqrt(m' E' / (m E))",
        },
    }


def _legacy_settings(
    params: Params, dose: str, facts: dict[str, Any], dataset: RawDataFile
) -> dict[str, Any]:
    """The names legacy readers look for."""
    return {
        "N": facts["size_px"],
        "gridsize": 1,
        "nphotons": float(dose),
        "nepochs": params.train.epochs,
        "batch_size": params.train.batch_size,
        "intensity_scale": facts["intensity_scale"],
        "probe": dataset.scan.probe,
        "train_data_file_path": str(dataset.path),
        "model_type": "pinn",
    }


def _write_loss_curve(path: Path, history: list[dict[str, Any]]) -> None:
    lines = ["epoch,loss,val_loss"]
    for row in history:
        validation_loss = "" if row["val_loss"] is None else f"{row['val_loss']:.8g}"
        lines.append(f"{row['epoch']},{row['loss']:.8g},{validation_loss}")
    with atomic_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
