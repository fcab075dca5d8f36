"""What tests/networks/test_backends.py runs in a process of its own: python -m tests.networks.backend_worker.

Arguments: a task (a function below) and a folder. KERAS_BACKEND says which backend; the numbers go to
<folder>/<backend>-<task>.npz.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from ptychodose.environment import describe_environment, make_deterministic
from ptychodose.formats.checkpoints import (
    load_model,
    load_training_state,
    save_model,
    save_training_state,
)
from ptychodose.formats.jsonfile import write_json
from ptychodose.networks.devices import data_parallel
from ptychodose.networks.legacy import build_pinn_legacy
from ptychodose.networks.losses import PoissonNLL
from ptychodose.networks.physics_layers import Float32Layer
from ptychodose.networks.pinn import build_pinn, rate_model
from ptychodose.networks.pinn_groups import build_pinn_groups
from ptychodose.networks.precision import in_float32, set_precision
from ptychodose.networks.supervised import build_supervised
from ptychodose.networks.training import FixedPairs, cosine_adam, train_epoch, validation_loss
from ptychodose.physics.diffraction import diffraction_intensity, exit_waves
from ptychodose.physics.photons import draw_counts, gain_squared, mean_exit_energy
from ptychodose.physics.probes import zone_plate
from ptychodose.physics.randomness import philox_key

SIZE_PX, DOSE, BATCH = 64, 1e5, 8
EPOCHS = 2  # of two steps each
CHECKPOINT = "network.keras"


def scene():
    """Probe, its mean exit energy, and counted patterns of waves in amplitude and phase."""
    probe = zone_plate(
        SIZE_PX,
        pixel_m=2.56e-8,
        wavelength_m=1.4089e-10,
        outer_zone_width_m=6e-8,
        central_stop_fraction=0.4,
        defocus_m=3e-4,
    )
    y, x = np.indices((SIZE_PX, SIZE_PX))
    turns = np.arange(2 * BATCH)[:, None, None] / (2 * BATCH)
    waves = np.sin(2 * np.pi * (x / 23 + turns)) * np.cos(2 * np.pi * (y / 17 + 3 * turns))
    intensity = diffraction_intensity(exit_waves(probe, (0.8 + 0.2 * waves) * np.exp(0.5j * waves)))
    gain = gain_squared(DOSE, intensity.sum(axis=(1, 2)))
    fraction = draw_counts(gain * intensity, philox_key("backends"), 0)[..., None] / DOSE
    inputs = np.sqrt(fraction / fraction.sum(axis=(1, 2, 3)).mean()) * (SIZE_PX / 2)
    pairs = FixedPairs(inputs.astype(np.float32), fraction.astype(np.float32), BATCH, seed=5)
    return probe, mean_exit_energy(DOSE, gain), pairs


def network_and_rates(*, width=4, stages=2):
    """A network with its probe, compiled with its forward model as the training stage does, and its data."""
    make_deterministic(3)
    probe, energy, pairs = scene()
    network = build_pinn(SIZE_PX, width=width, stages=stages)
    network.get_layer("probe").set_probe(probe, energy)
    rates = rate_model(network)
    adam = cosine_adam(learning_rate=1e-3, warmup_fraction=0.1, clip_norm=1.0, total_steps=100)
    rates.compile(optimizer=adam, loss=PoissonNLL(DOSE))
    return network, rates, pairs


def trained(epochs, **sizes):
    """The network after some epochs, its rate model and the loss of each epoch."""
    network, rates, pairs = network_and_rates(**sizes)
    return network, rates, [train_epoch(rates, pairs, epoch, lambda _: None) for epoch in range(epochs)]


def flat(network):
    """All weights in one row."""
    return np.concatenate([np.ravel(weight) for weight in network.get_weights()])


def other_networks():
    """Inputs and an untrained network of each kind that :func:`trained` does not have, by name."""
    probe, energy, pairs = scene()
    groups = np.ascontiguousarray(pairs.inputs.reshape(-1, 4, SIZE_PX, SIZE_PX).transpose(0, 2, 3, 1))
    offsets = np.linspace(-6, 6, groups.shape[0] * 4 * 2, dtype=np.float32).reshape(-1, 4, 2)
    networks = {
        "supervised": (pairs.inputs, build_supervised(SIZE_PX, filters_scale=0.25)),
        "legacy": (pairs.inputs, build_pinn_legacy(SIZE_PX, n_filters_scale=1)),
        "groups": ([groups, offsets], build_pinn_groups(SIZE_PX, width=2, stages=1)),
    }
    for name in ("legacy", "groups"):
        networks[name][1].get_layer("probe").set_probe(probe, energy)
    return networks


def prepare(folder):
    """Checkpoints: one of weights that are far from the start's zeros, one of each other network."""
    network, _, _ = trained(10)
    save_model(network, folder / CHECKPOINT)
    for name, (_, other) in other_networks().items():
        save_model(other, folder / f"{name}.keras")
    return {}


def agreement(folder):
    """Predictions and losses of the checkpoints of :func:`prepare`."""
    network, rates, pairs = network_and_rates()
    network.load_weights(folder / CHECKPOINT)
    inputs, targets = pairs.batch(0, 0)
    loss_before = validation_loss(rates, pairs)
    step_loss = rates.train_on_batch(inputs, targets)
    write_json(folder / f"{keras.backend.backend()}.json", describe_environment())
    others = {
        name: load_model(folder / f"{name}.keras").predict_on_batch(seen)
        for name, (seen, _) in other_networks().items()
    }
    return others | {
        "pinn": load_model(folder / CHECKPOINT).predict_on_batch(inputs),
        "loss_before": loss_before,
        "step_loss": step_loss,
        "loss_after": validation_loss(rates, pairs),
    }


def repetition(folder):
    """Weights of a training, of the same again, and of one that was stopped after an epoch and resumed."""
    network, _, losses = trained(EPOCHS, stages=1)
    again, _, losses_again = trained(EPOCHS, stages=1)
    _, stopped, _ = trained(1, stages=1)
    save_training_state(stopped, {}, folder / "state")
    resumed, resumed_rates, pairs = network_and_rates(stages=1)
    load_training_state(resumed_rates, folder / "state")
    train_epoch(resumed_rates, pairs, 1, lambda _: None)
    return {
        "weights": flat(network),
        "weights_again": flat(again),
        "weights_resumed": flat(resumed),
        "losses": losses,
        "losses_again": losses_again,
    }


def precision(folder):
    """A training in each precision: what its layers computed in, and predictions of what was saved of it."""
    results = {}
    for name in ("float32", "mixed_bfloat16", "mixed_float16"):
        set_precision(name)
        network, rates, losses = trained(20, stages=1)
        physics = [layer for layer in rates.layers if isinstance(layer, Float32Layer)]
        convolutions = [layer for layer in rates.layers if isinstance(layer, keras.layers.Conv2D)]
        save_model(in_float32(network), folder / f"{name}.keras")
        set_precision("float32")
        loaded = load_model(folder / f"{name}.keras")
        seen, _ = scene()[2].batch(0, 0)
        results |= {
            f"{name} losses": losses,
            f"{name} physics": np.unique([layer.compute_dtype for layer in physics]),
            f"{name} convolutions": np.unique([layer.compute_dtype for layer in convolutions]),
            f"{name} weights": np.unique([str(weight.dtype) for weight in network.weights]),
            f"{name} saved": np.unique([layer.compute_dtype for layer in loaded.layers]),
            f"{name} predictions": network.predict_on_batch(seen),
            f"{name} predictions of the saved": loaded.predict_on_batch(seen),
        }
    return results


def devices(folder):
    """The same training on one and on two devices, and the rows that each of the two had."""
    results, shares = {}, []
    for n in (1, 2):
        with data_parallel(n):
            network, rates, pairs = network_and_rates(stages=1)
            rates.optimizer.build(rates.trainable_variables)
            rates.make_train_function()
            step = rates.train_function

            def watched(state, data, step=step):
                batch = next(data)
                shares.append([shard.data.shape[0] for shard in batch[0].addressable_shards])
                return step(state, iter([batch]))

            rates.train_function = watched
            results[f"losses_{n}"] = [
                train_epoch(rates, pairs, epoch, lambda _: None) for epoch in range(EPOCHS)
            ]
            results[f"weights_{n}"] = flat(network)
            results[f"shares_{n}"] = shares.pop()
            save_model(network, folder / f"{n}.keras")
    seen, _ = pairs.batch(0, 0)
    for n in (1, 2):
        results[f"predictions_{n}"] = load_model(folder / f"{n}.keras").predict_on_batch(seen)
    return results


if __name__ == "__main__":
    task, target = sys.argv[1], Path(sys.argv[2])
    numbers = {
        "prepare": prepare,
        "agreement": agreement,
        "repetition": repetition,
        "precision": precision,
        "devices": devices,
    }[task](target)
    np.savez(target / f"{keras.backend.backend()}-{task}.npz", **numbers)
