"""Seconds per iteration of the fits, against one bare FFT pair of the same waves in the same run.

The bare pair is scipy.fft.fft2 and ifft2 in single precision over chunks of the size the fits use: no cutting
of patches, no probe, no counts, no adjoint. Repeats alternate between the two, so that a machine whose speed
drifts gives the same ratio. On one thread processor time is counted, for all cores the time that passes. An
iteration is that of a whole fit: its evaluations and the solver's own work.
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
ITERATIONS = 20
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
    print(f"{len(waves)} patterns of {size_px} px, median of {REPEATS}; ratios are times, ours / bare pair")
    print(f"{'':12} {'bare s':>8} {'loss and gradient s':>20} {'ratio':>6}")
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
        print(f"{name:12} {median(bare):8.4f} {median(ours):20.4f} {ratio:6.2f}")
    for name, weight in (("ml", 0.0), ("map", 300.0)):
        limits = {"max_iterations": ITERATIONS, "tolerance": 1e-12}
        passed, cpu = time.perf_counter(), time.process_time()
        fit = fit_object(measurement, start, weight_photons=weight, **limits)
        passed, cpu = time.perf_counter() - passed, time.process_time() - cpu
        each, cpu_each = passed / fit.iterations, cpu / fit.iterations
        print(f"{name}: {each:.4f} s an iteration, {cpu_each:.4f} s of processor time")


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
