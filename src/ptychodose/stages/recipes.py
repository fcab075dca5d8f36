"""How each kind of model is built and trained: its network, its batches, its loss, its units."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ptychodose.config import LegacyParams, ModelParams, Params, PinnParams, SupervisedParams
from ptychodose.errors import UserError
from ptychodose.formats.rawdata import Scan
from ptychodose.networks.group_batches import ThinnedGroups
from ptychodose.networks.legacy import build_pinn_legacy
from ptychodose.networks.legacy_training import LegacyPoissonNLL, PlateauSchedule, legacy_probe
from ptychodose.networks.losses import PoissonNLL
from ptychodose.networks.pinn import build_pinn, rate_model
from ptychodose.networks.pinn_groups import PAD_MULTIPLE_PX, build_pinn_groups, group_rate_model
from ptychodose.networks.supervised import IlluminatedError, build_supervised
from ptychodose.networks.training import Batches, FixedPairs, ThinnedPatterns, cosine_adam
from ptychodose.physics.diffraction import Interpolation, cut_patches
from ptychodose.physics.grouping import GroupsTooWideError, group_reach_px
from ptychodose.physics.randomness import generator, philox_key
from ptychodose.physics.thinning import counts_of, input_scale, network_input

Rows = npt.NDArray[np.int64]


N_NEIGHBOURS = 6
"""K: a group is drawn among a pattern and this many nearest neighbours."""


@dataclass(frozen=True)
class TrainSet:
    """The photons a model learns from, and what is known about them."""

    path: Path
    scan: Scan
    patterns: npt.NDArray[np.float32]
    """diff3d, (n, N, N)"""
    dose_photons: float
    mean_photons: float
    """Measured mean photons per pattern."""
    mean_exit_energy: float
    interpolation: Interpolation

    def inputs(self) -> npt.NDArray[np.float32]:
        """All photons of every pattern, normalised: (n, N, N, 1)."""
        counts = counts_of(self.patterns, self.dose_photons)
        return network_input(counts, input_scale(self.mean_photons, self.scan.size_px))


@dataclass(frozen=True)
class Recipe:
    """All that a training needs to know about a kind of model."""

    network: keras.Model
    """What is saved: patterns (and offsets) to amplitude and phase of the object."""
    trained: keras.Model
    """What is trained, compiled: the network up to what the loss compares."""
    training: Batches
    validation: Batches | None
    object_unit: float = 1.0
    """True amplitude of the train set's object per unit of the network's amplitude. Not 1 for the legacy
    network, whose probe has another scale than the data's."""
    plateau: PlateauSchedule | None = None
    """The legacy schedule; without it the schedule is the optimizer's own."""


def gridsize(spec: ModelParams) -> int:
    """Patterns along the side of a group: 1 for all but the network of groups."""
    return spec.gridsize if isinstance(spec, PinnParams) else 1


def split_validation(params: Params, spec: ModelParams, scan: Scan) -> tuple[Rows, Rows]:
    """Rows of the train set to learn from, and those for the validation loss, sorted.

    Validation patterns are drawn one by one; for a network of groups a neighbourhood at a time, since they
    must find their group among themselves.
    """
    order = generator(philox_key("validation", params.seed)).permutation(len(scan))
    wanted = int(len(scan) * params.train.validation_fraction)
    if gridsize(spec) == 1:
        validation = order[:wanted]
    else:
        hoods = cKDTree(np.column_stack([scan.x, scan.y])).query(
            np.column_stack([scan.x, scan.y])[order[: wanted // (N_NEIGHBOURS + 1)]], k=N_NEIGHBOURS + 1
        )[1]
        validation = np.unique(hoods)
    return np.setdiff1d(order, validation), np.sort(validation)


def prepare(params: Params, model: str, data: TrainSet, training: Rows, validation: Rows) -> Recipe:
    """The recipe of a model, for a train set split into two.

    Call it after the seed is set: the network's initial weights are drawn here.
    """
    spec = params.models[model]
    if isinstance(spec, PinnParams):
        return (_pinn if spec.gridsize == 1 else _pinn_groups)(params, spec, data, training, validation)
    if isinstance(spec, SupervisedParams):
        return _supervised(params, spec, data, training, validation)
    return _legacy(params, spec, data, training, validation)


def _pinn(params: Params, spec: PinnParams, data: TrainSet, training: Rows, validation: Rows) -> Recipe:
    network = build_pinn(data.scan.size_px, width=spec.width, stages=spec.stages)
    network.get_layer("probe").set_probe(data.scan.probe, data.mean_exit_energy)
    rates = rate_model(network)

    def batches(rows: Rows) -> Batches:
        return ThinnedPatterns(
            data.patterns[rows], data.dose_photons, data.mean_photons, spec.batch_size, params.seed
        )

    learned = batches(training)
    rates.compile(optimizer=_optimizer(params, spec, learned), loss=PoissonNLL(data.dose_photons))
    return Recipe(network, rates, learned, batches(validation) if len(validation) else None)


def _pinn_groups(
    params: Params, spec: PinnParams, data: TrainSet, training: Rows, validation: Rows
) -> Recipe:
    scan, parts = data.scan, [training, validation] if len(validation) else [training]
    pad_px = max(group_pad_px(scan.x[rows], scan.y[rows], scan.size_px, spec.gridsize) for rows in parts)
    network = groups_network(spec, scan.size_px, pad_px)
    network.get_layer("probe").set_probe(scan.probe, data.mean_exit_energy)
    rates = group_rate_model(network)

    def batches(rows: Rows) -> Batches:
        return ThinnedGroups(
            data.patterns[rows],
            scan.x[rows],
            scan.y[rows],
            data.dose_photons,
            data.mean_photons,
            spec.gridsize,
            N_NEIGHBOURS,
            pad_px,
            max(spec.batch_size // spec.gridsize**2, 1),
            params.seed,
        )

    learned = batches(training)
    rates.compile(optimizer=_optimizer(params, spec, learned), loss=PoissonNLL(data.dose_photons))
    return Recipe(network, rates, learned, batches(validation) if len(validation) else None)


def groups_network(spec: PinnParams, size_px: int, pad_px: int) -> keras.Model:
    """The network of groups, with room for offsets up to ``pad_px``; its weights fit any such room."""
    return build_pinn_groups(
        size_px, gridsize=spec.gridsize, width=spec.width, stages=spec.stages, pad_px=pad_px
    )


def group_pad_px(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], size_px: int, gridsize: int) -> int:
    """Room that the common frame of any group of these positions needs on each side.

    Raises
    ------
    GroupsTooWideError
        Patches of a group would not overlap: the scan is too sparse for groups.
    """
    if len(x) <= N_NEIGHBOURS:
        raise GroupsTooWideError(f"{len(x)} positions are too few for {N_NEIGHBOURS} neighbours each")
    reach = group_reach_px(x, y, gridsize=gridsize, n_neighbours=N_NEIGHBOURS)
    if reach > size_px / 2:
        raise GroupsTooWideError(
            f"neighbours lie up to {reach:.0f} px from their group's centre, N is {size_px}"
        )
    return PAD_MULTIPLE_PX * math.ceil(reach / PAD_MULTIPLE_PX)


def _supervised(
    params: Params, spec: SupervisedParams, data: TrainSet, training: Rows, validation: Rows
) -> Recipe:
    scan = data.scan
    if scan.obj is None:
        raise UserError(
            f"{data.path}: holds no objectGuess, and the supervised baseline learns from the truth"
        )
    truth = cut_patches(scan.obj, scan.x, scan.y, scan.size_px, data.interpolation)
    targets = np.stack([np.abs(truth), np.angle(truth)], axis=-1).astype(np.float32)
    inputs = data.inputs()
    network = build_supervised(scan.size_px, filters_scale=spec.filters_scale)

    def batches(rows: Rows) -> Batches:
        return FixedPairs(inputs[rows], targets[rows], spec.batch_size, params.seed)

    learned = batches(training)
    network.compile(optimizer=_optimizer(params, spec, learned), loss=IlluminatedError(scan.probe))
    return Recipe(network, network, learned, batches(validation) if len(validation) else None)


def _legacy(params: Params, spec: LegacyParams, data: TrainSet, training: Rows, validation: Rows) -> Recipe:
    size_px, probe = data.scan.size_px, legacy_probe(data.scan.probe)
    network = build_pinn_legacy(size_px, n_filters_scale=spec.filters_scale)
    network.get_layer("probe").set_probe(probe, 1.0)
    rates = rate_model(network)
    inputs = data.inputs()

    def batches(rows: Rows) -> Batches:
        return FixedPairs(inputs[rows], np.square(inputs[rows]), spec.batch_size, params.seed)

    declared_dose = data.dose_photons if spec.declared_dose is None else float(spec.declared_dose)
    rates.compile(
        optimizer=keras.optimizers.Adam(spec.learning_rate), loss=LegacyPoissonNLL(declared_dose, size_px)
    )
    return Recipe(
        network,
        rates,
        batches(training),
        batches(validation) if len(validation) else None,
        object_unit=legacy_object_unit(data),
        plateau=PlateauSchedule(spec.learning_rate),
    )


def legacy_object_unit(data: TrainSet) -> float:
    """True amplitude per unit of a legacy network's amplitude.

    The network's exit waves have the mean energy (N/2)^2, the true ones E; its probe is the true one divided
    by a number of its own.
    """
    norm = np.linalg.norm(data.scan.probe) / np.linalg.norm(legacy_probe(data.scan.probe))
    return math.sqrt(data.mean_exit_energy) / (float(norm) * data.scan.size_px / 2)


def _optimizer(
    params: Params, spec: PinnParams | SupervisedParams, batches: Batches
) -> keras.optimizers.Optimizer:
    return cosine_adam(
        learning_rate=spec.learning_rate,
        warmup_fraction=params.train.warmup_fraction,
        clip_norm=params.train.clip_norm,
        total_steps=batches.steps * spec.epochs,
    )
