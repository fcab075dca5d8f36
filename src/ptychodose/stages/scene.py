"""From parameters to a scene: object, probe and positions of each split, the same at every dose."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptychodose.config import ObjectParams, Params, ScanParams, Split
from ptychodose.errors import UserError
from ptychodose.formats.npz import NpzReader
from ptychodose.physics import objects, probes, scans
from ptychodose.physics.diffraction import Interpolation
from ptychodose.physics.randomness import generator, philox_key
from ptychodose.stages import layout

Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Scene:
    """What is illuminated, by what, where."""

    obj: Complex
    probe: Complex
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]


def build_scene(params: Params, split: Split) -> Scene:
    """The scene of a split.

    ``train`` and ``test`` share the object; ``unseen`` has another one. Generated scans are drawn anew for
    each split over the same field; positions from a file are dealt out at random, none of them twice
    between train and test.
    """
    sim = params.simulate
    probe = build_probe(params)
    obj = _object(sim.object, params.seed, split)
    if min(obj.shape) < sim.size_px + 2:
        raise UserError(
            f"params.yaml: simulate.object: the object is {obj.shape[0]} x {obj.shape[1]} px, smaller than "
            f"the {sim.size_px} px probe and room to scan it; enlarge the object or reduce size_px"
        )
    field = scans.Field.inside(obj.shape, sim.size_px)
    n = getattr(sim.splits, split)
    if sim.scan.kind == "file":
        x, y = _file_positions(sim.scan, params, split)
        path = layout.INPUTS / str(sim.scan.path)
        refuse_outside(path, obj, sim.size_px, x, y, sim.interpolation)
    else:
        x, y = _generated_positions(
            sim.scan, n, field, generator(philox_key("positions", params.seed, split))
        )
    return Scene(obj, probe, x, y)


def refuse_outside(
    path: Path,
    obj: Complex,
    size_px: int,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    interpolation: Interpolation,
) -> None:
    """Raise a UserError if the window of a position read from ``path`` leaves the object."""
    if interpolation == "nearest":
        x, y = np.rint(x), np.rint(y)
    field = scans.Field.admissible(obj.shape, size_px)
    outside = ~field.contains(x, y)
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        raise UserError(
            f"{path}: xcoords, ycoords: {int(outside.sum())} of {len(x)} positions lie outside the object, "
            f"the first at x = {x[i]:g}, y = {y[i]:g}; "
            f"centres must have x in [{field.x_min:g}, {field.x_max:g}] "
            f"and y in [{field.y_min:g}, {field.y_max:g}]"
        )


def object_pixel_m(params: Params) -> float:
    """Object pixel size of the study's geometry."""
    sim = params.simulate
    return probes.object_pixel_m(
        sim.size_px,
        wavelength_m=sim.geometry.wavelength_m,
        detector_distance_m=sim.geometry.detector_distance_m,
        detector_pixel_m=sim.geometry.detector_pixel_m,
    )


def build_probe(params: Params) -> Complex:
    """The study's probe, (N, N)."""
    sim, probe = params.simulate, params.simulate.probe
    if probe.kind == "gaussian":
        return probes.gaussian(sim.size_px, fwhm_px=probe.fwhm_px)
    if probe.kind == "zone_plate":
        return probes.zone_plate(
            sim.size_px,
            pixel_m=object_pixel_m(params),
            wavelength_m=sim.geometry.wavelength_m,
            outer_zone_width_m=probe.outer_zone_width_m,
            central_stop_fraction=probe.central_stop_fraction,
            defocus_m=probe.defocus_m,
        )
    array = _read_complex(probe.path, "probeGuess")
    if array.shape != (sim.size_px, sim.size_px):
        raise UserError(
            f"{layout.INPUTS / str(probe.path)}: probeGuess: its shape is {array.shape}, but "
            f"simulate.size_px is {sim.size_px}"
        )
    return array


def _object(params: ObjectParams, seed: int, split: Split) -> Complex:
    if params.kind == "file":
        return _read_complex(params.unseen_path if split == "unseen" else params.path, "objectGuess")
    rng = generator(philox_key("object", seed, "unseen" if split == "unseen" else "seen"))
    try:
        return _generated_object(params, rng)
    except ValueError as error:
        raise UserError(f"params.yaml: simulate.object.n_lines: {error}") from None


def _generated_object(params: ObjectParams, rng: np.random.Generator) -> Complex:
    if params.kind == "lines":
        return objects.lines(
            params.size_px, n_lines=params.n_lines, max_amplitude=params.max_amplitude, rng=rng
        )
    return objects.lines_phase(
        params.size_px,
        n_lines=params.n_lines,
        max_amplitude=params.max_amplitude,
        max_phase_rad=params.max_phase_rad,
        rng=rng,
    )


def _generated_positions(
    params: ScanParams, n: int, field: scans.Field, rng: np.random.Generator
) -> scans.Positions:
    if params.kind == "uniform":
        return scans.uniform(n, field, rng=rng)
    if params.kind == "raster":
        return scans.raster(n, field, jitter_fraction=params.jitter_fraction, rng=rng)
    return scans.fermat_spiral(n, field, rng=rng)


def _file_positions(scan: ScanParams, params: Params, split: Split) -> scans.Positions:
    path = _input(scan.path)
    with NpzReader(path) as reader:
        x, y = (reader.array(key).astype(np.float64) for key in ("xcoords", "ycoords"))
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError(f"{path}: xcoords, ycoords: must be two finite vectors of one length")
    splits = params.simulate.splits
    needed = max(splits.train + splits.test, splits.unseen)
    if needed > len(x):
        raise UserError(
            f"{path}: holds {len(x)} positions, but simulate.splits asks for {needed}; lower them to fit"
        )
    order = generator(philox_key("deal", params.seed)).permutation(len(x))
    first = splits.train if split == "test" else 0
    # Within a split the order of the file stays: it is the order of the scan.
    chosen = np.sort(order[first : first + getattr(splits, split)])
    return x[chosen], y[chosen]


def _read_complex(name: str | None, key: str) -> Complex:
    path = _input(name)
    with NpzReader(path) as reader:
        array = reader.array(key)
    if array.ndim != 2 or array.dtype.kind != "c" or not np.isfinite(array).all():
        raise UserError(f"{path}: {key}: must be a finite complex array with two axes")
    if not np.abs(array).any():
        raise UserError(f"{path}: {key}: is zero everywhere; nothing would reach the detector")
    return array.astype(np.complex128)


def _input(name: str | None) -> Path:
    return layout.INPUTS / str(name)
