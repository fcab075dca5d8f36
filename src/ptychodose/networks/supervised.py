"""The supervised baseline: patterns in, object patches out, the true object shown during training.

An encoder and two decoders, one for the amplitude and one for the phase, after PtychoNN (Cherukara et al.
2020, doi:10.1063/5.0013065). It knows neither the probe nor the forward model.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

FILTERS = (32, 64, 128)


def build_supervised(size_px: int, *, filters_scale: float) -> keras.Model:
    """The baseline network.

    Input: normalised patterns (batch, N, N, 1), mean sum of squares (N/2)^2. Output: amplitude and phase in
    radians (batch, N, N, 2), both linear. ``filters_scale`` multiplies the filters 32, 64, 128.
    """
    filters = [round(filters_scale * count) for count in FILTERS]
    patterns = keras.Input((size_px, size_px, 1), name="patterns")
    features = patterns
    for count in filters:
        features = _two_convolutions(features, count)
        features = layers.MaxPooling2D()(features)
    parts = []
    for _ in ("amplitude", "phase"):
        part = features
        for count in reversed(filters):
            part = _two_convolutions(part, count)
            part = layers.UpSampling2D()(part)
        parts.append(layers.Conv2D(1, 3, padding="same")(part))
    return keras.Model(patterns, layers.Concatenate(dtype="float32", name="object")(parts), name="supervised")


def _two_convolutions(image: Any, channels: int) -> Any:
    for _ in range(2):
        image = layers.Conv2D(channels, 3, padding="same", activation="relu", kernel_initializer="he_normal")(
            image
        )
    return image


class IlluminatedError(keras.losses.Loss):
    """Mean absolute error of amplitude and phase where the probe shines: each pixel weighs as |P|.

    Outside the illumination a pattern says nothing about the object; with this weight the amplitude's part
    is the mean absolute error of the illuminated patch |P O|.
    """

    def __init__(self, probe: npt.NDArray[np.complex128], name: str = "illuminated_error") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        modulus = np.abs(probe)
        self.weight = (modulus / modulus.sum()).astype(np.float32)[..., None]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,) from amplitude and phase (batch, N, N, 2)."""
        return ops.sum(ops.abs(y_true - y_pred) * ops.convert_to_tensor(self.weight), axis=(1, 2, 3))
