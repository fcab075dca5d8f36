"""Stage fingerprint@model-dose: a network's training, start and end, what it is given, what it predicts."""

from typing import Any

import keras
import numpy as np

from ptychodose.config import Params, Split
from ptychodose.environment import describe_environment, make_deterministic
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json
from ptychodose.networks.devices import data_parallel, whole_shares
from ptychodose.networks.precision import set_precision
from ptychodose.parity.emitter import Fingerprint, entry
from ptychodose.parity.training_log import first_steps, weights_by_layer
from ptychodose.physics.diffraction import diffraction_intensity, exit_waves
from ptychodose.physics.thinning import input_scale, network_input
from ptychodose.report.progress import Progress
from ptychodose.stages import layout
from ptychodose.stages.fingerprint_log import results, write
from ptychodose.stages.infer import predict_split
from ptychodose.stages.recipes import prepare, split_validation
from ptychodose.stages.train import train_set


def run(params: Params, model: str, dose: str) -> None:
    """Write data/parity/<model>/<dose>.json, one entry a split; the training is in that of train."""
    folder = layout.model(model, dose)
    entries = [
        entry(
            f"{dose}/{split}",
            dose=dose,
            model=model,
            boundaries=boundaries | results(model, dose, split),
        )
        | {"trained_in": read_json(folder / "environment.json")}
        for split, boundaries in _network_boundaries(params, model, dose).items()
    ]
    write(params, layout.parity(model, dose), entries, describe_environment())


def _network_boundaries(params: Params, model: str, dose: str) -> dict[Split, dict[str, Any]]:
    """Boundaries by split, those of the training with the train split."""
    training = _start_of_training(params, model, dose) if (model, dose) in params.trained_runs() else {}
    folder = layout.model(model, dose)
    network, config = load_model(folder / "model.keras"), read_json(folder / "config.json")
    found: dict[Split, dict[str, Any]] = {}
    for split in params.splits():
        found[split] = _probe(network) | _prediction(params, network, config, dose, split)
    found["train"] = training | {"train.weights": weights_by_layer(network)} | found["train"]
    return found


def _start_of_training(params: Params, model: str, dose: str) -> dict[str, Any]:
    """Begin the training once more, as stage train does, for a few steps."""
    spec = params.models[model]
    make_deterministic(params.seed)
    set_precision(params.train.precision)
    with data_parallel(params.train.devices):
        data = train_set(dose)
        training, validation = (
            whole_shares(rows, spec.batch_size, params.train.devices)
            for rows in split_validation(params, spec, data.scan)
        )
        recipe = prepare(params, model, data, training, validation)
        initial = weights_by_layer(recipe.network)
        steps = first_steps(recipe.trained, recipe.training)
    set_precision("float32")
    return {"train.initial_weights": initial, "train.steps": steps}


def _probe(network: keras.Model) -> dict[str, Any]:
    """The probe in the units the model has it in; the supervised baseline has none."""
    if "probe" not in [layer.name for layer in network.layers]:
        return {}
    probe = keras.ops.convert_to_numpy(network.get_layer("probe").probe)
    return {"probe": np.ascontiguousarray(probe).view(np.complex64)[..., 0]}


def _prediction(
    params: Params, network: keras.Model, config: dict[str, Any], dose: str, split: Split
) -> dict[str, Any]:
    """Input, amplitude, phase and rates of all patches, in the order in which they are predicted."""
    predicted = predict_split(params, network, config, dose, split)
    scan, facts = predicted.dataset.scan, predicted.facts
    scale = input_scale(facts["dose"]["mean_photons"], scan.size_px)
    names = ("input", "output.amplitude", "output.phase", "rates")
    found = {name: Fingerprint() for name in names}
    with Progress(f"fingerprint {config['model']} {dose} {split}", len(scan), "patterns") as progress:
        for rows, counts, patches in predicted.predictions:
            patches = config["object_unit"] * patches
            rates = facts["gain_squared"] * diffraction_intensity(exit_waves(scan.probe, patches))
            pieces = (network_input(counts, scale)[..., 0], np.abs(patches), np.angle(patches), rates)
            for name, piece in zip(names, pieces, strict=True):
                # In single precision, as the network computes.
                found[name].update(piece.astype(np.float32))
            progress.advance(len(rows))
    return dict(found)
