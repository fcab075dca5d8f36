"""The legacy pipeline's params.dill: written for its readers, never read here."""

from pathlib import Path
from typing import Any

import dill

from ptychodose.formats.atomic import atomic_file


def write_params_dill(path: Path, settings: dict[str, Any]) -> None:
    """Write plain values only, so that any Python can read it."""
    with atomic_file(path) as partial:
        partial.write_bytes(dill.dumps(settings, protocol=4))
