"""The boundaries between the stages, in the order in which the data flow through them."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["array", "values"]


@dataclass(frozen=True)
class BoundaryKind:
    """What a name in a parity log stands for.

    relative_error: two arrays or numbers this close are the same up to rounding; statistical: whether two
    honest runs may differ here by chance (photon noise, another seed, additions in another order).
    """

    name: str
    stage: str
    kind: Kind
    meaning: str
    relative_error: float = 1e-6
    statistical: bool = False


_ROUNDING = 1e-4
"""Of a float32 network evaluated by another backend or device (measured 4e-6 between three backends)."""

_A: Kind = "array"
_V: Kind = "values"
_KINDS = (
    BoundaryKind("dose", "raw", _V, "declared dose, measured photons per pattern", statistical=True),
    BoundaryKind("raw.diff3d", "raw", _A, "patterns as stored (n, N, N), amplitude", statistical=True),
    BoundaryKind("raw.photons", "raw", _A, "photons of each pattern (n,)", statistical=True),
    BoundaryKind("raw.xcoords", "raw", _A, "x (column) of the patch centres (n,), object pixels"),
    BoundaryKind("raw.ycoords", "raw", _A, "y (row) of the patch centres (n,), object pixels"),
    BoundaryKind("raw.scan_index", "raw", _A, "which scan a pattern belongs to (n,)"),
    BoundaryKind("raw.probeGuess", "raw", _A, "probe as stored (N, N), complex"),
    BoundaryKind("raw.objectGuess", "raw", _A, "true object (H, W), complex, of simulated data"),
    BoundaryKind("grouped.scans", "grouped", _V, "by scan: patterns, mean amplitude", statistical=True),
    BoundaryKind("grouped.neighbours", "grouped", _A, "(n, 7) rows of each position and its 6 nearest"),
    BoundaryKind("grouped.offsets_px", "grouped", _A, "(n, 7, 2) their offsets (y, x) from their mean"),
    BoundaryKind("grouped.amplitude", "grouped", _A, "(n,) mean diff3d of each group", statistical=True),
    BoundaryKind("normalized", "normalized", _A, "X (n, N, N), mean sum of squares (N/2)^2", 1e-6, True),
    BoundaryKind("train.initial_weights", "training", _V, "initial weights, by layer", 1e-6, True),
    BoundaryKind("train.steps", "training", _V, "loss, gradient norms of the first steps", _ROUNDING, True),
    BoundaryKind("train.weights", "training", _V, "weights after training, by layer", _ROUNDING, True),
    BoundaryKind("probe", "model", _A, "probe as the model multiplies with it (N, N), complex"),
    BoundaryKind("input", "model", _A, "what the network was given (n, N, N)", 1e-6, True),
    BoundaryKind("output.amplitude", "prediction", _A, "amplitude of the patches (n, N, N)", _ROUNDING, True),
    BoundaryKind("output.phase", "prediction", _A, "phase of the patches (n, N, N), rad", _ROUNDING, True),
    BoundaryKind("rates", "prediction", _A, "predicted photons per pixel (n, N, N)", _ROUNDING, True),
    BoundaryKind("loss", "prediction", _A, "Poisson deviance of each pattern (n,)", _ROUNDING, True),
    BoundaryKind("stitched", "stitching", _A, "stitched object (H, W), complex", _ROUNDING, True),
    BoundaryKind("metrics", "metrics", _V, "quality against the truth", _ROUNDING, True),
)

BOUNDARIES: dict[str, BoundaryKind] = {kind.name: kind for kind in _KINDS}


def position(name: str) -> int:
    """Place in the data flow; a name that is not listed comes last."""
    return list(BOUNDARIES).index(name) if name in BOUNDARIES else len(BOUNDARIES)
