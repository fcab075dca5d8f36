"""Patterns per second of the simulation against the practical limit, in the same run.

The limit is a bare loop of scipy.fft.fft2 and Generator.poisson over exit waves that are already there: no
patch cutting, no probe, no gain, no per-pattern random key, no square root. Repeats alternate between them,
so that a machine whose speed drifts gives the same ratio. On one thread processor time is counted, for all
cores the time that passes. Writing the file is timed apart.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy import fft

from ptychodose.config import load_params
from ptychodose.formats.rawdata import Scan, write_rawdata
from ptychodose.physics.diffraction import cut_patches, exit_wave_energy, exit_waves
from ptychodose.physics.photons import gain_squared, simulate_patterns
from ptychodose.physics.randomness import philox_key
from ptychodose.stages.scene import build_scene
from ptychodose.stages.simulate import CHUNK_PATTERNS, WORKERS, in_order

REPEATS = 5


def main() -> None:
    """Print a table: dose, rates, ratios, and the rate of writing."""
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    scene = build_scene(params, "train")
    n = len(scene.x)
    interpolation = params.simulate.interpolation
    waves = exit_waves(
        scene.probe, cut_patches(scene.obj, scene.x, scene.y, params.simulate.size_px, interpolation)
    )
    print(f"{n} patterns of {params.simulate.size_px} px, median of {REPEATS}; ratios are times, ours / bare")
    print(
        f"{'dose':>5} {'bare /s':>8} {'one thread /s':>14} {'ratio':>6} "
        f"{'all cores /s':>13} {'ratio':>6} {'writing /s':>11}"
    )
    for dose in map(float, params.doses):
        bare, one, all_cores = [], [], []
        for _ in range(REPEATS):
            bare.append(_timed(time.process_time, _bare, waves, dose))
            one.append(_timed(time.process_time, _ours, scene, dose, interpolation, 1))
            all_cores.append(_timed(time.perf_counter, _ours, scene, dose, interpolation, WORKERS))
        patterns = _ours(scene, dose, interpolation, WORKERS)
        writing = _timed(time.process_time, _write, scene, patterns)
        print(
            f"{dose:5.0e} {n / median(bare):8.0f} {n / median(one):14.0f} {_ratio(one, bare):6.2f} "
            f"{n / median(all_cores):13.0f} {_ratio(all_cores, bare):6.2f} {n / writing:11.0f}"
        )


def _timed(clock, work, *arguments):
    start = clock()
    work(*arguments)
    return clock() - start


def _ratio(ours, bare):
    return median(a / b for a, b in zip(ours, bare, strict=True))


def _ours(scene, dose_photons, interpolation, workers):
    """Everything the stage does from the scene to diff3d, the gain included."""
    energy = exit_wave_energy(scene.obj, scene.probe, scene.x, scene.y, interpolation)
    gain2 = gain_squared(dose_photons, energy)

    def one_chunk(start):
        rows = slice(start, start + CHUNK_PATTERNS)
        return simulate_patterns(
            scene.obj,
            scene.probe,
            scene.x[rows],
            scene.y[rows],
            dose_photons=dose_photons,
            gain_squared=gain2,
            interpolation=interpolation,
            key=philox_key("benchmark", dose_photons),
            first_index=start,
        )[0]

    return list(in_order(one_chunk, range(0, len(scene.x), CHUNK_PATTERNS), workers))


def _bare(waves, dose_photons):
    rng = np.random.default_rng(1)
    gain2 = dose_photons / np.mean(np.sum(np.abs(waves[:32]) ** 2, axis=(1, 2)))
    for wave in waves:
        rng.poisson(gain2 * np.abs(fft.fft2(wave, norm="ortho")) ** 2)


def _write(scene, chunks):
    n = len(scene.x)
    scan = Scan(scene.probe, scene.x, scene.y, scene.x, scene.y, np.zeros(n, np.int64), scene.obj)
    with tempfile.TemporaryDirectory() as folder:
        write_rawdata(Path(folder) / "train.npz", chunks, scan)


if __name__ == "__main__":
    main()
