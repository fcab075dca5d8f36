"""The overlap of a group's patches: into one common frame, averaged there, cut out again.

Patches are (batch, C, N, N, channels), their offsets (batch, C, 2) in pixels (row, column) from the frame's
middle: patch index p lies on frame index p + pad_px + offset. A frame is F x F with F = N + 2 pad_px.
A translation is a product with one small matrix per axis, the kernel evaluated at every distance between
the pixels of the two grids: exact at whole pixels, differentiable, and the same on every backend.
"""

from typing import Any, Literal

import keras
from keras import ops

from ptychodose.networks.physics_layers import Float32Layer

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")
Kernel = Literal["cubic", "bilinear"]
"""Cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -1/2) or linear interpolation."""


class _FrameLayer(Float32Layer):
    """A layer that knows the frame and interpolates with one kernel."""

    def __init__(self, size_px: int, pad_px: int, kernel: Kernel, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size_px, self.pad_px, self.kernel = size_px, pad_px, kernel

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        settings = {"size_px": self.size_px, "pad_px": self.pad_px, "kernel": self.kernel}
        return {**super().get_config(), **settings}


@_REGISTER
class IntoFrame(_FrameLayer):
    """Each patch on the pixels of the common frame; beyond a patch's edge its edge is repeated."""

    def __init__(self, size_px: int, pad_px: int, kernel: Kernel = "cubic", **kwargs: Any) -> None:
        super().__init__(size_px, pad_px, kernel, **kwargs)

    def call(self, patches: Any, offsets: Any) -> Any:
        """(batch, C, F, F, channels) from (batch, C, N, N, channels)."""
        return _into_frame(patches, offsets, self.pad_px, self.kernel)


@_REGISTER
class CutOut(_FrameLayer):
    """The windows of the common frame at the offsets: bilinear, as physics.diffraction.cut_patches."""

    def __init__(self, size_px: int, pad_px: int, kernel: Kernel = "bilinear", **kwargs: Any) -> None:
        super().__init__(size_px, pad_px, kernel, **kwargs)

    def call(self, frame: Any, offsets: Any) -> Any:
        """(batch, C, N, N, channels) from (batch, F, F, channels)."""
        return _cut_out(frame, offsets, self.size_px, self.pad_px, self.kernel)


@_REGISTER
class Merge(_FrameLayer):
    """The weighted mean of a group's patches in its frame: sum_k W_k T_k O_k / sum_k W_k.

    T_k is :class:`IntoFrame`; W_k is the weight, the same (N, N) for every patch, at the patch's place:
    linearly interpolated so that it cannot be negative, and zero beyond the patch. Weight and patch are
    translated apart, because their product is rougher than either and interpolates worse.
    """

    def __init__(
        self, size_px: int, pad_px: int, kernel: Kernel = "cubic", fallback: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(size_px, pad_px, kernel, **kwargs)
        self.fallback = fallback

    def call(self, patches: Any, offsets: Any, weight: Any) -> tuple[Any, Any]:
        """The mean and the summed weight in the frame.

        Parameters
        ----------
        patches : (batch, C, N, N, channels)
        offsets : (batch, C, 2)
        weight : (N, N), not negative

        Returns
        -------
        mean : (batch, F, F, channels), ``fallback`` where the weight vanishes
        total : (batch, F, F, 1)
        """
        return _merge(patches, offsets, weight, self.pad_px, self.kernel, self.fallback)

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {**super().get_config(), "fallback": self.fallback}


@_REGISTER
class OverlapConstraint(_FrameLayer):
    """Patches that agree where they overlap: merged, and cut out of the merged frame at their offsets.

    Cubic both ways by default, which blurs least: a line object's patches at random sub-pixel offsets change
    by 1.6 % of their contrast (3.4 % if cut out bilinearly, 5.4 % if interpolated bilinearly both ways).
    """

    def __init__(self, size_px: int, pad_px: int, kernel: Kernel = "cubic", **kwargs: Any) -> None:
        super().__init__(size_px, pad_px, kernel, **kwargs)

    def call(self, patches: Any, offsets: Any, weight: Any) -> Any:
        """(batch, C, N, N, channels) from the same, the offsets (batch, C, 2) and the weight (N, N)."""
        merged, _ = _merge(patches, offsets, weight, self.pad_px, self.kernel, 0.0)
        return _cut_out(merged, offsets, self.size_px, self.pad_px, self.kernel)


@_REGISTER
class CutObject(CutOut):
    """The patches of a common object, both in amplitude and phase, interpolated as complex numbers."""

    def call(self, obj: Any, offsets: Any) -> Any:
        """(batch, C, N, N, 2) from (batch, F, F, 2)."""
        amplitude, phase = obj[..., 0], obj[..., 1]
        field = ops.stack([amplitude * ops.cos(phase), amplitude * ops.sin(phase)], axis=-1)
        patches = super().call(field, offsets)
        # Zero has no phase, nor has the phase a gradient there.
        real, imaginary = patches[..., 0] + _DARK, patches[..., 1]
        modulus = ops.sqrt(ops.square(real) + ops.square(imaginary))
        return ops.stack([modulus, ops.arctan2(imaginary, real)], axis=-1)


@_REGISTER
class IlluminationWeight(Float32Layer):
    """|P|^2 relative to its maximum plus a floor: how well a pattern knows each pixel of its patch.

    The variance that photon noise gives a pixel's estimate goes with 1 / |P|^2. The floor decides only
    where no probe shines.
    """

    def __init__(self, floor: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.floor = floor

    def call(self, probe: Any) -> Any:
        """(N, N) from the probe (N, N, 2)."""
        intensity = ops.sum(ops.square(probe), axis=-1)
        return intensity / (ops.max(intensity) + _DARK) + self.floor

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {**super().get_config(), "floor": self.floor}


_DARK = 1e-12
"""A summed weight not above this counts as none."""


def _pixels(count: int) -> Any:
    return ops.arange(count, dtype="float32")


def _kernel_matrix(places: Any, count: int, kernel: Kernel) -> Any:
    """(.., M, count): the kernel at the distances of M places (.., M) from ``count`` samples at 0, 1, .."""
    distance = ops.abs(places[..., None] - _pixels(count))
    if kernel == "bilinear":
        return ops.relu(1 - distance)
    near = (1.5 * distance - 2.5) * ops.square(distance) + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return ops.where(distance <= 1, near, ops.where(distance < 2, far, 0.0))


def _edge_repeating(places: Any, count: int, kernel: Kernel) -> Any:
    """The matrix of an interpolation that keeps a constant constant everywhere."""
    matrix = _kernel_matrix(ops.clip(places, 0.0, count - 1.0), count, kernel)
    return matrix / ops.sum(matrix, axis=-1, keepdims=True)


def _places_in_patches(size_px: int, pad_px: int, offsets: Any) -> Any:
    """Where the frame's pixels lie in each patch, (batch, C, 2, F)."""
    return _pixels(size_px + 2 * pad_px) - pad_px - offsets[..., None]


def _into_frame(patches: Any, offsets: Any, pad_px: int, kernel: Kernel) -> Any:
    size_px = patches.shape[2]
    places = _places_in_patches(size_px, pad_px, offsets)
    return _resample(patches, _edge_repeating(places, size_px, kernel))


def _cut_out(frame: Any, offsets: Any, size_px: int, pad_px: int, kernel: Kernel) -> Any:
    places = _pixels(size_px) + pad_px + offsets[..., None]
    return _resample(frame, _edge_repeating(places, frame.shape[1], kernel))


def _merge(
    patches: Any, offsets: Any, weight: Any, pad_px: int, kernel: Kernel, fallback: float
) -> tuple[Any, Any]:
    places = _places_in_patches(patches.shape[2], pad_px, offsets)
    cut_off = _kernel_matrix(places, patches.shape[2], "bilinear")
    weights = _resample(weight[..., None], cut_off)
    total = ops.sum(weights, axis=1)
    covered = total > _DARK
    weighted = ops.sum(weights * _into_frame(patches, offsets, pad_px, kernel), axis=1)
    return ops.where(covered, weighted / ops.where(covered, total, 1.0), fallback), total


def _resample(images: Any, matrices: Any) -> Any:
    """Interpolate images along both axes, (batch, C, M, M, channels).

    Parameters
    ----------
    images : (batch, C, n, n, channels), or (batch, n, n, channels): one for all patches of a group, or
        (n, n, channels): one for all
    matrices : (batch, C, 2, M, n), along rows and columns
    """
    along_y, along_x = matrices[:, :, 0], matrices[:, :, 1]
    channels = [
        ops.matmul(_along_rows(along_y, images[..., i]), ops.swapaxes(along_x, -1, -2))
        for i in range(images.shape[-1])
    ]
    return ops.stack(channels, axis=-1)


def _along_rows(matrix: Any, image: Any) -> Any:
    """(batch, C, M, n) times an image (batch, C, n, n), (batch, n, n) or (n, n).

    Patches that share an image are stacked into one product. Broadcasting the image would say the same, but
    TensorFlow 2.21's oneDNN kernel crashes on (2, 1, 80, 64) times (1, 1, 64, 64).
    """
    _, group_size, count, length = matrix.shape
    if len(image.shape) == 4:
        return ops.matmul(matrix, image)
    stacked = (-1, group_size * count, length) if len(image.shape) == 3 else (-1, length)
    return ops.reshape(ops.matmul(ops.reshape(matrix, stacked), image), (-1, group_size, count, length))
