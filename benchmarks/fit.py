"""Seconds per iteration of the fits, against one bare FFT pair of the same waves in the same run.

The bare pair is scipy.fft.fft2 and ifft2 in single precision over chunks of the size the fits use: no cutting of
patches, no probe, no counts, no adjoint. Repeats alternate between the two, so that a machine whose speed drifts
gives the same ratio. On one thread processor time is counted, for all cores the time that passes. The solver
is timed over whole fits, which evaluate the objective a few times more often than they iterate.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from scipy import fft

from ptychodose.config import load_params
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.likelihood import CHUNK_BYTES, WORKERS, Measurement, PoissonLikelihood
from ptychodose.physics.reconstruction import fit_object, uniform_start
from ptychodose.stages.scene import build_scene

REPEATS = 7
DOSE_PHOTONS = 1e5


def main() -> None:
    """Print times and ratios of one evaluation and of one iteration."""
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    scene = build_scene(params, "train")
    size_px, interpolation = params.simulate.size_px, params.simulate.interpolation
    waves = exit_waves(scene.probe, cut_patches(scene.obj, scene.x, scene.y, size_px, interpolation))
    rates = diffraction_intensity(waves)
    gain_squared = DOSE_PHOTONS / rates.sum(axis=(1, 2)).mean()
    measurement = Measurement(
        np.random.default_rng(1).poisson(gain_squared * rates),
        scene.probe,
        scene.x,
        scene.y,
        scene.obj.shape,
        gain_squared,
        DOSE_PHOTONS,
        interpolation,
    )
    start = uniform_start(measurement)
    waves = waves.astype(np.complex64)
    print(
        f"{len(waves)} patterns of {size_px} px, median of {REPEATS}; ratios are times, ours / bare FFT pair"
    )
    for name, clock, workers in (
        ("one thread", time.process_time, 1),
        (f"{WORKERS} threads", time.perf_counter, WORKERS),
    ):
        likelihood = PoissonLikelihood(measurement, workers=workers)
        bare, ours = [], []
        for _ in range(REPEATS):
            bare.append(_timed(clock, _bare, waves, workers))
            ours.append(_timed(clock, likelihood.value_and_gradient, start))
        ratio = median(a / b for a, b in zip(ours, bare, strict=True))
        print(f"{name}: bare {median(bare):.4f} s, loss and gradient {median(ours):.4f} s, ratio {ratio:.2f}")
    for name, weight in (("ml", 0.0), ("map", 300.0)):
        begun = time.perf_counter()
        fit = fit_object(measurement, start, weight_photons=weight, max_iterations=20, tolerance=1e-12)
        seconds = (time.perf_counter() - begun) / fit.iterations
        print(
            f"{name}: {seconds:.4f} s per iteration, {fit.evaluations / fit.iterations:.2f} evaluations each"
        )


def _timed(clock, work, *arguments):
    start = clock()
    work(*arguments)
    return clock() - start


def _bare(waves, workers):
    chunk = CHUNK_BYTES // waves[0].nbytes
    chunks = [waves[first : first + chunk] for first in range(0, len(waves), chunk)]

    def pair(some):
        return fft.ifft2(fft.fft2(some, norm="ortho"), norm="ortho", overwrite_x=True)

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(pair, chunks):
            pass


if __name__ == "__main__":
    main()
