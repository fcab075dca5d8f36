"""The training loss."""

from typing import Any

import keras
from keras import ops

_TINY = 1e-30
"""Stands for 0 in 0 log 0."""


@keras.saving.register_keras_serializable(package="ptychodose")
class PoissonNLL(keras.losses.Loss):
    """Poisson negative log-likelihood per photon, above that of a model that knows every count.

    sum(rate - f + f log(f / rate)), averaged over the batch, where ``f`` = counts / D is the measured and
    ``rate`` = lambda / D the predicted fraction of the dose. That is sum(lambda - n log lambda) / D up to a
    constant of the data (half the deviance per photon), so that the true rates give about (number of lit
    pixels) / (2 D), and size of gradient and learning rate do not depend on the dose. Rates are floored at
    ``floor_photons`` / D inside the logarithm: a pixel that counted photons where none were expected costs
    much, not infinitely much.
    """

    def __init__(self, dose_photons: float, floor_photons: float = 1e-3, name: str = "poisson_nll") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.dose_photons, self.floor_photons = dose_photons, floor_photons

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,) from fractions of the dose (batch, N, N, 1)."""
        floor = self.floor_photons / self.dose_photons
        log_ratio = ops.log(ops.maximum(y_true, _TINY) / ops.maximum(y_pred, floor))
        return ops.sum(y_pred - y_true + y_true * log_ratio, axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {"dose_photons": self.dose_photons, "floor_photons": self.floor_photons, "name": self.name}
