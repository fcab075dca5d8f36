"""How models and doses look in every figure: colours, markers, powers of ten."""

import re
from collections.abc import Sequence
from typing import Any

from ptychodose.config import FITS

Style = dict[str, Any]
"""Keyword arguments of a matplotlib line."""

# Okabe and Ito's palette: told apart by readers with any colour vision. The markers repeat what colours say.
_NETWORKS = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "D"),
    ("#CC79A7", "P"),
    ("#E69F00", "X"),
    ("#56B4E9", "p"),
)
# What the photons allow stands back: no colour, behind the networks.
_FITS: dict[str, Style] = {
    FITS[0]: {"color": "0.0", "marker": "v", "linestyle": (0, (1, 1.2)), "zorder": 2},
    FITS[1]: {"color": "0.35", "marker": "^", "linestyle": (0, (4, 1.5)), "zorder": 2},
    FITS[2]: {"color": "0.6", "marker": "d", "linestyle": (0, (6, 1.2, 1.2, 1.2)), "zorder": 2},
}


def model_styles(models: Sequence[str]) -> dict[str, Style]:
    """Line style by model: networks solid and coloured in the order given, fits dashed black to grey."""
    networks = [model for model in models if model not in _FITS]
    styles = {fit: dict(style) for fit, style in _FITS.items() if fit in models}
    for index, model in enumerate(networks):
        colour, marker = _NETWORKS[index % len(_NETWORKS)]
        styles[model] = {"color": colour, "marker": marker, "linestyle": "-", "zorder": 3}
    return styles


def dose_label(dose: str) -> str:
    """A dose as it is set in type: "1e5" as a power of ten."""
    return re.sub(r"^1e(\d+)$", r"$10^{\1}$", dose)
