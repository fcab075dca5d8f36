"""Simulated objects: complex transmission functions O(y, x)."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.draw import line

from ptychodose.physics.rounding import FIELD_GRID, to_grid


def lines(
    size_px: int, *, n_lines: int, max_amplitude: float, rng: np.random.Generator
) -> npt.NDArray[np.complex128]:
    """Random lines at three scales, a pure amplitude object (phase zero).

    ``n_lines`` one-pixel lines of value 1 between random end points are drawn in an image of twice the
    size; the object is the central half of G(1) + 2 G(5) + 5 G(10), G(s) being the image blurred by a
    Gaussian of s pixels, scaled to ``max_amplitude``. This is the recipe of the legacy simulator.

    Returns
    -------
    (size_px, size_px) complex128, imaginary part zero
    """
    image = np.zeros((2 * size_px, 2 * size_px))
    for x0, y0, x1, y1 in rng.integers(0, 2 * size_px, size=(n_lines, 4)):
        image[line(y0, x0, y1, x1)] = 1.0
    blurred = gaussian_filter(image, 1) + 2 * gaussian_filter(image, 5) + 5 * gaussian_filter(image, 10)
    start = size_px // 2
    amplitude = blurred[start : start + size_px, start : start + size_px]
    if not amplitude.any():
        raise ValueError(f"none of the {n_lines} lines comes near the object; draw more")
    amplitude = to_grid(amplitude * (max_amplitude / amplitude.max()), FIELD_GRID)
    return amplitude.astype(np.complex128)


def lines_phase(
    size_px: int, *, n_lines: int, max_amplitude: float, max_phase_rad: float, rng: np.random.Generator
) -> npt.NDArray[np.complex128]:
    """The :func:`lines` object with a phase proportional to its amplitude.

    O = A exp(i max_phase_rad A / max(A)): as in a specimen whose thickness sets both.

    Returns
    -------
    (size_px, size_px) complex128
    """
    amplitude = lines(size_px, n_lines=n_lines, max_amplitude=max_amplitude, rng=rng).real
    phase_rad = max_phase_rad * amplitude / max_amplitude
    return to_grid(amplitude * np.exp(1j * phase_rad), FIELD_GRID)
