"""The training loss."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ptychodose")
class PoissonNLL(keras.losses.Loss):
    """Poisson negative log-likelihood per photon: sum(rate - f log rate), averaged over the batch.

    ``f`` = counts / D is the measured and ``rate`` = lambda / D the predicted fraction of the dose; this is
    sum(lambda - n log lambda) / D up to a constant, so its size and the learning rate do not depend on the
    dose. Rates are floored at ``floor_photons`` / D inside the logarithm: a pixel that counted photons where
    none were expected costs much, not infinitely much.
    """

    def __init__(self, dose_photons: float, floor_photons: float = 1e-3, name: str = "poisson_nll") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.dose_photons, self.floor_photons = dose_photons, floor_photons

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,) from fractions of the dose (batch, N, N, 1)."""
        floor = self.floor_photons / self.dose_photons
        return ops.sum(y_pred - y_true * ops.log(ops.maximum(y_pred, floor)), axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {"dose_photons": self.dose_photons, "floor_photons": self.floor_photons, "name": self.name}
