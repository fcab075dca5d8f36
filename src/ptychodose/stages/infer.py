"""Stage infer@model-dose: predicted patches of every split, stitched into one object each."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.config import Params, PinnParams, Split
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import RawDataFile, Scan
from ptychodose.formats.reconstruction import Reconstruction, write_reconstruction
from ptychodose.metrics.photons import RATE_FLOOR_PHOTONS, poisson_deviance
from ptychodose.metrics.undefined import Undefined
from ptychodose.networks.group_batches import predict_group_patches
from ptychodose.networks.prediction import predict_patches
from ptychodose.physics.diffraction import diffraction_intensity, exit_waves
from ptychodose.physics.grouping import group_neighbours
from ptychodose.physics.photons import mean_exit_energy
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.stitching import Canvas
from ptychodose.physics.thinning import counts_of
from ptychodose.report.progress import Progress
from ptychodose.stages import layout
from ptychodose.stages.recipes import N_NEIGHBOURS, group_pad_px, groups_network

Prediction = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.complex128]]
"""Rows of the patterns, their counts (n, N, N), their patches (n, N, N)."""


def run(params: Params, model: str, dose: str) -> None:
    """Write data/reconstructions/<model>/<dose>/<split>.npz, streaming over the patterns."""
    infer(params, layout.model(model, dose), dose, layout.reconstruction(model, dose, "train").parent)


def infer(params: Params, model: Path, dose: str, target: Path) -> None:
    """Reconstruct every split with the model in the folder ``model`` into the folder ``target``."""
    network = load_model(model / "model.keras")
    config = read_json(model / "config.json")
    with atomic_directory(target) as partial:
        for split in params.splits():
            _infer_split(params, network, config, dose, split, partial / f"{split}.npz")


@dataclass(frozen=True)
class PredictedSplit:
    """What a network makes of a split: ``predictions`` streams, in units of the data's flux."""

    dataset: RawDataFile
    facts: dict[str, Any]
    amplitude_scale: float
    """What the network's amplitudes were multiplied by."""
    predictions: Iterator[Prediction]


def predict_split(
    params: Params, network: keras.Model, config: dict[str, Any], dose: str, split: Split
) -> PredictedSplit:
    """Predict the patches of a split with a trained network and its configuration."""
    dataset = RawDataFile(layout.dataset(dose, split))
    facts = read_json(dataset.path.with_suffix(".json"))
    dose_photons, mean_photons = float(dose), facts["dose"]["mean_photons"]
    energy = mean_exit_energy(dose_photons, facts["gain_squared"])
    # The network's amplitudes are in units of its train set's flux: |O| ~ sqrt(m E), see the model's config.
    scale = math.sqrt(
        mean_photons / dose_photons * energy / (config["mean_fraction"] * config["mean_exit_energy"])
    )

    predictions: Iterator[Prediction]
    if config["gridsize"] == 1:
        predictions = _predict_patterns(dataset, network, dose_photons, mean_photons, params.infer.batch_size)
    else:
        predictions = _predict_groups(params, dataset, network, config, mean_photons)
    scaled = ((rows, counts, scale * patches) for rows, counts, patches in predictions)
    return PredictedSplit(dataset, facts, scale, scaled)


def _infer_split(
    params: Params, network: keras.Model, config: dict[str, Any], dose: str, split: Split, target: Path
) -> None:
    predicted = predict_split(params, network, config, dose, split)
    scan = predicted.dataset.scan
    reconstruction = reconstruct(
        scan,
        predicted.predictions,
        title=f"infer {config['model']} {dose} {split}",
        gain_squared=predicted.facts["gain_squared"],
        object_unit=config["object_unit"],
        kept_px=params.infer.kept(scan.size_px),
    )
    write_reconstruction(target, reconstruction)
    write_json(
        target.with_suffix(".json"),
        {"amplitude_scale": predicted.amplitude_scale, "object_unit": config["object_unit"]},
    )


def _predict_patterns(
    dataset: RawDataFile, network: keras.Model, dose_photons: float, mean_photons: float, batch_size: int
) -> Iterator[Prediction]:
    first = 0
    for patterns in dataset.patterns(batch_size):
        rows = np.arange(first, first + len(patterns))
        counts = counts_of(patterns, dose_photons)
        yield rows, counts, predict_patches(network, counts, mean_photons=mean_photons)
        first += len(patterns)


def _predict_groups(
    params: Params, dataset: RawDataFile, network: keras.Model, config: dict[str, Any], mean_photons: float
) -> Iterator[Prediction]:
    """A group around every pattern, so that each is predicted in about as many groups as it has members."""
    patterns, scan = dataset.all_patterns(), dataset.scan
    spec = PinnParams.model_validate(config["settings"])
    try:
        pad_px = group_pad_px(scan.x, scan.y, scan.size_px, spec.gridsize)
        groups = group_neighbours(
            scan.x,
            scan.y,
            gridsize=spec.gridsize,
            n_neighbours=N_NEIGHBOURS,
            key=philox_key("inference groups", params.seed),
            always_include_self=True,
        )
    except ValueError as error:
        raise UserError(f"{dataset.path}: {error}; it cannot be predicted in groups") from None
    # The positions of this set may lie further apart than those the network was trained with.
    roomy = groups_network(spec, scan.size_px, pad_px)
    roomy.set_weights(network.get_weights())
    step = max(params.infer.batch_size // spec.gridsize**2, 1)
    for first in range(0, len(groups), step):
        some = groups[first : first + step]
        counts = counts_of(patterns[some.members.ravel()], float(config["dose"]))
        patches = predict_group_patches(roomy, counts, some, mean_photons=mean_photons)
        yield some.members.ravel(), counts, patches.reshape(counts.shape)


def reconstruct(
    scan: Scan,
    predictions: Iterable[Prediction],
    *,
    title: str,
    gain_squared: float,
    object_unit: float,
    kept_px: int,
) -> Reconstruction:
    """Stitch predicted patches and note how well each explains its pattern.

    Each prediction holds the rows of some patterns, their counts and their patches; a pattern may come more
    than once, and its deviance is then the mean.
    """
    canvas = Canvas(scan.x, scan.y, kept_px)
    deviance, times, done = np.zeros(len(scan)), np.zeros(len(scan)), 0
    with Progress(title, len(scan), "patterns") as progress:
        for rows, counts, patches in predictions:
            canvas.add(patches, scan.x[rows], scan.y[rows])
            rates = gain_squared * diffraction_intensity(exit_waves(scan.probe, object_unit * patches))
            try:
                explained = poisson_deviance(counts, rates, rate_floor=RATE_FLOOR_PHOTONS)
            except Undefined as reason:
                raise UserError(f"{title}: {reason}; train again with a lower learning_rate") from None
            np.add.at(deviance, rows, explained)
            np.add.at(times, rows, 1)
            progress.advance(int((times > 0).sum()) - done)
            done = int((times > 0).sum())
    return Reconstruction(canvas.result(), deviance / times)
