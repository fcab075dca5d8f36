"""What photon noise may do to data: counts n ~ Poisson(λ) with the same λ on both sides, D a pattern.

The variance of sqrt(n) never exceeds 0.4125 (near λ = 1.4; it is 1/4 far above), nor the chance that the
pixel is lit, and every bound below is a sum of such variances.
"""

import math

import numpy as np

from ptychodose.parity import prints
from ptychodose.parity.chance import Chance, agrees, both, within_noise
from ptychodose.parity.leaves import is_number, leaves
from ptychodose.parity.pairs import Pair
from ptychodose.parity.schema import ArrayPrint
from ptychodose.parity.verdict import Judge

ROOT_VARIANCE = 0.4125
"""The largest variance of the square root of a Poisson count."""
_LEAST_VARIANCE = 0.25
"""The least variance of that root over the chance that the pixel is lit, at many photons."""
_SIGMAS_MEAN = 5
_SIGMAS_TILES = 6
"""More, since the worst of 256 tiles is looked at."""


def patterns(pair: Pair, name: str, judge: Judge) -> Chance:
    """Patterns, raw or normalised (n, N, N): unit · sqrt(counts / D), unit the rms norm of a pattern.

    The mean photons (their sum of squares) agree within 5 standard errors of the difference, sqrt(2 / n D);
    the pattern mean within 6; each tile of the thumbnail (p pixels of n patterns) within 6 times
    sqrt(2 · 0.4125 / (n p D)) and the error of the unit; the number of dark pixels within 6; percentiles
    within one photon's step, 1 / sqrt(D); and ‖a − b‖² lies between the least and the largest noise that all
    lit pixels can have together.
    """
    found, photons = both(pair, name), pair.photons
    if found is None or len(found[0].shape) != 3:
        return Chance(False)
    a, b = found
    if not photons or a.mean is None or b.mean is None or a.n_zero is None or b.n_zero is None:
        return Chance(False, "photon noise cannot be judged: dose or statistics are missing")
    n, size = a.shape[0], math.prod(a.shape)
    if not (0 < prints.norm(a) < math.inf and 0 < prints.norm(b) < math.inf):
        return Chance(False, "one side holds no light at all")
    unit = math.sqrt((prints.norm(a) ** 2 + prints.norm(b) ** 2) / (2 * n))
    relative = math.sqrt(2 / (n * photons))
    pixel = unit * math.sqrt(2 * ROOT_VARIANCE / photons)
    flux = (prints.norm(b) / prints.norm(a)) ** 2 - 1
    if abs(flux) > _SIGMAS_MEAN * relative:
        return Chance(False, f"sums of squares differ by {flux:+.3%}, photon noise is {relative:.2%}")
    if abs(a.mean - b.mean) > _SIGMAS_TILES * (pixel / math.sqrt(size) + a.mean * relative / 2):
        return Chance(False, f"mean {a.mean:.6g} against {b.mean:.6g}, more than photon noise")
    if abs(a.n_zero - b.n_zero) > _SIGMAS_TILES * math.sqrt(a.n_zero + b.n_zero):
        return Chance(False, f"{a.n_zero} dark pixels against {b.n_zero}, more than photon noise")
    if not _tiles_agree(a, b, pixel, relative):
        return Chance(False, "the mean patterns differ by more than photon noise")
    for p in a.percentiles.keys() & b.percentiles.keys():
        x, y = a.percentiles[p], b.percentiles[p]
        if abs(x - y) > unit / math.sqrt(photons) + 2 * prints.PERCENTILE_STEP * max(abs(x), abs(y)):
            return Chance(False, f"percentile {p}: {x:.6g} against {y:.6g}, more than one photon")
    lit = size - min(a.n_zero, b.n_zero)
    noise = 2 * unit**2 / photons
    return within_noise(a, b, noise * min(ROOT_VARIANCE * size, lit), noise * _LEAST_VARIANCE * lit)


def photon_sums(pair: Pair, name: str, judge: Judge) -> Chance:
    """Photons of each pattern (n,): the mean within 5 standard errors, ‖a − b‖² no more than the sum of both.

    Counts with one rate differ by the sum of their variances, which is that of their means.
    """
    found = both(pair, name)
    if found is None:
        return Chance(False)
    a, b = found
    mean_a, mean_b = a.mean or 0.0, b.mean or 0.0
    if min(mean_a, mean_b) < 0:
        return Chance(False, "photons are negative")
    error = math.sqrt((mean_a + mean_b) / math.prod(a.shape))
    if abs(mean_a - mean_b) > _SIGMAS_MEAN * error:
        return Chance(False, f"mean photons {mean_a:.6g} against {mean_b:.6g}, photon noise is {error:.1g}")
    return within_noise(a, b, (mean_a + mean_b) * math.prod(a.shape))


def measured_photons(pair: Pair, name: str, judge: Judge) -> Chance:
    """The dose: what is declared is equal, the measured mean within 5 standard errors of the difference.

    The least and the most lit pattern may differ by 6 standard deviations of their counts.
    """
    a, b = pair.values(name) or ({}, {})
    arrays = pair.arrays("raw.diff3d") or pair.arrays("raw.photons")
    n = arrays[0].shape[0] if arrays else 1
    for key in ("declared_dose_photons", "intensity_scale"):
        if a.get(key) != b.get(key):
            return Chance(False, f"{key}: {a.get(key)} against {b.get(key)}")
    for key, sigmas, count in (
        ("mean_photons", _SIGMAS_MEAN, n),
        ("min_photons", _SIGMAS_TILES, 1),
        ("max_photons", _SIGMAS_TILES, 1),
    ):
        x, y = a.get(key), b.get(key)
        if not (is_number(x) and is_number(y)):
            continue
        if min(x, y) < 0 or abs(x - y) > sigmas * math.sqrt((x + y) / count):
            return Chance(False, f"{key}: {x:.6g} against {y:.6g}, more than photon noise")
    return Chance(True, "mean photons agree within photon noise")


def group_amplitudes(pair: Pair, name: str, judge: Judge) -> Chance:
    """Mean diff3d of each group (n,): ‖a − b‖² is no larger than the noise of groups of one pattern.

    That is 0.4125 / (N² D) for each; a group of several is quieter.
    """
    found, variance = both(pair, name), _of_pattern_mean(pair)
    if found is None or variance is None or not agrees(judge, pair, "raw.diff3d"):
        return Chance(False)
    return within_noise(*found, 2 * variance * math.prod(found[0].shape))


def scans(pair: Pair, name: str, judge: Judge) -> Chance:
    """Patterns and mean amplitude by scan: whole numbers are equal, means within 6 standard deviations.

    Those of scans of a single pattern each, sqrt(2 · 0.4125 / (N² D)).
    """
    a, b = (leaves(tree) for tree in pair.values(name) or ({}, {}))
    variance = _of_pattern_mean(pair)
    if a.keys() != b.keys() or variance is None or not agrees(judge, pair, "raw.diff3d"):
        return Chance(False)
    allowed = _SIGMAS_TILES * math.sqrt(2 * variance)
    for key, x in a.items():
        y = b[key]
        mean = isinstance(x, float) and is_number(y) and abs(x - y) <= allowed
        if x != y and not mean:
            return Chance(False, f"{key}: {x} against {y}")
    return Chance(True, "photon noise: mean amplitudes agree")


def _of_pattern_mean(pair: Pair) -> float | None:
    """The largest variance of a pattern's mean amplitude, in the unit of diff3d squared."""
    found, photons = pair.arrays("raw.diff3d"), pair.photons
    if found is None or not photons:
        return None
    stack = found[0]
    return ROOT_VARIANCE * prints.norm(stack) ** 2 / (photons * math.prod(stack.shape))


def _tiles_agree(a: ArrayPrint, b: ArrayPrint, pixel: float, relative: float) -> bool:
    found = prints.thumbnails(a, b)
    if found is None:
        return True
    of_mean = pixel * math.sqrt(found[0].size / math.prod(a.shape))
    allowed = _SIGMAS_TILES * (of_mean + relative / 2 * np.maximum(*found))
    return bool((np.abs(found[0] - found[1]) <= allowed).all())
