"""What a cause is recognised from: a boundary that differs, and everything else the two logs say."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ptychodose.parity import prints
from ptychodose.parity.leaves import is_number, leaves
from ptychodose.parity.pairs import Arrays, Pair
from ptychodose.parity.strict import strictly
from ptychodose.parity.verdict import Tier

EXACT_FACTOR = 1e-5
"""Relative error that may be left where one factor is said to explain a difference."""


@dataclass(frozen=True)
class Scene:
    """The first boundary that differs."""

    pair: Pair
    name: str

    @property
    def arrays(self) -> Arrays | None:
        """Both fingerprints, None of numbers."""
        return self.pair.arrays(self.name)

    def same(self, *names: str) -> bool:
        """Whether other boundaries are exact or close."""
        return all(strictly(self.pair, name).tier in (Tier.EXACT, Tier.CLOSE) for name in names)

    def differs(self, name: str) -> bool:
        """Whether another boundary is neither exact nor close."""
        return strictly(self.pair, name).tier is Tier.DIFFERENT

    def number(self, boundary: str, key: str) -> tuple[float, float] | None:
        """A number of both, None if one is missing."""
        found = self.pair.values(boundary)
        if found is None:
            return None
        x, y = (leaves(tree).get(key) for tree in found)
        return (float(x), float(y)) if is_number(x) and is_number(y) else None

    def factor(self, name: str) -> float | None:
        """The f of b = f a of another boundary, None if one factor does not explain it."""
        arrays = self.pair.arrays(name)
        found = prints.factor(*arrays) if arrays else None
        return found[0] if found and found[1] < EXACT_FACTOR and found[0] != 1 else None


Cause = Callable[[Scene], str | None]
"""A sentence (without a full stop) if the pattern is recognised."""


def ratio(value: float) -> str:
    """A factor as it is read best: 2.000, 0.1, 1.2e-4; with its inverse or square where that is round."""
    text = f"{value:.4g}" if abs(value) >= 1000 or abs(value) < 0.1 else f"{value:.3f}"
    if value <= 0 or _round(value):
        return text
    for other, said in ((1 / value, "1/{:g}"), (1 / value**2, "1/√{:g}"), (value**2, "√{:g}")):
        if other > 1 and _round(other):
            return f"{text} = {said.format(float(f'{other:.6g}'))}"
    return text


def times(f: float) -> str:
    """``one factor 2.000``."""
    return f"one factor {ratio(f)}"


def _round(value: float) -> bool:
    """1, 2, 5, 10, 16, 20, 64, 1000 …: at most two digits that are not zero."""
    return math.isclose(value, float(f"{value:.1e}"), rel_tol=1e-4)
