"""The physics-informed network: patterns in, object patches out, no object ever shown to it.

It starts from the uniform object that passes the measured number of photons and improves it in a few
stages. Each stage propagates the current object to the detector, asks how it would have to change to have
the measured modulus there, and lets a U-Net, which sees the object and that correction in the object's own
pixels, decide what to change: an unrolled reconstruction (cf. Adler & Oktem 2018,
doi:10.1109/TMI.2018.2799231).
"""

import math

import keras
from keras import layers, ops

from ptychodose.networks.physics_layers import FarField, ModulusCorrection, Probe, Rate, Transmission
from ptychodose.networks.unet import DepthToSpace, SpaceToDepth, unet


@keras.saving.register_keras_serializable(package="ptychodose")
class ZeroFields(layers.Layer):
    """Two channels of zeros on the frame of the patterns."""

    def call(self, patterns: keras.KerasTensor) -> keras.KerasTensor:
        """(batch, N, N, 2)."""
        return ops.concatenate([ops.zeros_like(patterns), ops.zeros_like(patterns)], axis=-1)


def build_pinn(size_px: int, *, width: int, stages: int) -> keras.Model:
    """The network that predicts patches.

    Input: normalised patterns (batch, N, N, 1), mean sum of squares (N/2)^2. Output: amplitude and phase
    in radians (batch, N, N, 2). Its probe is still zero: set it with ``model.get_layer("probe").set_probe``.
    """
    patterns = keras.Input((size_px, size_px, 1), name="patterns")
    probe = Probe(size_px, name="probe")(patterns)
    fields = ZeroFields(name="uniform_start")(patterns)
    obj = Transmission()(fields, probe)
    # At the rim, a sixteenth of N on each side, the object stays uniform: hardly a photon passes there.
    rim = size_px // 16
    levels = int(math.log2(size_px)) - 3  # down to 7 x 7 blocks
    memory: list[keras.KerasTensor] = []
    for stage in range(1, stages + 1):
        correction = ModulusCorrection()(patterns, FarField()(obj, probe), probe)
        seen = SpaceToDepth()(layers.Cropping2D(rim)(layers.Concatenate()([fields, correction])))
        features = unet(layers.Concatenate()([seen, *memory]) if memory else seen, width=width, levels=levels)
        memory = [features]
        change = layers.Conv2D(
            8, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3)
        )(features)
        change = layers.ZeroPadding2D(rim)(DepthToSpace(dtype="float32")(change))
        fields = layers.Add(dtype="float32")([fields, change])
        obj = Transmission(name="object" if stage == stages else None)(fields, probe)
    return keras.Model(patterns, obj, name="pinn")


def rate_model(network: keras.Model) -> keras.Model:
    """The network followed by the forward model: patterns to expected fraction of the dose per pixel."""
    probe = network.get_layer("probe")(network.input)
    return keras.Model(network.input, Rate()(FarField()(network.output, probe)), name="pinn_rates")
