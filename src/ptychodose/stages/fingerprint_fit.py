"""Stage fingerprint-fit@model-dose: fingerprints of a fitted object and its metrics."""

from ptychodose.config import Params
from ptychodose.environment import describe_host
from ptychodose.parity.emitter import entry
from ptychodose.stages import layout
from ptychodose.stages.fingerprint_log import results, write


def run(params: Params, model: str, dose: str) -> None:
    """Write data/parity/<model>/<dose>.json, one entry a split."""
    entries = [
        entry(f"{dose}/{split}", dose=dose, model=model, boundaries=results(model, dose, split))
        for split in params.splits()
    ]
    write(params, layout.parity(model, dose), entries, describe_host())
