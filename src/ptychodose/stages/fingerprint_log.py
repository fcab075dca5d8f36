"""What the fingerprints of networks and of fits have in common."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ptychodose.config import Params, Split
from ptychodose.environment import program
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.reconstruction import read_reconstruction
from ptychodose.parity.emitter import write_log
from ptychodose.stages import layout


def results(model: str, dose: str, split: Split) -> dict[str, Any]:
    """What was stitched and measured."""
    reconstruction = read_reconstruction(layout.reconstruction(model, dose, split))
    return {
        "loss": reconstruction.deviance,
        "stitched": reconstruction.stitched.obj,
        "metrics": read_json(layout.metrics(model, dose))[split],
    }


def write(params: Params, path: Path, entries: Iterable[Any], environment: Mapping[str, Any]) -> None:
    """Write a log of this study."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_log(path, entries, scenario_id=params.scenario, emitter=program(), environment=environment)
