"""The forward model as Keras layers, in float32 whatever the network's precision.

Complex fields travel as real tensors (batch, N, N, 2): real and imaginary part. An object travels as
amplitude and phase. Diffraction arrays have their zero frequency at (N/2, N/2): the exit wave is multiplied
by (-1)^(x + y) before the transform, which shifts its spectrum by half a turn and costs no copy.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

_REGISTER = keras.saving.register_keras_serializable(package="ptychodose")
_TINY = 1e-12


class Float32Layer(keras.layers.Layer):
    """A layer that computes in float32 under any dtype policy: FFTs need it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)


@_REGISTER
class Probe(Float32Layer):
    """Holds the probe as the model uses it, (N, N, 2): P / sqrt(mean_i sum |P O_i|^2) of the train set.

    With this scale the far field's squared modulus is the expected *fraction of the dose* per pixel, so
    the true object gives the true rate at any dose. Fixed during training.
    """

    def __init__(self, size_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size_px = size_px
        self.trainable = False

    def build(self, _: Any) -> None:
        """Create the probe's weight; it is set by :meth:`set_probe` or by loading a checkpoint."""
        self.probe = self.add_weight(
            name="probe", shape=(self.size_px, self.size_px, 2), initializer="zeros", trainable=False
        )

    def set_probe(self, probe: npt.NDArray[np.complex128], mean_exit_energy: float) -> None:
        """Set the probe from its physical values, (N, N) complex."""
        scaled = probe / np.sqrt(mean_exit_energy)
        self.probe.assign(np.stack([scaled.real, scaled.imag], axis=-1).astype(np.float32))

    def call(self, _: Any) -> Any:
        """The probe, whatever the input."""
        return ops.convert_to_tensor(self.probe)

    def get_config(self) -> dict[str, Any]:
        """For Keras' serialisation."""
        return {**super().get_config(), "size_px": self.size_px}


@_REGISTER
class Transmission(Float32Layer):
    """Unbounded fields (.., 2) to amplitude and phase: a0 softplus, pi tanh.

    Fields of zero give the uniform object a0 that passes as many photons as were measured, 1 / |P|_2.
    """

    def call(self, fields: Any, probe: Any) -> Any:
        """(batch, N, N, 2) amplitude and phase in radians."""
        uniform = ops.rsqrt(ops.sum(ops.square(probe)))
        amplitude = uniform * ops.softplus(fields[..., 0] + float(np.log(np.e - 1)))
        return ops.stack([amplitude, np.pi * ops.tanh(fields[..., 1])], axis=-1)


@_REGISTER
class FarField(Float32Layer):
    """FFT2(P O) / N of an object in amplitude and phase, zero frequency at (N/2, N/2)."""

    def call(self, obj: Any, probe: Any) -> Any:
        """(batch, N, N, 2) real and imaginary part."""
        size_px = obj.shape[1]
        amplitude, phase = obj[..., 0] * _alternating(size_px), obj[..., 1]
        real, imaginary = amplitude * ops.cos(phase), amplitude * ops.sin(phase)
        p_real, p_imaginary = probe[..., 0], probe[..., 1]
        field = ops.fft2((p_real * real - p_imaginary * imaginary, p_real * imaginary + p_imaginary * real))
        return ops.stack(field, axis=-1) / size_px


@_REGISTER
class Rate(Float32Layer):
    """Squared modulus of a far field: the expected fraction of the dose in each pixel."""

    def call(self, far_field: Any) -> Any:
        """(batch, N, N, 1)."""
        return ops.sum(ops.square(far_field), axis=-1, keepdims=True)


@_REGISTER
class ModulusCorrection(Float32Layer):
    """How the object would have to change for the far field to have the measured modulus.

    One step of the classical engines: the far field's modulus is replaced by the measured amplitude, its
    phase kept, and the difference of exit waves divided by the probe, regularised where it is dark:
    conj(P) d(psi) / (|P|^2 + 0.02 max |P|^2) (Maiden & Rodenburg 2009, doi:10.1016/j.ultramic.2009.05.012).
    In units of the uniform object of :class:`Transmission`.
    """

    def call(self, patterns: Any, far_field: Any, probe: Any) -> Any:
        """(batch, N, N, 2) from the normalised patterns (batch, N, N, 1) with mean sum (N/2)^2."""
        size_px = far_field.shape[1]
        measured = patterns * (2 / size_px)
        modulus = ops.sqrt(ops.sum(ops.square(far_field), axis=-1, keepdims=True) + _TINY)
        change = far_field * (measured / modulus - 1)
        real, imaginary = ops.ifft2((change[..., 0], change[..., 1]))
        p_real, p_imaginary = probe[..., 0], probe[..., 1]
        intensity = ops.square(p_real) + ops.square(p_imaginary)
        factor = size_px * ops.sqrt(ops.sum(intensity)) / (intensity + 0.02 * ops.max(intensity))
        factor = factor * _alternating(size_px)
        return ops.stack(
            [
                (p_real * real + p_imaginary * imaginary) * factor,
                (p_real * imaginary - p_imaginary * real) * factor,
            ],
            axis=-1,
        )


def _alternating(size_px: int) -> Any:
    """(-1)^(x + y), (N, N)."""
    parity = ops.arange(size_px) % 2
    return ops.cast(1 - 2 * ops.abs(parity[:, None] - parity), "float32")
