"""What a training looks like at its start and its end: weights, and the first steps' losses and gradients."""

import re
from typing import Any

import keras
import numpy as np
from keras import ops

from ptychodose.networks.training import Batches
from ptychodose.parity.emitter import fingerprint

N_STEPS = 3


class GradientRecorder(keras.optimizers.Adam):
    """Adam that keeps the gradients of its last step, as they are before they are clipped."""

    def build(self, variables: list[Any]) -> None:
        """Add a place for each variable's gradient: a variable, so that every backend carries it along."""
        super().build(variables)
        self.gradients = [self.add_variable_from_reference(v, name="gradient") for v in variables]

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Keep the gradients, then step."""
        for place, gradient in zip(self.gradients, grads, strict=True):
            place.assign(ops.cast(gradient, place.dtype))
        super().apply(grads, trainable_variables)


def weights_by_layer(network: keras.Model) -> dict[str, Any]:
    """Of every layer with trained weights, in data-flow order: their number, norm, mean and SHA-256.

    A layer's weights are taken together (kernel, then bias). Layers are numbered here, since the numbers that
    Keras puts behind their names depend on what else was built before.
    """
    found = {}
    for name, values in _by_layer(network.trainable_variables, network.trainable_variables).items():
        print_ = fingerprint(values)
        norm = float(np.linalg.norm(values.astype(np.float64)))
        found[name] = {key: print_[key] for key in ("shape", "mean", "sha256")} | {"l2_norm": norm}
    return found


def first_steps(model: keras.Model, batches: Batches) -> dict[str, Any]:
    """Loss, gradient norms and sizes of the change by layer, of the first steps of a compiled model.

    The model is trained by them. Its optimizer must be an Adam, as that of every model here is.
    """
    recorder = GradientRecorder.from_config(model.optimizer.get_config())
    model.compile(optimizer=recorder, loss=model.loss)
    recorder.build(model.trainable_variables)
    steps: dict[str, Any] = {}
    for step in range(min(N_STEPS, batches.steps)):
        before = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
        loss = float(model.train_on_batch(*batches.batch(0, step)))
        after = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
        change = [new - old for new, old in zip(after, before, strict=True)]
        steps[str(step + 1)] = {
            "loss": loss,
            "gradient_norms": _norms(model.trainable_variables, recorder.gradients),
            "change_norms": _norms(model.trainable_variables, change),
        }
    return steps


def _norms(variables: list[Any], values: list[Any]) -> dict[str, float]:
    by_layer = _by_layer(variables, values)
    return {name: float(np.linalg.norm(part.astype(np.float64))) for name, part in by_layer.items()}


def _by_layer(variables: list[Any], values: list[Any]) -> dict[str, np.ndarray]:
    """Values of the variables of each layer, flat, one behind the other."""
    parts: dict[str, list[np.ndarray]] = {}
    for variable, value in zip(variables, values, strict=True):
        layer = variable.path.rpartition("/")[0]
        parts.setdefault(layer, []).append(ops.convert_to_numpy(value).ravel())
    return {
        f"{number:02d} {re.sub(r'_[0-9]+$', '', layer)}": np.concatenate(arrays)
        for number, (layer, arrays) in enumerate(parts.items(), start=1)
    }
