"""What the metrics ask of their input before they compute anything."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.metrics.undefined import Undefined

# A variation below this share of the largest magnitude is float32 rounding, not structure.
ROUNDING = 1e-6
# SSIM multiplies four pixel values: outside these magnitudes a product of four leaves the range of float64.
LARGEST = 1e60
SMALLEST = 1e-60


def real_image(image: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return a real (H, W) image as float64.

    Raises TypeError if it is complex, ValueError if it is not two-dimensional, Undefined if it has no pixels
    or a value that is not finite (or above 1e60, where products overflow); `name` opens the message.
    """
    if np.iscomplexobj(image):
        raise TypeError(f"the {name} is complex; give its amplitude or its phase")
    array = np.asarray(image, dtype=np.float64)
    _require_usable(array, name)
    return array


def complex_image(image: npt.ArrayLike, name: str) -> npt.NDArray[np.complex128]:
    """Return a real or complex (H, W) image as complex128; raises as `real_image` does, but for TypeError."""
    array = np.asarray(image, dtype=np.complex128)
    _require_usable(array, name)
    return array


def real_pair(
    prediction: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return both real images as float64; raises as `real_image`, and ValueError if the shapes differ."""
    require_same_shape(prediction, truth)
    return real_image(prediction, "prediction"), real_image(truth, "truth")


def complex_pair(
    prediction: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
    """Return both images as complex128; raises as `complex_image`, and ValueError if the shapes differ."""
    require_same_shape(prediction, truth)
    return complex_image(prediction, "prediction"), complex_image(truth, "truth")


def require_same_shape(first: npt.ArrayLike, second: npt.ArrayLike) -> None:
    """Raise ValueError unless both arrays have one shape: broadcasting would compare the wrong pixels."""
    if np.shape(first) != np.shape(second):
        raise ValueError(f"shapes differ: {np.shape(first)} and {np.shape(second)}")


def require_structure(image: npt.NDArray[Any], name: str) -> None:
    """Raise Undefined if the image is constant up to float32 rounding."""
    spread = np.max(np.abs(image - image.mean()))
    if spread <= max(ROUNDING * np.max(np.abs(image)), SMALLEST):
        raise Undefined(f"the {name} is constant")


def require_data_range(data_range: float) -> None:
    """Raise ValueError unless the range is positive and finite."""
    if not SMALLEST < data_range < LARGEST:
        raise ValueError(f"data_range must be positive and finite, got {data_range}")


def _require_usable(array: npt.NDArray[Any], name: str) -> None:
    if array.ndim != 2:
        raise ValueError(f"the {name} must be two-dimensional, got shape {array.shape}")
    if array.size == 0:
        raise Undefined(f"the {name} has no pixels")
    # Written so that NaN, which compares false, is caught too.
    if not np.all(np.abs(array) < LARGEST):
        raise Undefined(f"the {name} is not finite everywhere")
