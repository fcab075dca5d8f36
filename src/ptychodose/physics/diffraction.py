"""The forward model: object and probe to far-field intensities (PHYSICS: psi = P O, A = |FFT psi| / N).

Products are written out in real and imaginary parts: NumPy's complex multiplication fuses operations on
some processors and not on others, and the last bit with them.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.signal import fftconvolve

Interpolation = Literal["bilinear", "nearest"]
Complex = npt.NDArray[np.complex128]
Real = npt.NDArray[np.float64]


def cut_patches(obj: Complex, x: Real, y: Real, size_px: int, interpolation: Interpolation) -> Complex:
    """The N x N window O_i of the object around each position.

    Window index (N/2, N/2) lies on (y, x). ``bilinear`` interpolates between the four neighbouring
    windows; ``nearest`` takes the window that starts at rint(position) - N/2, as the legacy simulator did.

    Parameters
    ----------
    obj : (H, W) complex128
    x, y : (n,) float64, object pixels; the windows must lie inside the object

    Returns
    -------
    (n, N, N) complex128
    """
    half = size_px // 2
    if interpolation == "nearest":
        top, left = np.rint(y).astype(np.intp) - half, np.rint(x).astype(np.intp) - half
        return np.ascontiguousarray(_windows(obj, size_px)[top, left])
    row, column = np.floor(y), np.floor(x)
    top, left = row.astype(np.intp) - half, column.astype(np.intp) - half
    weight_y, weight_x = (y - row)[:, None, None, None], (x - column)[:, None, None, None]
    # One more row and column: at an integral position on the edge the far neighbours have weight zero.
    padded = np.pad(obj, ((0, 1), (0, 1)), mode="edge")
    corners = _windows(padded, size_px + 1)[top, left].view(np.float64)
    corners = corners.reshape(len(x), size_px + 1, size_px + 1, 2)
    rows = _between(corners[:, :-1], corners[:, 1:], weight_y)
    patches = _between(rows[:, :, :-1], rows[:, :, 1:], weight_x)
    return patches.view(np.complex128)[..., 0]


def exit_waves(probe: Complex, patches: Complex) -> Complex:
    """psi_i = P O_i, (n, N, N)."""
    waves = np.empty_like(patches)
    p_real, p_imag = np.ascontiguousarray(probe.real), np.ascontiguousarray(probe.imag)
    np.multiply(p_real, patches.real, out=waves.real)
    waves.real -= p_imag * patches.imag
    np.multiply(p_real, patches.imag, out=waves.imag)
    waves.imag += p_imag * patches.real
    return waves


def diffraction_intensity(waves: Complex) -> Real:
    """|FFT2 psi|^2 / N^2, zero frequency at index (N/2, N/2); unitary, so sums equal sum |psi|^2."""
    far_field = fft.fft2(waves, axes=(-2, -1), norm="ortho")
    return fft.fftshift(far_field.real**2 + far_field.imag**2, axes=(-2, -1))


def exit_wave_energy(obj: Complex, probe: Complex, x: Real, y: Real, interpolation: Interpolation) -> Real:
    """sum |P O_i|^2 for every position, without cutting a single patch.

    |O_i|^2 is a quadratic form in the four neighbouring windows of the bilinear interpolation, so its sum
    under |P|^2 is a weighted sum of a few correlations of |P|^2 with products of the object and its
    one-pixel shifts, computed once for the whole object.

    Returns
    -------
    (n,) float64
    """
    half = len(probe) // 2
    illumination = np.abs(probe) ** 2
    if interpolation == "nearest":
        top, left = np.rint(y).astype(np.intp) - half, np.rint(x).astype(np.intp) - half
        return _correlation(illumination, np.abs(obj) ** 2)[top, left]
    o = np.pad(obj, ((0, 1), (0, 1)), mode="edge")
    square = _correlation(illumination, np.abs(o) ** 2)
    along_x = _correlation(illumination, (o[:, :-1] * o[:, 1:].conj()).real)
    along_y = _correlation(illumination, (o[:-1] * o[1:].conj()).real)
    diagonal = _correlation(illumination, (o[:-1, :-1] * o[1:, 1:].conj()).real)
    antidiagonal = _correlation(illumination, (o[:-1, 1:] * o[1:, :-1].conj()).real)

    row, column = np.floor(y), np.floor(x)
    t, s = row.astype(np.intp) - half, column.astype(np.intp) - half
    v, u = y - row, x - column
    w00, w01, w10, w11 = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
    return np.asarray(
        w00**2 * square[t, s]
        + w01**2 * square[t, s + 1]
        + w10**2 * square[t + 1, s]
        + w11**2 * square[t + 1, s + 1]
        + 2 * (w00 * w01 * along_x[t, s] + w10 * w11 * along_x[t + 1, s])
        + 2 * (w00 * w10 * along_y[t, s] + w01 * w11 * along_y[t, s + 1])
        + 2 * (w00 * w11 * diagonal[t, s] + w01 * w10 * antidiagonal[t, s]),
        dtype=np.float64,
    )


def _between(first: Real, second: Real, weight: Real) -> Real:
    """first + weight (second - first); without temporary arrays, as patch cutting spends its time here."""
    result = second - first
    result *= weight
    result += first
    return result


def _windows(obj: Complex, size_px: int) -> Complex:
    return np.lib.stride_tricks.sliding_window_view(obj, (size_px, size_px))


def _correlation(illumination: Real, image: Real) -> Real:
    return np.asarray(fftconvolve(image, illumination[::-1, ::-1], mode="valid"))
