"""Stage simulate@dose: the datasets of one dose, simulated or taken over from somebody's files."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.config import Params, Split
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.jsonfile import rounded, write_json
from ptychodose.formats.rawdata import RawDataFile, Scan, write_rawdata
from ptychodose.physics.diffraction import exit_wave_energy
from ptychodose.physics.photons import (
    MeasuredDose,
    gain_squared,
    measured_dose,
    simulate_patterns,
)
from ptychodose.physics.probes import effective_diameter_px
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.scans import overlap
from ptychodose.report.progress import Progress
from ptychodose.stages import layout
from ptychodose.stages.scene import build_scene, object_pixel_m, refuse_outside

CHUNK_PATTERNS = 16
"""Few enough that a chunk stays in a processor's cache."""
WORKERS = os.cpu_count() or 1
Patterns = npt.NDArray[np.float32]


def run(params: Params, dose: str, *, chunk: int = CHUNK_PATTERNS, workers: int = WORKERS) -> None:
    """Write data/datasets/<dose>/<split>.npz and .json for every split.

    ``chunk`` and ``workers`` change memory and speed, never a byte of the result.
    """
    if dose not in params.doses:
        raise UserError(f"params.yaml: doses: {dose!r} is not among {params.doses}")
    folder = layout.dataset(dose, "train").parent
    with atomic_directory(folder) as partial:
        for split in params.splits():
            target = partial / f"{split}.npz"
            if params.simulate.source == "files":
                _take_over(params, dose, split, target)
            else:
                _simulate(params, dose, split, target, chunk, workers)


def _simulate(params: Params, dose: str, split: Split, target: Path, chunk: int, workers: int) -> None:
    scene = build_scene(params, split)
    dose_photons, interpolation = float(dose), params.simulate.interpolation
    energy = exit_wave_energy(scene.obj, scene.probe, scene.x, scene.y, interpolation)
    # As rounded in the JSON, so that the gain that is recorded is the gain that was used.
    gain2 = rounded(gain_squared(dose_photons, energy))
    key = philox_key("photons", params.seed, dose_photons, split)
    n = len(scene.x)
    photons = np.empty(n, dtype=np.int64)

    def one_chunk(start: int) -> Patterns:
        rows = slice(start, min(start + chunk, n))
        patterns, photons[rows] = simulate_patterns(
            scene.obj,
            scene.probe,
            scene.x[rows],
            scene.y[rows],
            dose_photons=dose_photons,
            gain_squared=gain2,
            interpolation=interpolation,
            key=key,
            first_index=start,
        )
        return patterns

    scan = Scan(scene.probe, scene.x, scene.y, scene.x, scene.y, np.zeros(n, np.int64), scene.obj)
    with Progress(f"simulate {dose} {split}", n, "patterns") as progress:
        chunks = in_order(one_chunk, range(0, n, chunk), workers)
        write_rawdata(target, progress.over(chunks, len), scan)
    measured = measured_dose(photons.astype(np.float64), dose_photons, whole_scan=True)
    facts = _facts(params, dose, split, scan, measured, gain2, "known: simulated")
    write_json(target.with_suffix(".json"), facts)


def _take_over(params: Params, dose: str, split: Split, target: Path) -> None:
    """Patterns of another writer: the first ``train`` of the file, then ``test`` more."""
    splits = params.simulate.splits
    path = layout.INPUTS / str(params.simulate.files.path).replace("{dose}", dose)
    source = RawDataFile(path)
    if source.scan.size_px != params.simulate.size_px:
        raise UserError(
            f"{path}: N is {source.scan.size_px}, but simulate.size_px is {params.simulate.size_px}"
        )
    if splits.train + splits.test > len(source.scan):
        raise UserError(
            f"{path}: holds {len(source.scan)} patterns, but simulate.splits asks for "
            f"{splits.train} + {splits.test}; lower them to fit"
        )
    first = 0 if split == "train" else splits.train
    rows = slice(first, first + getattr(splits, split))
    patterns, scan = source.all_patterns()[rows], source.scan[rows]
    dose_photons = float(dose)
    _refuse_wrong_dose(path, patterns, dose_photons)
    photons = (patterns.astype(np.float64) ** 2).sum(axis=(1, 2)) * dose_photons
    if scan.obj is not None:
        interpolation = params.simulate.interpolation
        refuse_outside(path, scan.obj, scan.size_px, scan.x, scan.y, interpolation)
        energy = exit_wave_energy(scan.obj, scan.probe, scan.x, scan.y, interpolation)
        origin = "computed from objectGuess"
    else:
        energy = np.full(len(scan), (np.abs(scan.probe) ** 2).sum())
        origin = "estimated: as if the object were transparent"
    # These patterns are a part of a scan, whose mean need not be the dose: the photons counted set the gain.
    gain2 = gain_squared(float(np.mean(photons)), energy)
    measured = measured_dose(photons, dose_photons, whole_scan=False)
    write_rawdata(target, [patterns], scan)
    write_json(target.with_suffix(".json"), _facts(params, dose, split, scan, measured, gain2, origin))


def _refuse_wrong_dose(path: Path, patterns: Patterns, dose_photons: float) -> None:
    """The mean cannot betray a wrong dose (diff3d is normalised to 1): whole photon counts can."""
    counts = patterns.astype(np.float64) ** 2 * dose_photons
    lit = counts[counts > 0]
    few = lit[lit < 1000]
    if few.size and float(np.abs(few - np.rint(few)).max()) > 0.01:
        raise UserError(
            f"{path}: diff3d: diff3d^2 x {dose_photons:g} are not whole photon counts "
            f"(smallest: {few.min():.4g}); "
            "the file is of another dose, or was not written as sqrt(counts / dose)"
        )
    # Under a label 10 times too high the counts are 10, 20, 30...: whole, but all multiples of the smallest.
    smallest = float(lit.min(initial=np.inf))
    multiples = lit[lit < 1000 * smallest] / smallest
    if smallest > 1.5 and multiples.size >= 20 and float(np.abs(multiples - np.rint(multiples)).max()) < 0.01:
        raise UserError(
            f"{path}: diff3d: at {dose_photons:g} photons every count is a multiple of {smallest:.6g}; "
            f"the file is of dose {dose_photons / smallest:.6g}"
        )


def _facts(
    params: Params,
    dose: str,
    split: Split,
    scan: Scan,
    measured: MeasuredDose,
    gain2: float,
    gain_origin: str,
) -> dict[str, Any]:
    deviation = measured.deviation_in_standard_errors
    if abs(deviation) > 5:
        raise UserError(
            f"{layout.dataset(dose, split)}: refused: {measured.mean_photons:.6g} photons per pattern were "
            f"measured, {deviation:+.1f} standard errors from the declared "
            f"{dose}; correct the dose"
        )
    if measured.mean_photons == 0:
        raise UserError(f"{layout.dataset(dose, split)}: refused: not one photon was counted; raise the dose")
    diameter_px = effective_diameter_px(scan.probe)
    shared = overlap(scan.x, scan.y, diameter_px)
    scanned_px = float((np.ptp(scan.x) + diameter_px) * (np.ptp(scan.y) + diameter_px))
    per_pixel = measured.mean_photons * len(scan) / scanned_px
    return {
        "schema": "ptychodose/dataset/1",
        "scenario": params.scenario,
        "split": split,
        "source": params.simulate.source,
        "n_patterns": len(scan),
        "size_px": scan.size_px,
        "interpolation": params.simulate.interpolation,
        "object_pixel_m": object_pixel_m(params),
        "dose": {**asdict(measured), "deviation_in_standard_errors": deviation},
        "gain_squared": gain2,
        "gain_origin": gain_origin,
        "intensity_scale": float(np.sqrt(measured.declared_photons)) / (scan.size_px / 2),
        "probe_effective_diameter_px": diameter_px,
        "overlap": asdict(shared),
        "photons_per_object_pixel": per_pixel,
        "photons_per_resolution_element": 4 * per_pixel,
        "formulas": {
            "gain_squared": "D / mean_i sum |P O_i|^2",
            "intensity_scale": "sqrt(D) / (N/2)",
            "photons_per_object_pixel": "all photons / bounding box of the positions grown by half a probe",
            "photons_per_resolution_element": "4 photons_per_object_pixel: (2 px)^2, the Nyquist full period",
        },
    }


def in_order(work: Callable[[int], Patterns], starts: range, workers: int) -> Iterator[Patterns]:
    """Results in order, at most ``workers + 1`` of them in memory."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Patterns]] = deque()
        for start in starts:
            pending.append(pool.submit(work, start))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
