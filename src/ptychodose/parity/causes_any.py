"""Causes that can show at any boundary."""

import math

from ptychodose.parity import prints
from ptychodose.parity.scene import EXACT_FACTOR, Scene, times

_HALF = (("float16", 2e-5, 4e-4), ("bfloat16", 4e-4, 4e-3))
"""Relative rounding error of numbers with 11 and 8 significant bits, from the least to the most it can be."""


def not_finite(scene: Scene) -> str | None:
    """NaN or infinity on one side."""
    arrays = scene.arrays
    if arrays is None or arrays[0].shape != arrays[1].shape:
        return None
    found = [(x.n or math.prod(x.shape)) - x.n_finite if x.n_finite is not None else 0 for x in arrays]
    if found[0] == found[1]:
        return None
    side, count = ("A", found[0]) if found[0] > found[1] else ("B", found[1])
    return f"{side} holds {count} numbers that are NaN or infinite: an overflow or a division by zero before"


def other_kind(scene: Scene) -> str | None:
    """Complex on one side, real on the other."""
    arrays = scene.arrays
    if arrays is None or prints.is_complex(arrays[0]) == prints.is_complex(arrays[1]):
        return None
    real = "B" if prints.is_complex(arrays[0]) else "A"
    return f"{real} is real ({arrays['AB'.index(real)].dtype}): its phase was dropped on the way"


def turned(scene: Scene) -> str | None:
    """The same images shifted, transposed, flipped or turned: the mean images show it."""
    arrays = scene.arrays
    if arrays is None or not prints.same_numbers(*arrays):
        return None
    largest = max(arrays[0].max or 0.0, 1e-300)
    how = prints.turn(*arrays, tolerance=1e-6 * largest)
    images = "every image of B" if len(arrays[0].shape) > 2 else "B"
    return f"the same numbers, but {images} is {how}" if how else None


def half_precision(scene: Scene) -> str | None:
    """An error of the size of half precision."""
    arrays = scene.arrays
    error = prints.relative_error(*arrays) if arrays else None
    scaled = prints.factor(*arrays) if arrays else None
    if arrays is None or error is None or scaled is None or abs(scaled[0] - 1) > error:
        return None
    for name, least, most in _HALF:
        if least <= error <= most and (name in (arrays[0].dtype, arrays[1].dtype) or _ends_stay(scene)):
            kinds = f"{arrays[0].dtype} against {arrays[1].dtype}"
            return f"relative error {error:.1e} ({kinds}), as rounding to {name} leaves: a lower precision"
    return None


def _ends_stay(scene: Scene) -> bool:
    """Whether both ends of the distribution stay where they are, as rounding leaves them."""
    arrays = scene.arrays
    error = prints.statistics_error(*arrays) if arrays else None
    return error is not None and error < 4e-3


def one_factor(scene: Scene) -> str | None:
    """Everything multiplied by one number."""
    f = scene.factor(scene.name)
    return f"{scene.name} differs by {times(f)}: a constant or a unit" if f is not None else None


def same_numbers(scene: Scene) -> str | None:
    """The same numbers in other places; of complex ones, the same moduli."""
    arrays = scene.arrays
    if arrays is None or not prints.same_numbers(*arrays):
        return None
    if prints.is_complex(arrays[0]):
        return "the moduli are the same numbers: shifted, transposed, flipped, or with another phase"
    return "the same numbers in other places: another order, a shift, a transposition or a flip"


def offset(scene: Scene) -> str | None:
    """A constant added."""
    arrays = scene.arrays
    if arrays is None or prints.is_complex(arrays[0]):
        return None
    c = prints.offset(*arrays)
    return f"B is A plus {c:.4g} everywhere: a constant added" if c is not None else None


def lower_mean(scene: Scene) -> str | None:
    """No pattern: the means, for a start."""
    arrays = scene.arrays
    if arrays is None or arrays[0].mean is None or arrays[1].mean is None:
        return None
    if arrays[0].shape != arrays[1].shape:
        return f"shapes {tuple(arrays[0].shape)} and {tuple(arrays[1].shape)}"
    error = prints.relative_error(*arrays)
    found = prints.factor(*arrays)
    text = f"no known pattern: mean {arrays[0].mean:.5g} against {arrays[1].mean:.5g}"
    if error is not None and found is not None and found[1] > EXACT_FACTOR:
        text += f", relative error {error:.2g}, {found[1]:.2g} after the best factor {found[0]:.4g}"
    return text
