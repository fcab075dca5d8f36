"""Stage train@model-dose: one network, trained on the photons of one dose."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import keras

from ptychodose import networks
from ptychodose.config import ModelParams, Params
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
from ptychodose.networks.devices import data_parallel, whole_shares
from ptychodose.networks.precision import in_float32, set_precision
from ptychodose.networks.training import train_epoch, validation_loss
from ptychodose.physics.grouping import GroupsTooWideError
from ptychodose.physics.photons import mean_exit_energy
from ptychodose.report.progress import Progress
from ptychodose.stages import layout, recipes
from ptychodose.stages.recipes import Recipe, TrainSet, gridsize, prepare, split_validation


def run(params: Params, model: str, dose: str) -> None:
    """Write data/models/<model>/<dose>/ and metrics/<model>/<dose>.loss.csv.

    The state after every epoch is kept outside these folders; a training that was killed goes on from
    there if parameters and data are the same.
    """
    history = train(params, model, dose, layout.model(model, dose), layout.resume(model, dose))
    _write_loss_curve(layout.loss_curve(model, dose), history)


def train(
    params: Params, model: str, dose: str, target: Path, state: Path, *, title: str | None = None
) -> list[dict[str, Any]]:
    """Train a model of the study into the folder ``target``; the loss of every epoch.

    ``state`` is where an unfinished training is kept.
    """
    spec = params.models[model]
    make_deterministic(params.seed)
    set_precision(params.train.precision)
    with data_parallel(params.train.devices):
        data = train_set(dose)
        training, validation = (
            whole_shares(rows, spec.batch_size, params.train.devices)
            for rows in split_validation(params, spec, data.scan)
        )
        try:
            recipe = prepare(params, model, data, training, validation)
        except GroupsTooWideError as error:
            raise UserError(f"{data.path}: {error}; the scan is too sparse for gridsize 2") from None
        identity = {
            "train": params.train.model_dump(),
            "model": spec.model_dump(),
            "seed": params.seed,
            "dataset_sha256": file_digest(data.path, "sha256"),
            "code_sha256": _code_digest(),
            "keras": keras.version(),
            "backend": keras.backend.backend(),
        }
        history = _train(recipe, spec, f"train {title or model} {dose}", state, identity)
    network = recipe.network if params.train.precision == "float32" else in_float32(recipe.network)
    write_model(params, model, dose, target, network, recipe.object_unit, history)
    set_precision("float32")  # of what is built after this, to predict with
    shutil.rmtree(state, ignore_errors=True)
    return history


def train_set(dose: str) -> TrainSet:
    """The photons of a dose's train set."""
    dataset = RawDataFile(layout.dataset(dose, "train"))
    facts = read_json(dataset.path.with_suffix(".json"))
    return TrainSet(
        dataset.path,
        dataset.scan,
        dataset.all_patterns(),
        float(dose),
        facts["dose"]["mean_photons"],
        mean_exit_energy(float(dose), facts["gain_squared"]),
        facts["interpolation"],
    )


def write_model(
    params: Params,
    model: str,
    dose: str,
    target: Path,
    network: keras.Model,
    object_unit: float,
    history: list[dict[str, Any]],
) -> None:
    """A model's folder: checkpoint, configuration, history, environment, and what legacy readers look for."""
    path = layout.dataset(dose, "train")
    facts = read_json(path.with_suffix(".json"))
    with atomic_directory(target) as folder:
        save_model(network, folder / "model.keras")
        write_json(folder / "config.json", _config(params, model, dose, facts, network, object_unit))
        write_json(folder / "history.json", history)
        write_json(folder / "environment.json", describe_environment())
        write_params_dill(folder / "params.dill", _legacy_settings(params, model, dose, facts))


def _train(
    recipe: Recipe, spec: ModelParams, title: str, state: Path, identity: dict[str, Any]
) -> list[dict[str, Any]]:
    """All epochs that are still to do; the loss of every epoch."""
    trained, batches, plateau = recipe.trained, recipe.training, recipe.plateau
    history = _resume(trained, state, identity)
    if plateau is not None:
        for row in history:
            plateau = plateau.after_epoch(row["loss"], row["val_loss"])
    with Progress(title, batches.steps * spec.epochs, "steps") as progress:
        progress.advance(batches.steps * len(history))
        for epoch in range(len(history), spec.epochs):
            if plateau is not None:
                if plateau.stop:
                    break
                trained.optimizer.learning_rate = plateau.learning_rate
            try:
                loss = train_epoch(
                    trained, batches, epoch, lambda loss: progress.advance(note=f"loss {loss:.5f}")
                )
                held_back = validation_loss(trained, recipe.validation) if recipe.validation else None
            except FloatingPointError as error:
                raise UserError(f"{title}: {error}; lower the model's learning_rate") from None
            history.append({"epoch": epoch + 1, "loss": loss, "val_loss": held_back})
            if plateau is not None:
                plateau = plateau.after_epoch(loss, held_back)
            save_training_state(trained, {"identity": identity, "history": history}, state)
    return history


def _code_digest() -> str:
    """Hash of the code a training state belongs to."""
    files = [*sorted(Path(networks.__path__[0]).glob("*.py")), Path(recipes.__file__), Path(__file__)]
    return hashlib.sha256("".join(file_digest(file, "sha256") for file in files).encode()).hexdigest()


def _resume(rates: keras.Model, state: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """History of the epochs already done by a training that was killed; none if it was another one."""
    progress = read_progress(state)
    if progress is None or progress["identity"] != rounded(identity):
        shutil.rmtree(state, ignore_errors=True)
        return []
    load_training_state(rates, state)
    return list(progress["history"])


def _config(
    params: Params, model: str, dose: str, facts: dict[str, Any], network: keras.Model, object_unit: float
) -> dict[str, Any]:
    spec = params.models[model]
    return {
        "schema": "ptychodose/model/2",
        "scenario": params.scenario,
        "model": model,
        "dose": dose,
        "size_px": facts["size_px"],
        "gridsize": gridsize(spec),
        "seed": params.seed,
        "settings": spec.model_dump(),
        "train": params.train.model_dump(),
        "n_parameters": network.count_params(),
        "intensity_scale": facts["intensity_scale"],
        "mean_exit_energy": mean_exit_energy(float(dose), facts["gain_squared"]),
        "mean_fraction": facts["dose"]["mean_photons"] / float(dose),
        "gain_origin": facts["gain_origin"],
        "object_unit": object_unit,
        "formulas": {
            "mean_exit_energy": "E = D / g^2 = mean_i sum |P O_i|^2 of the train set",
            "mean_fraction": "m = measured mean photons / D of the train set",
            "input": "X = diff3d (N/2) / sqrt(m), so mean_i sum X_i^2 = (N/2)^2",
            "amplitude": "amplitude of another set in the train set's units = output x sqrt(m' E' / (m E))",
            "object_unit": "u = true amplitude / output on the train set: 1 unless the model has its own",
        },
    }


def _legacy_settings(params: Params, model: str, dose: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The names legacy readers look for."""
    spec, dataset = params.models[model], RawDataFile(layout.dataset(dose, "train"))
    return {
        "N": facts["size_px"],
        "gridsize": gridsize(spec),
        "nphotons": float(dose),
        "nepochs": spec.epochs,
        "batch_size": spec.batch_size,
        "intensity_scale": facts["intensity_scale"],
        "probe": dataset.scan.probe,
        "train_data_file_path": str(dataset.path),
        "model_type": "supervised" if spec.kind == "supervised" else "pinn",
    }


def _write_loss_curve(path: Path, history: list[dict[str, Any]]) -> None:
    lines = ["epoch,loss,val_loss"]
    for row in history:
        validation_loss = "" if row["val_loss"] is None else f"{row['val_loss']:.8g}"
        lines.append(f"{row['epoch']},{row['loss']:.8g},{validation_loss}")
    with atomic_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
