"""The names of models in tables and figures."""

from ptychodose.config import FITS, REFINED

_PLAIN, _REGULARISED, _REFINED = FITS
_KNOWS = {
    _PLAIN: "photons alone",
    _REGULARISED: "photons and prior",
    _REFINED: f"{_REGULARISED} from {REFINED}",
}


def model_label(model: str) -> str:
    """The model's name; behind that of a fit what it is made of."""
    return f"{model} ({_KNOWS[model]})" if model in _KNOWS else model
