"""The physics-informed network for groups of overlapping patterns (gridsize G, C = G^2).

The unrolled reconstruction of pinn.py with one object for all patterns of a group, in their common frame.
Each stage cuts the patches out of it, propagates every one, merges what each pattern asks to change where
patterns overlap (weighted by the light each had there), and lets a U-Net decide on the common object. The
patches therefore agree exactly where they overlap, no patch is interpolated more than once, and one U-Net
serves C patterns.
"""

import math
from typing import Any

import keras
from keras import layers, ops

from ptychodose.networks.overlap import CutObject, IlluminationWeight, Merge
from ptychodose.networks.physics_layers import (
    FarField,
    Float32Layer,
    ModulusCorrection,
    Probe,
    Rate,
    Transmission,
)
from ptychodose.networks.unet import DepthToSpace, SpaceToDepth, unet

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")
PAD_MULTIPLE_PX = 4


@_REGISTER
class PatternsOfGroup(Float32Layer):
    """The patterns of all groups, group after group, (batch C, N, N, 1)."""

    def call(self, patterns: Any) -> Any:
        """From (batch, N, N, C)."""
        size_px = patterns.shape[1]
        return ops.reshape(ops.transpose(patterns, (0, 3, 1, 2)), (-1, size_px, size_px, 1))


@_REGISTER
class Ungrouped(Float32Layer):
    """The patches of all groups, group after group, (batch C, N, N, channels)."""

    def call(self, patches: Any) -> Any:
        """From (batch, C, N, N, channels)."""
        return ops.reshape(patches, (-1, *patches.shape[2:]))


@_REGISTER
class Grouped(Float32Layer):
    """The inverse of :class:`Ungrouped`."""

    def __init__(self, group_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_size = group_size

    def call(self, patches: Any) -> Any:
        """(batch, C, N, N, channels)."""
        return ops.reshape(patches, (-1, self.group_size, *patches.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Said, because JAX cannot tell that a batch of unknown size divides evenly."""
        batch = None if input_shape[0] is None else input_shape[0] // self.group_size
        return (batch, self.group_size, *input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {**super().get_config(), "group_size": self.group_size}


@_REGISTER
class UniformFrame(Float32Layer):
    """Two channels of zeros on the common frame, (batch, F, F, 2)."""

    def __init__(self, frame_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frame_px = frame_px

    def call(self, offsets: Any) -> Any:
        """A frame for each of the groups that have ``offsets`` (batch, C, 2)."""
        none = ops.zeros_like(offsets[:, :1, None, :])
        return ops.tile(none, (1, self.frame_px, self.frame_px, 1))

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {**super().get_config(), "frame_px": self.frame_px}


def build_pinn_groups(
    size_px: int, *, gridsize: int = 2, width: int, stages: int, pad_px: int = 16
) -> keras.Model:
    """The network that predicts the patches of a group.

    Inputs: normalised patterns (batch, N, N, C), mean sum of squares (N/2)^2, and their offsets (batch, C, 2)
    in pixels (row, column) from the middle of the common frame, F = N + 2 ``pad_px`` (physics.grouping:
    ``frame_offsets_yx``, within ``pad_px``). Output: amplitude and phase in radians (batch, C, N, N, 2). Its
    probe is still zero: set it with ``model.get_layer("probe").set_probe``. No weight depends on ``pad_px``.

    Raises
    ------
    ValueError
        ``pad_px`` is no multiple of 4, so that the U-Net cannot halve the frame.
    """
    if pad_px % PAD_MULTIPLE_PX:
        raise ValueError(f"pad_px is {pad_px}, but must be a multiple of {PAD_MULTIPLE_PX}")
    group_size, frame_px = gridsize**2, size_px + 2 * pad_px
    patterns = keras.Input((size_px, size_px, group_size), name="patterns")
    offsets = keras.Input((group_size, 2), name="offsets")
    probe = Probe(size_px, name="probe")(patterns)
    illumination = IlluminationWeight(name="illumination")(probe)
    single = PatternsOfGroup(name="single_patterns")(patterns)
    fields = UniformFrame(frame_px, name="uniform_start")(offsets)
    obj = CutObject(size_px, pad_px)(Transmission()(fields, probe), offsets)
    rim = size_px // 16  # as in pinn.py: there the object stays uniform
    levels = int(math.log2(size_px)) - 3
    memory: list[keras.KerasTensor] = []
    for stage in range(1, stages + 1):
        correction = ModulusCorrection()(single, FarField()(Ungrouped()(obj), probe), probe)
        merged, light = Merge(size_px, pad_px)(Grouped(group_size)(correction), offsets, illumination)
        seen = layers.Cropping2D(rim)(layers.Concatenate()([fields, merged, light]))
        seen = SpaceToDepth()(seen)
        features = unet(layers.Concatenate()([seen, *memory]) if memory else seen, width=width, levels=levels)
        memory = [features]
        change = layers.Conv2D(
            8, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3)
        )(features)
        change = layers.ZeroPadding2D(rim)(DepthToSpace(dtype="float32")(change))
        fields = layers.Add(dtype="float32")([fields, change])
        name = "object" if stage == stages else None
        obj = CutObject(size_px, pad_px, name=name)(Transmission()(fields, probe), offsets)
    return keras.Model([patterns, offsets], obj, name="pinn_groups")


def group_rate_model(network: keras.Model) -> keras.Model:
    """The network followed by the forward model: the expected fraction of the dose per pixel.

    Rates are (batch C, N, N, 1), group after group, so that the losses of single patterns apply.
    """
    probe = network.get_layer("probe")(network.inputs[0])
    rates = Rate()(FarField()(Ungrouped()(network.output), probe))
    return keras.Model(network.inputs, rates, name="pinn_groups_rates")
