"""Stage fit@model-dose: objects from the photons themselves, without a network or from its prediction on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.config import FITS, REFINED, Params, Split
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import CHUNK_PATTERNS, RawDataFile, Scan
from ptychodose.formats.reconstruction import Reconstruction, read_reconstruction, write_reconstruction
from ptychodose.metrics.photons import RATE_FLOOR_PHOTONS, poisson_deviance
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.likelihood import Measurement, PoissonLikelihood
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.reconstruction import (
    Choice,
    Fit,
    choose_weight,
    fit_object,
    stitched_start,
    uniform_start,
)
from ptychodose.physics.stitching import Canvas, Stitched
from ptychodose.physics.thinning import counts_of
from ptychodose.report.progress import Progress
from ptychodose.stages import layout
from ptychodose.stages.fit_trace import Recorder, on_canvas

Complex = npt.NDArray[np.complex128]
MAXIMUM_LIKELIHOOD, *_, FROM_PREDICTION = FITS
"""The fit that has no prior, and the one that starts from a network's prediction."""
SEEN_THROUGH: dict[Split, tuple[Split, ...]] = {"train": ("train", "test"), "unseen": ("unseen",)}
"""Splits whose patterns are fitted, and those of the same object: the object is shown in their regions."""


def run(params: Params, model: str, dose: str) -> None:
    """Write data/reconstructions/<model>/<dose>/ and metrics/<model>/<dose>.trace.csv.

    One fit to the train patterns is the object of the splits train and test, so that test patterns stay
    unseen; the unseen object is fitted to its own patterns.
    """
    if model not in FITS:
        raise UserError(f"fit: {model!r} is not among {', '.join(FITS)}")
    splits = {split: _SplitData(dose, split) for split in params.splits()}
    with atomic_directory(layout.reconstruction(model, dose, "train").parent) as partial:
        for fitted in splits:
            if fitted in SEEN_THROUGH:
                members = {split: splits[split] for split in SEEN_THROUGH[fitted]}
                recorder = _fit(params, model, dose, members, partial)
                if fitted == "train":
                    recorder.write(layout.trace(model, dose))


class _SplitData:
    """Dataset of one split, its facts and its photon counts."""

    def __init__(self, dose: str, split: Split) -> None:
        dataset = RawDataFile(layout.dataset(dose, split))
        self.split, self.dose_photons = split, float(dose)
        self.scan: Scan = dataset.scan
        self.facts = read_json(dataset.path.with_suffix(".json"))
        shape = (len(self.scan), self.scan.size_px, self.scan.size_px)
        self.counts = np.empty(shape, np.float32)
        first = 0
        for patterns in dataset.patterns():
            self.counts[first : first + len(patterns)] = counts_of(patterns, self.dose_photons)
            first += len(patterns)

    def measurement(self, frame: "_Frame", gain_squared: float) -> Measurement:
        """These photons, positions relative to a frame."""
        return Measurement(
            counts=self.counts,
            probe=self.scan.probe,
            x=self.scan.x - frame.origin_yx[1],
            y=self.scan.y - frame.origin_yx[0],
            object_shape=frame.shape,
            gain_squared=gain_squared,
            dose_photons=self.dose_photons,
            interpolation=self.facts["interpolation"],
        )


@dataclass(frozen=True)
class _Frame:
    """The part of the object plane that is reconstructed: all that any pattern of some scans saw."""

    origin_yx: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def around(cls, scans: list[Scan]) -> "_Frame":
        """Of all windows. The origin is even: rint sends halves to even numbers, and must go on doing so."""
        half = scans[0].size_px // 2
        origin, shape = [], []
        for positions in ([scan.y for scan in scans], [scan.x for scan in scans]):
            first = int(np.floor(min(p.min() for p in positions))) - half
            last = int(np.ceil(max(p.max() for p in positions))) + half
            origin.append(first - first % 2)
            shape.append(last - origin[-1])
        return cls((origin[0], origin[1]), (shape[0], shape[1]))


def _fit(params: Params, model: str, dose: str, splits: dict[Split, _SplitData], folder: Path) -> Recorder:
    """Fit the first of the splits, write its object for each; what was recorded in the last one's region."""
    fitted, shown = splits[next(iter(splits))], splits[next(reversed(splits))]
    frame = _Frame.around([data.scan for data in splits.values()])
    measurement = fitted.measurement(frame, fitted.facts["gain_squared"])
    start = _start(params, model, dose, fitted.split, measurement, frame)
    kept_px = params.infer.kept(fitted.scan.size_px)
    recorder = Recorder(_coverage(shown.scan, kept_px), frame.origin_yx, shown.scan.obj)
    recorder.note(start, PoissonLikelihood(measurement).value_and_gradient(start)[0], 0)
    fit, choice = _solve(params, f"fit {model} {dose} {fitted.split}", model, measurement, start, recorder)
    facts = _facts(fitted.split, fit, choice)
    for split, data in splits.items():
        coverage = _coverage(data.scan, kept_px)
        obj = np.where(coverage.weight > 0, on_canvas(fit.obj, frame.origin_yx, coverage), 0)
        deviance = _deviance(data.measurement(frame, _gain_squared(data, fitted)), fit.obj)
        stitched = Stitched(obj, coverage.weight, coverage.origin_yx)
        write_reconstruction(folder / f"{split}.npz", Reconstruction(stitched, deviance))
        write_json(folder / f"{split}.json", facts)
    return recorder


def _start(
    params: Params, model: str, dose: str, split: Split, measurement: Measurement, frame: _Frame
) -> Complex:
    if model != FROM_PREDICTION:
        return uniform_start(measurement)
    path = layout.reconstruction(REFINED, dose, split)
    if not path.exists():
        raise UserError(f"{path}: not found; {model} refines it: run infer --model {REFINED} --dose {dose}")
    return stitched_start(read_reconstruction(path).stitched, measurement, frame.origin_yx)


def _solve(
    params: Params, title: str, model: str, measurement: Measurement, start: Complex, recorder: Recorder
) -> tuple[Fit, Choice | None]:
    """The fit to all patterns, and how its prior was weighed, if it has one."""
    settings = params.fit
    limits: dict[str, Any] = {"max_iterations": settings.max_iterations, "tolerance": settings.tolerance}
    weighed = model != MAXIMUM_LIKELIHOOD
    fits = 1 + len(settings.weights) * weighed
    with Progress(title, settings.max_iterations * fits, "iterations") as progress:

        def on_iteration(obj: Complex, minimum: float, evaluations: int) -> None:
            recorder.note(obj, minimum, evaluations)
            progress.advance(note=f"loss {minimum:.5g}")

        if not weighed:
            return fit_object(measurement, start, on_iteration=on_iteration, **limits), None
        if len(measurement) < 2:
            raise UserError(f"{title}: holds one pattern; at least two are needed to hold one out")
        choice = choose_weight(
            measurement,
            start,
            settings.weights,
            held_out_fraction=settings.held_out_fraction,
            key=philox_key("held out", params.seed),
            on_iteration=on_iteration,
            **limits,
        )
        fit = fit_object(
            measurement,
            choice.obj,
            weight_photons=choice.weight_photons,
            on_iteration=on_iteration,
            **limits,
        )
        return fit, choice


def _facts(fitted_to: Split, fit: Fit, choice: Choice | None) -> dict[str, Any]:
    trials = choice.trials if choice else ()
    return {
        "amplitude_scale": 1.0,
        "fitted_to": fitted_to,
        "weight_photons": choice.weight_photons if choice else 0.0,
        "minimum": fit.minimum,
        "converged": fit.converged,
        "iterations": fit.iterations + sum(trial.iterations for trial in trials),
        "evaluations": fit.evaluations + sum(trial.evaluations for trial in trials),
        "trials": [asdict(trial) for trial in trials],
    }


def _gain_squared(data: _SplitData, fitted: _SplitData) -> float:
    """The gain of a split; where gains were estimated, that with which its object was fitted."""
    source = fitted if data.facts["gain_origin"].startswith("estimated") else data
    return float(source.facts["gain_squared"])


def _coverage(scan: Scan, kept_px: int) -> Stitched:
    """Frame and weight that the prediction of a network would have."""
    canvas = Canvas(scan.x, scan.y, kept_px)
    for first in range(0, len(scan), CHUNK_PATTERNS):
        rows = slice(first, first + CHUNK_PATTERNS)
        x, y = scan.x[rows], scan.y[rows]
        canvas.add(np.zeros((len(x), kept_px, kept_px), np.complex128), x, y)
    return canvas.result()


def _deviance(measurement: Measurement, obj: Complex) -> npt.NDArray[np.float64]:
    """Of every pattern, at the rates the object predicts, (n,)."""
    parts = []
    for first in range(0, len(measurement), CHUNK_PATTERNS):
        part = measurement.part(np.arange(first, min(first + CHUNK_PATTERNS, len(measurement))))
        patches = cut_patches(obj, part.x, part.y, len(part.probe), part.interpolation)
        rates = part.gain_squared * diffraction_intensity(exit_waves(part.probe, patches))
        parts.append(poisson_deviance(part.counts, rates, rate_floor=RATE_FLOOR_PHOTONS))
    return np.concatenate(parts)
