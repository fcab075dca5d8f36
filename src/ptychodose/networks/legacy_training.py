"""How the legacy pipeline trained: its probe's scale, its loss, its plateau callbacks.

For parity with published results only. What differs from the rest of the project: the probe's scale has
nothing to do with the data's, the loss is not divided by the dose, and the dose may be declared wrongly.
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")
_TINY = 1e-30
"""Stands for 0 in 0 log 0."""


def legacy_probe(probe: npt.NDArray[np.complex128], probe_scale: float = 4.0) -> npt.NDArray[np.complex128]:
    """P / (probe_scale m), (N, N), where m is the mean over *all* N x N pixels of |P| inside r < N/4.

    So m is the sum inside the circle, around ((N-1)/2, (N-1)/2), divided by N^2. Found from the probe in a
    run's params.dill, which it gives to single precision.
    """
    size_px = len(probe)
    offset = np.arange(size_px) - (size_px - 1) / 2
    inside = np.hypot(offset[:, None], offset[None, :]) < size_px / 4
    return probe / float(probe_scale * np.mean(np.abs(probe) * inside))


def intensity_scale(declared_dose: float, size_px: int) -> float:
    """sqrt(D) / (N/2): turns the normalised input X into the square root of the declared counts."""
    return math.sqrt(declared_dose) / (size_px / 2)


@_REGISTER
class LegacyPoissonNLL(keras.losses.Loss):
    """Poisson negative log-likelihood in declared counts, the sum over a pattern, not divided by the dose.

    sum(lambda - n log lambda) + sum(n log n - n), averaged over the batch: n = s^2 X^2, lambda =
    s^2 |FFT2(P O)|^2 / N^2, s = :func:`intensity_scale`. The second sum depends on the data alone; without
    it single precision could not tell two epochs of a high dose apart. Legacy losses had sum(log n!) in its
    place. Rates are floored at ``floor_photons`` inside the logarithm.
    """

    def __init__(
        self,
        declared_dose: float,
        size_px: int,
        floor_photons: float = 1e-3,
        name: str = "legacy_poisson_nll",
    ) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.declared_dose, self.size_px, self.floor_photons = declared_dose, size_px, floor_photons

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,) from X^2 and |FFT2(P O)|^2 / N^2, both (batch, N, N, 1)."""
        photons = intensity_scale(self.declared_dose, self.size_px) ** 2
        log_ratio = ops.log(ops.maximum(y_true, _TINY) / ops.maximum(y_pred, self.floor_photons / photons))
        return photons * ops.sum(y_pred - y_true + y_true * log_ratio, axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {
            "declared_dose": self.declared_dose,
            "size_px": self.size_px,
            "floor_photons": self.floor_photons,
            "name": self.name,
        }


@dataclasses.dataclass(frozen=True)
class PlateauSchedule:
    """Learning rate and stop after each epoch, as two Keras callbacks with the legacy settings decide.

    ReduceLROnPlateau on the validation loss: after 2 epochs in a row that are not better than the best by
    1e-4 the rate is halved, down to 1e-4. EarlyStopping on the training loss: after 3 epochs in a row that
    are not better than the best, stop. The state is plain numbers: ``dataclasses.asdict`` to save it,
    ``PlateauSchedule(**saved)`` to go on.
    """

    learning_rate: float = 1e-3
    stop: bool = False
    best_loss: float | None = None
    epochs_without_loss: int = 0
    best_val_loss: float | None = None
    epochs_without_val_loss: int = 0

    def after_epoch(self, loss: float, val_loss: float | None) -> "PlateauSchedule":
        """The state after one more epoch; without validation patterns the rate stays."""
        best, waited = _wait(self.best_loss, self.epochs_without_loss, loss, min_delta=0.0)
        stop = waited >= 3
        rate, best_val, waited_val = self.learning_rate, self.best_val_loss, self.epochs_without_val_loss
        if val_loss is not None:
            best_val, waited_val = _wait(best_val, waited_val, val_loss, min_delta=1e-4)
            if waited_val >= 2:
                rate, waited_val = max(rate / 2, 1e-4), 0
        return PlateauSchedule(rate, stop, best, waited, best_val, waited_val)


def _wait(best: float | None, waited: int, value: float, *, min_delta: float) -> tuple[float, int]:
    """The best value so far and the number of epochs since it."""
    if best is None or value < best - min_delta:
        return value, 0
    return best, waited + 1
