"""A stitched reconstruction as NPZ: object, weight, origin_yx, deviance."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptychodose.formats.atomic import atomic_file
from ptychodose.formats.npz import NpzReader, NpzWriter
from ptychodose.physics.stitching import Stitched


@dataclass(frozen=True)
class Reconstruction:
    """A stitched object and, per pattern, the Poisson deviance at the rates its own patch predicts."""

    stitched: Stitched
    deviance: npt.NDArray[np.float64]


def write_reconstruction(path: Path, reconstruction: Reconstruction) -> None:
    """Write atomically; object and weight in single precision."""
    stitched = reconstruction.stitched
    with atomic_file(path) as partial, NpzWriter(partial) as writer:
        writer.write("object", stitched.obj.astype(np.complex64))
        writer.write("weight", stitched.weight.astype(np.float32))
        writer.write("origin_yx", np.array(stitched.origin_yx, dtype=np.int64))
        writer.write("deviance", reconstruction.deviance)


def read_reconstruction(path: Path) -> Reconstruction:
    """Read what :func:`write_reconstruction` wrote."""
    with NpzReader(path) as reader:
        origin_y, origin_x = (int(value) for value in reader.array("origin_yx"))
        stitched = Stitched(
            reader.array("object").astype(np.complex128),
            reader.array("weight").astype(np.float64),
            (origin_y, origin_x),
        )
        return Reconstruction(stitched, reader.array("deviance"))
