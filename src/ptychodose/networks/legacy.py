"""The legacy physics-informed network, as its checkpoints and recorded predictions show it to be.

One encoder, two decoders. A decoder works out the central N/2 x N/2 pixels; from the last four channels of
its features a second branch fills the frame around them. The frame of both amplitude and phase is passed
through SiLU, x sigmoid(x), which has no upper bound and goes down to -0.28: an amplitude may be negative
there, which is a phase of pi. For parity with published results only; new studies train networks/pinn.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from ptychodose.errors import UserError
from ptychodose.networks.physics_layers import Float32Layer, Probe

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")
_ENCODER = {64: (32, 64, 128), 128: (16, 32, 64, 128), 256: (8, 16, 32, 64, 128)}
"""Filters of the encoder's levels at scale 1."""
_FRAME_CHANNELS = 4
_LAYER = "layer_with_weights-"
_PARTS = ("amplitude", "phase")

Variables = Mapping[str, npt.NDArray[np.float32]]


@_REGISTER
class SplitFrame(layers.Layer):
    """Features to those of the centre and, the last four channels, those of the frame around it."""

    def call(self, features: Any) -> Any:
        """Two tensors, (batch, H, W, C - 4) and (batch, H, W, 4)."""
        return features[..., :-_FRAME_CHANNELS], features[..., -_FRAME_CHANNELS:]


@_REGISTER
class LegacyObject(Float32Layer):
    """Fields of centre and frame to the object: sigmoid and pi tanh in the centre, SiLU around it."""

    def call(self, centres: Any, frames: Any, probe: Any) -> Any:
        """(batch, N, N, 2) amplitude and phase from two (batch, N/2, N/2, 1) and two (batch, N, N, 1).

        The probe plays no part: it is taken so that the network carries it, as the other networks do.
        """
        centre = ops.concatenate([ops.sigmoid(centres[0]), np.pi * ops.tanh(centres[1])], axis=-1)
        frame = ops.silu(ops.concatenate(frames, axis=-1))
        size_px = frame.shape[1]
        quarter = size_px // 4
        outside = np.ones((1, size_px, size_px, 1), np.float32)
        outside[:, quarter:-quarter, quarter:-quarter] = 0
        padding = ((0, 0), (quarter, quarter), (quarter, quarter), (0, 0))
        return ops.pad(centre, padding) + frame * ops.convert_to_tensor(outside)


@dataclass(frozen=True)
class Filters:
    """Number of filters of each level of encoder and decoders, and of the frame's branch."""

    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    frame: int

    @classmethod
    def of(cls, size_px: int, n_filters_scale: int) -> "Filters":
        """The legacy filters. For N above 64 the decoder's are not documented: the encoder's mirrored."""
        if size_px not in _ENCODER:
            raise UserError(f"size_px is {size_px}: the legacy network exists for 64, 128 and 256 pixels")
        if n_filters_scale < 1:
            raise UserError(f"n_filters_scale is {n_filters_scale}: it must be at least 1")
        encoder = tuple(n_filters_scale * filters for filters in _ENCODER[size_px])
        decoder = encoder[-2::-1]
        return cls(encoder, decoder, frame=decoder[-1])

    @classmethod
    def of_variables(cls, variables: Variables, size_px: int) -> "Filters":
        """Scale, and what is not documented, from the lengths of the biases."""
        names = [name for name, _, _ in _convolutions(cls.of(size_px, 1))]
        filters = {name: variables[f"{_LAYER}{i}/bias"].size for i, name in enumerate(names)}
        known = cls.of(size_px, max(filters["encoder_1a"] // _ENCODER[size_px][0], 1))
        if size_px == min(_ENCODER):
            return known
        decoder = tuple(filters[f"amplitude_{level + 1}b"] for level in range(len(known.decoder)))
        return cls(known.encoder, decoder, frame=filters["amplitude_frame_b"])


def build_pinn_legacy(size_px: int, *, n_filters_scale: int) -> keras.Model:
    """The legacy network, untrained. N = 64, 128 or 256; legacy studies used ``n_filters_scale`` 2.

    Input: normalised patterns (batch, N, N, 1), mean sum of squares (N/2)^2. Output: amplitude and phase
    in radians (batch, N, N, 2), float32. Its probe is still zero: set the legacy one with
    ``model.get_layer("probe").set_probe(legacy_probe(probe), mean_exit_energy=1.0)``; then
    networks.pinn.rate_model gives |FFT2(P O)|^2 / N^2 in the units of the squared input.
    """
    return _build(size_px, Filters.of(size_px, n_filters_scale))


def network_of_variables(variables: Variables, size_px: int, path: Path) -> keras.Model:
    """The network with the variables of a legacy checkpoint, read from ``path``."""
    names = _shapes(Filters.of(size_px, 1))
    hint = "give the size it was trained with, and a file of the network from patterns to object alone"
    if missing := [name for name in names if name not in variables]:
        raise UserError(
            f"{path}: {missing[0]}: missing, the legacy network of {size_px} pixels has {len(names) // 2} "
            f"convolutions with kernel and bias; {hint}"
        )
    if extra := [name for name in variables if name not in names]:
        raise UserError(
            f"{path}: {extra[0]}: not a variable of the legacy network of {size_px} pixels; {hint}"
        )
    filters = Filters.of_variables(variables, size_px)
    # Before the network is built: it has no more weights than the file then, whatever a bias claims.
    for name, shape in _shapes(filters).items():
        found = variables[name].shape
        if found != shape or min(shape) < 1:
            raise UserError(
                f"{path}: {name}: shape {found}, the legacy network of {size_px} pixels with these filters "
                f"has {shape}; {hint}"
            )
    network = _build(size_px, filters)
    for i, (name, _, _) in enumerate(_convolutions(filters)):
        kernel, bias = network.get_layer(name).weights
        kernel.assign(variables[f"{_LAYER}{i}/kernel"])
        bias.assign(variables[f"{_LAYER}{i}/bias"])
    return network


def _shapes(filters: Filters) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint's variables."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (_, n_in, n_out) in enumerate(_convolutions(filters)):
        shapes |= {f"{_LAYER}{i}/kernel": (3, 3, n_in, n_out), f"{_LAYER}{i}/bias": (n_out,)}
    return shapes


def _convolutions(filters: Filters) -> list[tuple[str, int, int]]:
    """Layer, channels in and out, in a checkpoint's order: towards the output, amplitude before phase."""
    encoder = _pairs("encoder_", 1, filters.encoder)
    steps = _pairs("", filters.encoder[-1], filters.decoder)
    frame = filters.frame
    steps += [("frame_a", _FRAME_CHANNELS, frame), ("frame_b", frame, frame), ("frame", frame, 1)]
    steps += [("centre", filters.decoder[-1] - _FRAME_CHANNELS, 1)]
    return encoder + [(f"{part}_{step}", n_in, n_out) for step, n_in, n_out in steps for part in _PARTS]


def _pairs(prefix: str, n_in: int, filters: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """Two convolutions a level."""
    pairs = []
    for level, n_out in enumerate(filters):
        pairs += [(f"{prefix}{level + 1}a", n_in, n_out), (f"{prefix}{level + 1}b", n_out, n_out)]
        n_in = n_out
    return pairs


def _build(size_px: int, filters: Filters) -> keras.Model:
    patterns = keras.Input((size_px, size_px, 1), name="patterns")
    features = patterns
    for level, n in enumerate(filters.encoder):
        features = layers.MaxPooling2D()(_two_convolutions(features, n, f"encoder_{level + 1}"))
    decoded = [_decode(features, filters, part) for part in _PARTS]
    centres, frames = zip(*decoded, strict=True)
    probe = Probe(size_px, name="probe")(patterns)
    obj = LegacyObject(name="object")(list(centres), list(frames), probe)
    return keras.Model(patterns, obj, name="pinn_legacy")


def _decode(features: Any, filters: Filters, part: str) -> tuple[Any, Any]:
    """Fields (batch, N/2, N/2, 1) of the centre and (batch, N, N, 1) of the frame."""
    for level, n in enumerate(filters.decoder):
        features = layers.UpSampling2D()(_two_convolutions(features, n, f"{part}_{level + 1}"))
    centre, frame = SplitFrame()(features)
    frame = layers.UpSampling2D()(_two_convolutions(frame, filters.frame, f"{part}_frame_"))
    return (
        layers.Conv2D(1, 3, padding="same", name=f"{part}_centre")(centre),
        layers.Conv2D(1, 3, padding="same", name=f"{part}_frame")(frame),
    )


def _two_convolutions(image: Any, filters: int, name: str) -> Any:
    for ab in "ab":
        image = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}{ab}")(image)
    return image
