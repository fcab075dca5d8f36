"""What the rules of chance share: their answer, and how far apart projections may be."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ptychodose.parity import prints
from ptychodose.parity.pairs import Arrays, Pair
from ptychodose.parity.schema import ArrayPrint
from ptychodose.parity.strict import strictly
from ptychodose.parity.verdict import AGREE, Judge, Tier

_PROJECTION_SPREAD = math.sqrt(2 / 61)
"""Relative standard deviation of a squared distance that is estimated from 61 sums."""
_SIGMAS = 5


@dataclass(frozen=True)
class Chance:
    """Whether chance explains a difference, and what was looked at."""

    agree: bool
    note: str = ""


Rule = Callable[[Pair, str, Judge], Chance]
"""Asked only about a boundary that is neither exact nor close."""


def both(pair: Pair, name: str) -> Arrays | None:
    """Both fingerprints if they are of one shape, finite alike and know their mean: what chance leaves be."""
    found = pair.arrays(name)
    if found is None or None in (found[0].mean, found[1].mean):
        return None
    a, b = found
    return found if (a.shape, a.n_finite) == (b.shape, b.n_finite) else None


def agrees(judge: Judge, pair: Pair, name: str) -> bool:
    """Whether a boundary is exact, close or statistical."""
    return judge(pair, name).tier in AGREE


def same(pair: Pair, *names: str) -> bool:
    """Whether boundaries are exact or close."""
    return all(strictly(pair, name).tier in (Tier.EXACT, Tier.CLOSE) for name in names)


def other_photons(judge: Judge, pair: Pair) -> bool:
    """Whether the data themselves differ by photon noise."""
    return any(judge(pair, name).tier is Tier.STATISTICAL for name in ("input", "raw.diff3d", "raw.photons"))


def within_noise(a: ArrayPrint, b: ArrayPrint, squared: float, least: float = 0.0) -> Chance:
    """‖a − b‖² against the sum of the variances, 5 standard deviations of its estimate allowed.

    Less than ``least`` is no chance either: independent noise cannot be so alike.
    """
    found = prints.projections(a, b)
    if found is None:
        return Chance(True, "means agree within photon noise; no projections to judge more")
    distance = float(((found[0] - found[1]) ** 2).sum())
    if distance > squared * (1 + _SIGMAS * _PROJECTION_SPREAD):
        return Chance(False, "number by number they differ by more than photon noise")
    if distance < least * (1 - _SIGMAS * _PROJECTION_SPREAD):
        return Chance(False, "far more alike than independent photon noise: the same counts, altered")
    return Chance(True, "within photon noise")
