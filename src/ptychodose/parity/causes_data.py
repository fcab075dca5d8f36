"""Causes in the data: dose, patterns, positions, probe."""

import math

from ptychodose.parity import prints
from ptychodose.parity.scene import Scene, ratio, times
from ptychodose.parity.schema import ArrayPrint

_ROUNDING_RMS_PX = 1 / math.sqrt(12)
"""Of positions rounded to whole pixels."""


def mislabelled(scene: Scene) -> str | None:
    """Declared doses differ."""
    declared = scene.number("dose", "declared_dose_photons")
    if declared is None or declared[0] == declared[1]:
        return None
    doses = f"{declared[0]:g} photons declared in A, {declared[1]:g} in B"
    if scene.same("raw.diff3d"):
        return f"{doses}, but the patterns are the same: one of the doses is mislabelled"
    counted = _mean_photons(scene)
    if counted is not None and math.isclose(counted[0], counted[1], rel_tol=1e-3):
        return f"{doses}, but the counted photons are the same: one of the doses is mislabelled"
    return f"{doses}, and the patterns differ too: these are data sets of two doses"


def other_intensity_scale(scene: Scene) -> str | None:
    """sqrt(D)/(N/2) of another dose."""
    scales = scene.number("dose", "intensity_scale")
    if scales is None or math.isclose(*scales, rel_tol=1e-6) or not scales[0]:
        return None
    f = scales[1] / scales[0]
    return (
        f"intensity_scale {scales[0]:g} against {scales[1]:g}: that of a dose {ratio(f**2)} times as large; "
        "the likelihood assumes the wrong photon noise"
    )


def whole_numbers(scene: Scene) -> str | None:
    """Another dtype that does not hold the numbers: whole numbers."""
    arrays = scene.arrays
    if arrays is None or arrays[0].dtype == arrays[1].dtype:
        return None
    whole = [x.dtype.startswith(("int", "uint")) for x in arrays]
    if whole[0] == whole[1]:
        return None
    return f"{arrays[0].dtype} against {arrays[1].dtype}: whole numbers on one side, counts or a cut-off"


def fewer_patterns(scene: Scene) -> str | None:
    """Another number of patterns, or another N."""
    arrays = scene.arrays
    if arrays is None or arrays[0].shape == arrays[1].shape:
        return None
    (n_a, *size_a), (n_b, *size_b) = arrays[0].shape, arrays[1].shape
    if size_a == size_b:
        word = "fewer" if n_b < n_a else "more"
        return f"{n_a} patterns in A, {n_b} in B: {abs(n_a - n_b)} {word}; a cut, a filter or another split"
    if sorted(arrays[0].shape) == sorted(arrays[1].shape):
        return f"shapes {_shape(arrays[0])} and {_shape(arrays[1])}: the axes are in another order"
    return f"shapes {_shape(arrays[0])} and {_shape(arrays[1])}: other patterns, cropped or binned"


def wrong_dose(scene: Scene) -> str | None:
    """sqrt(counts / D) with another D."""
    f = scene.factor("raw.diff3d") if scene.name == "raw.diff3d" else None
    if f is None or f <= 0:
        return None
    return (
        f"diff3d differs by {times(f)}: the same counts, divided by a dose {ratio(1 / f**2)} times that of A "
        "before the root (declared against measured dose, or a normalisation in the file)"
    )


def copied(scene: Scene) -> str | None:
    """Normalised patterns that are the raw ones: no normalisation."""
    arrays, raw = scene.arrays, scene.pair.arrays("raw.diff3d")
    if scene.name == "raw.diff3d" or arrays is None or raw is None:
        return None
    for side, array, stored in zip("AB", arrays, raw, strict=True):
        if prints.relative_error(stored, array) == 0 and scene.factor(scene.name):
            return f"in {side}, {scene.name} is diff3d as stored: not normalised"
    return None


def constant(scene: Scene) -> str | None:
    """Normalised with another constant."""
    f = scene.factor(scene.name)
    return f"{scene.name} differs by {times(f)}: normalisation constant" if f is not None else None


def reordered(scene: Scene) -> str | None:
    """The same patterns or positions in another order."""
    arrays = scene.arrays
    if arrays is None or not prints.same_numbers(*arrays):
        return None
    images = prints.thumbnails(*arrays)
    if images is not None and abs(images[0] - images[1]).max() > 1e-6 * (arrays[0].max or 0.0):
        return None
    if scene.name in ("raw.xcoords", "raw.ycoords", "raw.photons", "raw.scan_index"):
        return f"the same numbers in another order: {scene.name} and patterns no longer belong together"
    positions = [prints_ for key in ("xcoords", "ycoords") if (prints_ := scene.pair.arrays(f"raw.{key}"))]
    if scene.same("raw.xcoords", "raw.ycoords"):
        return "the patterns are in another order, the positions are not: they no longer belong together"
    if positions and all(prints.same_numbers(*both) for both in positions):
        return "the same patterns in another order, and the positions too: sort both, or do not shuffle"
    return "the same patterns in another order"


def squared(scene: Scene) -> str | None:
    """Intensity against amplitude."""
    arrays = scene.arrays
    if arrays is None:
        return None
    for (x, y), side in ((arrays, "B"), (arrays[::-1], "A")):
        c = prints.square_law(x, y)
        if c is not None and x.min != x.max:
            scaled = "" if math.isclose(c, 1, rel_tol=1e-4) else f" times {c:.4g}"
            other = "A" if side == "B" else "B"
            return f"{side} is the square of {other}{scaled}: intensity against amplitude"
    return None


def background(scene: Scene) -> str | None:
    """Counts added before the root."""
    arrays = scene.arrays
    if arrays is None or arrays[0].shape != arrays[1].shape:
        return None
    (low_a, high_a, squares_a), (low_b, high_b, squares_b) = (_ends(x) for x in arrays)
    moved = [high_b**2 - high_a**2, (squares_b - squares_a) / math.prod(arrays[0].shape)]
    if low_a is not None and low_b is not None:
        moved.append(low_b**2 - low_a**2)
    largest = max(map(abs, moved))
    if not largest > 0 or max(moved) - min(moved) > 1e-3 * largest:
        return None
    photons = scene.pair.photons
    text = f" ({moved[1] * photons:.3g} photons per pixel)" if photons and scene.name == "raw.diff3d" else ""
    word = "higher" if moved[1] > 0 else "lower"
    return f"all intensities of B are {word} by {abs(moved[1]):.3g}{text}: a background added or subtracted"


def swapped(scene: Scene) -> str | None:
    """x of the one is y of the other."""
    x, y = scene.pair.arrays("raw.xcoords"), scene.pair.arrays("raw.ycoords")
    if x is None or y is None or not (_equal(x[0], y[1]) and _equal(y[0], x[1])):
        return None
    return "xcoords of A are ycoords of B and the other way round: x and y are swapped"


def moved(scene: Scene) -> str | None:
    """Positions plus a constant."""
    arrays, found = scene.arrays, {}
    for key in ("xcoords", "ycoords"):
        both = scene.pair.arrays(f"raw.{key}")
        if both is not None and (c := prints.offset(*both)) is not None:
            found[key] = c
    if arrays is None or scene.name.removeprefix("raw.") not in found:
        return None
    patterns = scene.pair.arrays("raw.diff3d")
    size = patterns[0].shape[-1] if patterns else 0
    text = " and ".join(f"{key} by {c:+.4g} px" for key, c in found.items())
    shift = abs(next(iter(found.values())))
    if size and math.isclose(shift, size / 2, abs_tol=0.51):
        return f"{text}: N/2, corner against centre of a patch"
    if math.isclose(shift, 0.5, abs_tol=1e-3):
        return f"{text}: half a pixel, edge against centre of a pixel"
    return f"{text}: positions offset by a constant (another origin)"


def mirrored(scene: Scene) -> str | None:
    """Positions along the opposite direction."""
    arrays = scene.arrays
    c = prints.mirror(*arrays) if arrays else None
    return (
        f"{scene.name} of B is {c:.6g} minus that of A: the axis points the other way"
        if c is not None
        else None
    )


def to_whole_pixels(scene: Scene) -> str | None:
    """Positions rounded."""
    arrays = scene.arrays
    error = prints.relative_error(*arrays) if arrays else None
    if arrays is None or error is None:
        return None
    rms_px = error * max(prints.rms(arrays[0]), prints.rms(arrays[1]))
    ends = [x for x in arrays if x.min is not None and x.max is not None]
    whole = any(float(x.min or 0).is_integer() and float(x.max or 0).is_integer() for x in ends)
    if not whole or not 0.6 < rms_px / _ROUNDING_RMS_PX < 1.5:
        return None
    return f"positions differ by {rms_px:.2f} px (rms), on one side they are whole pixels: rounded positions"


def other_groups(scene: Scene) -> str | None:
    """Other neighbours at the same positions."""
    if not scene.same("raw.xcoords", "raw.ycoords"):
        return None
    arrays = scene.arrays
    if arrays and arrays[0].shape != arrays[1].shape:
        shapes = f"{_shape(arrays[0])} against {_shape(arrays[1])}"
        return f"positions equal, groups {shapes}: another number of neighbours"
    return "positions equal, neighbours not: another order among them, or ties broken otherwise"


def conjugated(scene: Scene) -> str | None:
    """The same moduli in the same places: only the phase differs."""
    arrays = scene.arrays
    if arrays is None or not prints.is_complex(arrays[0]) or not prints.same_numbers(*arrays):
        return None
    images = prints.thumbnails(*arrays)
    f = prints.factor(*arrays)
    if images is None or abs(images[0] - images[1]).max() > 1e-6 * (arrays[0].max or 0.0):
        return None
    if f is not None and math.isclose(f[0], -1, rel_tol=1e-5):
        return "B is −A: another sign, a phase of π"
    return "the modulus is equal, the phase differs: conjugation or another phase convention"


def _mean_photons(scene: Scene) -> tuple[float, float] | None:
    return scene.number("dose", "mean_photons")


def _equal(a: ArrayPrint, b: ArrayPrint) -> bool:
    error = prints.relative_error(a, b)
    return error is not None and error < 1e-6


def _ends(x: ArrayPrint) -> tuple[float | None, float, float]:
    """Least (None if it is 0, where a cut-off may hide a shift), largest, sum of squares."""
    return (x.min or None), x.max or math.nan, x.sum_of_squares or math.nan


def _shape(x: ArrayPrint) -> str:
    return f"({', '.join(map(str, x.shape))})"
