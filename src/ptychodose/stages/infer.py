"""Stage infer@model-dose: predicted patches of every split, stitched into one object each."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.config import Params, Split
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.formats.reconstruction import Reconstruction, write_reconstruction
from ptychodose.metrics.photons import RATE_FLOOR_PHOTONS, poisson_deviance
from ptychodose.metrics.undefined import Undefined
from ptychodose.networks.prediction import predict_patches
from ptychodose.physics.diffraction import diffraction_intensity, exit_waves
from ptychodose.physics.halving import counts_of
from ptychodose.physics.photons import mean_exit_energy
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.stitching import Canvas
from ptychodose.report.progress import Progress
from ptychodose.stages import layout


def run(params: Params, model: str, dose: str) -> None:
    """Write data/reconstructions/<model>/<dose>/<split>.npz, streaming over the patterns."""
    folder = layout.model(model, dose)
    network = load_model(folder / "model.keras")
    config = read_json(folder / "config.json")
    with atomic_directory(layout.reconstruction(model, dose, "train").parent) as partial:
        for split in params.splits():
            _infer_split(params, network, config, dose, split, partial / f"{split}.npz")


def _infer_split(
    params: Params, network: keras.Model, config: dict[str, Any], dose: str, split: Split, target: Path
) -> None:
    dataset = RawDataFile(layout.dataset(dose, split))
    facts = read_json(dataset.path.with_suffix(".json"))
    dose_photons, mean_photons = float(dose), facts["dose"]["mean_photons"]
    energy = mean_exit_energy(dose_photons, facts["gain_squared"])
    # The network's amplitudes are in units of its train set's flux: |O| ~ sqrt(m E), see the model's config.
    scale = math.sqrt(
        mean_photons / dose_photons * energy / (config["mean_fraction"] * config["mean_exit_energy"])
    )
    key = philox_key("inference halves", params.seed, dose_photons, split)

    def predict(patterns: npt.NDArray[np.float32], first: int) -> npt.NDArray[np.complex128]:
        counts = counts_of(patterns, dose_photons)
        return scale * predict_patches(network, counts, mean_photons=mean_photons, key=key, first_index=first)

    reconstruction = reconstruct(
        dataset,
        predict,
        title=f"infer {config['model']} {dose} {split}",
        dose_photons=dose_photons,
        gain_squared=facts["gain_squared"],
        kept_px=params.infer.kept(dataset.scan.size_px),
        batch_size=params.infer.batch_size,
    )
    write_reconstruction(target, reconstruction)
    write_json(target.with_suffix(".json"), {"amplitude_scale": scale})


def reconstruct(
    dataset: RawDataFile,
    predict: Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.complex128]],
    *,
    title: str,
    dose_photons: float,
    gain_squared: float,
    kept_px: int,
    batch_size: int,
) -> Reconstruction:
    """Stitch ``predict(patterns, first index)`` and note how well each patch explains its pattern."""
    scan = dataset.scan
    canvas = Canvas(scan.x, scan.y, kept_px)
    deviance = np.empty(len(scan))
    first = 0
    with Progress(title, len(scan), "patterns") as progress:
        for patterns in progress.over(dataset.patterns(batch_size), len):
            rows = slice(first, first + len(patterns))
            patches = predict(patterns, first)
            canvas.add(patches, scan.x[rows], scan.y[rows])
            rates = gain_squared * diffraction_intensity(exit_waves(scan.probe, patches))
            counts = counts_of(patterns, dose_photons)
            try:
                deviance[rows] = poisson_deviance(counts, rates, rate_floor=RATE_FLOOR_PHOTONS)
            except Undefined as reason:
                raise UserError(f"{title}: {reason}; train again with a lower train.learning_rate") from None
            first += len(patterns)
    return Reconstruction(canvas.result(), deviance)
