"""What two fingerprints say about the arrays behind them, though neither is there."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ptychodose.parity.schema import ArrayPrint

Real = npt.NDArray[np.float64]
PERCENTILE_STEP = 2.0**-11
"""Percentiles are kept to 12 significant bits: two that differ by one step may be the same number."""
_SUMMATION = 1e-7
"""Relative: sums of the same numbers in another order, written with 9 digits."""


def norm(print_: ArrayPrint) -> float:
    """‖a‖; estimated from the projection (to 9 %) where the sum of squares is not known, else NaN."""
    if print_.sum_of_squares is not None:
        return math.sqrt(print_.sum_of_squares)
    return float(np.linalg.norm(print_.projection)) if print_.projection else math.nan


def rms(print_: ArrayPrint) -> float:
    """Root mean square of all numbers."""
    return norm(print_) / math.sqrt(max(math.prod(print_.shape), 1))


def projections(a: ArrayPrint, b: ArrayPrint) -> tuple[Real, Real] | None:
    """Both projections if they are of the same numbers: one shape, both real or both complex."""
    alike = a.shape == b.shape and is_complex(a) == is_complex(b)
    if not alike or a.projection is None or b.projection is None:
        return None
    return np.array(a.projection), np.array(b.projection)


def is_complex(print_: ArrayPrint) -> bool:
    """Whether the array is complex; its statistics are then those of its modulus."""
    return print_.dtype.startswith("complex")


def relative_error(a: ArrayPrint, b: ArrayPrint) -> float | None:
    """‖a − b‖ / the larger norm, None without projections.

    The numbers of an array are added up with signs that look random, in 61 sums. The squared differences of
    these sums add up to ‖a − b‖² on average over signs; its root is then right to about 9 %.
    """
    found = projections(a, b)
    return (
        None if found is None else _ratio(float(np.linalg.norm(found[0] - found[1])), max(norm(a), norm(b)))
    )


def factor(a: ArrayPrint, b: ArrayPrint) -> tuple[float, float] | None:
    """The f of b ≈ f a, and the relative error that is left; None without projections or if a is 0."""
    found = projections(a, b)
    if found is None or not found[0].any():
        return None
    best = float(found[0] @ found[1] / (found[0] @ found[0]))
    return best, _ratio(float(np.linalg.norm(found[1] - best * found[0])), float(np.linalg.norm(found[1])))


def statistics_error(a: ArrayPrint, b: ArrayPrint) -> float | None:
    """The largest relative difference of the statistics that both have, None if there are none.

    Mean and std are compared in units of the root mean square, percentiles beyond their own precision.
    """
    scale = max(_or_zero(rms(a)), _or_zero(rms(b)))
    found = [
        _ratio(abs(x - y), max(abs(x), abs(y), scale if name in ("mean", "std") else 0.0))
        for name in ("min", "max", "mean", "std", "sum_of_squares")
        if (x := getattr(a, name)) is not None and (y := getattr(b, name)) is not None
    ]
    for p in a.percentiles.keys() & b.percentiles.keys():
        x, y = a.percentiles[p], b.percentiles[p]
        found.append(max(_ratio(abs(x - y), max(abs(x), abs(y))) - PERCENTILE_STEP, 0.0))
    return max(found, default=None)


def same_numbers(a: ArrayPrint, b: ArrayPrint) -> bool:
    """Whether the arrays hold the same numbers (moduli if complex), be it in other places."""
    error = statistics_error(a, b)
    return (
        math.prod(a.shape) == math.prod(b.shape)
        and bool(a.percentiles)
        and (a.n_finite, a.n_zero) == (b.n_finite, b.n_zero)
        and error is not None
        and error < _SUMMATION
    )


def thumbnails(a: ArrayPrint, b: ArrayPrint) -> tuple[Real, Real] | None:
    """Both thumbnails (16, 16), None if one is missing."""
    if a.thumbnail is None or b.thumbnail is None:
        return None
    return np.array(a.thumbnail), np.array(b.thumbnail)


TURNS: dict[str, Callable[[Real], Real]] = {
    "shifted by half its size along both axes (fftshift)": lambda t: np.roll(t, (8, 8), (0, 1)),
    "shifted by half its height": lambda t: np.roll(t, 8, 0),
    "shifted by half its width": lambda t: np.roll(t, 8, 1),
    "transposed (rows and columns swapped)": lambda t: t.T,
    "flipped upside down": lambda t: t[::-1],
    "flipped left to right": lambda t: t[:, ::-1],
    "turned by 180°": lambda t: t[::-1, ::-1],
    "turned by 90°": np.rot90,
    "turned by −90°": lambda t: np.rot90(t, -1),
    "transposed along the other diagonal": lambda t: t[::-1, ::-1].T,
}
"""What may have been done to every image of a stack."""


def turn(a: ArrayPrint, b: ArrayPrint, tolerance: float) -> str | None:
    """Which of the turns makes A's thumbnail B's, up to a largest difference; None if as it is, it is."""
    found = thumbnails(a, b)
    if found is None or np.abs(found[0] - found[1]).max() <= tolerance:
        return None
    return next(
        (name for name, done in TURNS.items() if np.abs(done(found[0]) - found[1]).max() <= tolerance), None
    )


def square_law(a: ArrayPrint, b: ArrayPrint) -> float | None:
    """The c of b = c a², None if it is not so: largest value and mean must follow the same law."""
    if not a.max or b.max is None or b.mean is None or not a.sum_of_squares or a.shape != b.shape:
        return None
    largest, mean = b.max / a.max**2, b.mean * math.prod(a.shape) / a.sum_of_squares
    return largest if math.isclose(largest, mean, rel_tol=1e-4) and largest > 0 else None


def offset(a: ArrayPrint, b: ArrayPrint) -> float | None:
    """The c of b = a + c, None if it is not so: mean, least and largest value move together, std stays."""
    if a.std is None or b.std is None or not math.isclose(a.std, b.std, rel_tol=1e-4, abs_tol=1e-12):
        return None
    moved = [
        y - x
        for x, y in ((a.mean, b.mean), (a.min, b.min), (a.max, b.max))
        if x is not None and y is not None
    ]
    if len(moved) < 3 or not moved[0]:
        return None
    near = 1e-4 * max(abs(moved[0]), 1e-9) + 1e-8 * (abs(a.mean or 0.0) + abs(b.mean or 0.0))
    return moved[0] if max(moved) - min(moved) <= near else None


def mirror(a: ArrayPrint, b: ArrayPrint) -> float | None:
    """The c of b = c − a, None if it is not so."""
    if a.mean is None or a.min is None or a.max is None or b.mean is None:
        return None
    turned = a.model_copy(update={"mean": -a.mean, "min": -a.max, "max": -a.min})
    if b.min == turned.min and b.max == turned.max and math.isclose(b.mean, -a.mean, rel_tol=1e-6):
        return 0.0
    return offset(turned, b)


def _ratio(difference: float, scale: float) -> float:
    return difference / scale if scale else (0.0 if difference == 0 else math.inf)


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
