"""How alike two logs are at one boundary, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ptychodose.parity.pairs import Pair


class Tier(StrEnum):
    """From the same bits to not the same thing; missing: one side does not say."""

    EXACT = "exact"
    CLOSE = "close"
    STATISTICAL = "statistical"
    DIFFERENT = "different"
    MISSING = "missing"


AGREE = (Tier.EXACT, Tier.CLOSE, Tier.STATISTICAL)


@dataclass(frozen=True)
class Verdict:
    """A tier, why, and how far apart the two are."""

    tier: Tier
    note: str = ""
    relative_error: float | None = None
    """Of arrays ‖a − b‖ / the larger norm, of numbers the largest relative difference."""


Judge = Callable[[Pair, str], Verdict]
