"""Patterns per second of the simulation against the practical limit, in the same run.

The limit is a bare loop of scipy.fft.fft2 and Generator.poisson over exit waves that are already there: no
patch cutting, no probe, no gain, no per-pattern random key, no square root. Repeats alternate between them,
so that a machine whose speed drifts gives the same ratio; processor time is counted, not waiting. Writing the
file is timed apart.
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
from ptychodose.stages.simulate import CHUNK_PATTERNS

REPEATS = 5


def main() -> None:
    """Print a table: dose, both rates, their ratio, and the rate of writing."""
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    scene = build_scene(params, "train")
    n = len(scene.x)
    interpolation = params.simulate.interpolation
    waves = exit_waves(
        scene.probe, cut_patches(scene.obj, scene.x, scene.y, params.simulate.size_px, interpolation)
    )
    print(f"{n} patterns of {params.simulate.size_px} px, one thread, median of {REPEATS}")
    print(f"{'dose':>6} {'ours /s':>9} {'bare /s':>9} {'time ratio':>11} {'writing /s':>11}")
    for dose in params.doses:
        ours, bare = [], []
        for _ in range(REPEATS):
            start = time.process_time()
            patterns = _ours(scene, float(dose), interpolation)
            ours.append(time.process_time() - start)
            start = time.process_time()
            _bare(waves, float(dose))
            bare.append(time.process_time() - start)
        ratio = median(a / b for a, b in zip(ours, bare, strict=True))
        writing = _writing(scene, patterns)
        print(f"{dose:>6} {n / median(ours):9.0f} {n / median(bare):9.0f} {ratio:11.2f} {n / writing:11.0f}")


def _ours(scene, dose_photons, interpolation):
    """Everything the stage does from the scene to diff3d, the gain included."""
    gain2 = gain_squared(
        dose_photons, exit_wave_energy(scene.obj, scene.probe, scene.x, scene.y, interpolation)
    )
    chunks = []
    for start in range(0, len(scene.x), CHUNK_PATTERNS):
        rows = slice(start, start + CHUNK_PATTERNS)
        patterns, _ = simulate_patterns(
            scene.obj,
            scene.probe,
            scene.x[rows],
            scene.y[rows],
            dose_photons=dose_photons,
            gain_squared=gain2,
            interpolation=interpolation,
            key=philox_key("benchmark", dose_photons),
            first_index=start,
        )
        chunks.append(patterns)
    return chunks


def _bare(waves, dose_photons):
    rng = np.random.default_rng(1)
    gain2 = dose_photons / np.mean(np.sum(np.abs(waves[:32]) ** 2, axis=(1, 2)))
    for wave in waves:
        rng.poisson(gain2 * np.abs(fft.fft2(wave, norm="ortho")) ** 2)


def _writing(scene, chunks):
    n = len(scene.x)
    scan = Scan(scene.probe, scene.x, scene.y, scene.x, scene.y, np.zeros(n, np.int64), scene.obj)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_rawdata(Path(folder) / "train.npz", chunks, scan)
        return time.process_time() - start


if __name__ == "__main__":
    main()
