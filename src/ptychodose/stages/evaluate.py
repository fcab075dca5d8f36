"""Stage evaluate@model-dose: numbers and pictures of a reconstruction against the truth."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ptychodose.config import Params, Split
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import CHUNK_PATTERNS, RawDataFile
from ptychodose.formats.reconstruction import read_reconstruction
from ptychodose.metrics import gauge
from ptychodose.metrics.definitions import DEFINITIONS
from ptychodose.metrics.photons import RATE_FLOOR_PHOTONS, deviance_ratio, poisson_deviance
from ptychodose.metrics.suite import compare_objects, is_collapsed
from ptychodose.metrics.undefined import Undefined
from ptychodose.physics.diffraction import Interpolation, cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.stitching import Canvas, Stitched, fully_covered_rectangle
from ptychodose.physics.thinning import counts_of
from ptychodose.report import figures
from ptychodose.stages import layout

Complex = npt.NDArray[np.complex128]
Region = tuple[slice, slice]


def run(params: Params, model: str, dose: str) -> None:
    """Write metrics/<model>/<dose>.json, its record and its pictures."""
    numbers, record, pairs = measure(params, model, dose, layout.reconstruction(model, dose, "train").parent)
    with atomic_directory(layout.figures(model, dose)) as folder:
        for split, (truth, prediction) in pairs.items():
            picture = figures.reconstruction(
                truth,
                prediction,
                title=f"{model}, {dose} photons per pattern, {split}",
                object_pixel_m=record["splits"][split]["object_pixel_m"],
            )
            figures.save_png(picture, folder / f"{split}.png")
    write_json(layout.metrics(model, dose), numbers)
    write_json(layout.record(model, dose), record)


def measure(
    params: Params, model: str, dose: str, reconstructions: Path
) -> tuple[dict[str, Any], dict[str, Any], dict[Split, tuple[Complex | None, Complex]]]:
    """Numbers, their record, and (truth, prediction) of every split below a folder of reconstructions."""
    numbers: dict[str, Any] = {}
    pairs: dict[Split, tuple[Complex | None, Complex]] = {}
    record: dict[str, Any] = {
        "schema": "ptychodose/metrics/1",
        "scenario": params.scenario,
        "model": model,
        "dose": dose,
        "splits": {},
        "definitions": {name: asdict(definition) for name, definition in DEFINITIONS.items()},
    }
    for split in params.splits():
        numbers[split], record["splits"][split], pairs[split] = _measure_split(
            params, dose, split, reconstructions / f"{split}.npz"
        )
    return numbers, record, pairs


def _measure_split(
    params: Params, dose: str, split: Split, path: Path
) -> tuple[dict[str, Any], dict[str, Any], tuple[Complex | None, Complex]]:
    dataset = RawDataFile(layout.dataset(dose, split))
    facts = read_json(dataset.path.with_suffix(".json"))
    reconstruction = read_reconstruction(path)
    stitched = reconstruction.stitched
    region = fully_covered_rectangle(stitched.weight > 0)
    prediction = stitched.obj[region]
    record: dict[str, Any] = {
        "object_pixel_m": facts["object_pixel_m"],
        "gain_origin": facts["gain_origin"],
        "region": {
            "rule": "largest rectangle without an uncovered pixel, in object pixels",
            "rows": [stitched.origin_yx[0] + region[0].start, stitched.origin_yx[0] + region[0].stop],
            "columns": [stitched.origin_yx[1] + region[1].start, stitched.origin_yx[1] + region[1].stop],
            "share_of_covered": prediction.size / int((stitched.weight > 0).sum()),
        },
    }
    if dataset.scan.obj is None:
        record["undefined"] = {"all": f"{dataset.path} holds no objectGuess, so there is no truth"}
        return {}, record, (None, prediction)

    truth = _on_frame(dataset.scan.obj, stitched)[region]
    suite = compare_objects(prediction, truth)
    numbers: dict[str, Any] = dict(suite.values)
    record.update(suite.record)
    numbers["amplitude_bias"] = suite.amplitude_bias
    if facts["gain_origin"].startswith("estimated"):
        numbers["amplitude_bias"] = None
        record["amplitude"]["undefined"]["amplitude_bias"] = "the gain was estimated, not known"
    control, true_deviance = _truth_through_the_chain(params, dataset, dose, facts)
    numbers["deviance_ratio"] = _ratio(reconstruction.deviance, true_deviance, record)
    numbers["collapsed"] = is_collapsed(suite.values["amplitude"])
    control_suite = compare_objects(control.obj[region], truth)
    numbers["control"] = {
        name: control_suite.values["amplitude"][name]
        for name in ("ms_ssim", "ssim", "shift_y_px", "shift_x_px")
    }
    return numbers, record, (truth, _in_gauge_of(truth, prediction))


def _truth_through_the_chain(
    params: Params, dataset: RawDataFile, dose: str, facts: dict[str, Any]
) -> tuple[Stitched, npt.NDArray[np.float64]]:
    """The true patches stitched like predictions (the control), and the deviance at the true rates."""
    scan = dataset.scan
    assert scan.obj is not None
    interpolation: Interpolation = facts["interpolation"]
    canvas = Canvas(scan.x, scan.y, params.infer.kept(scan.size_px))
    deviance = np.empty(len(scan))
    for first, patterns in zip(
        range(0, len(scan), CHUNK_PATTERNS), dataset.patterns(CHUNK_PATTERNS), strict=True
    ):
        rows = slice(first, first + len(patterns))
        patches = cut_patches(scan.obj, scan.x[rows], scan.y[rows], scan.size_px, interpolation)
        canvas.add(patches, scan.x[rows], scan.y[rows])
        rates = facts["gain_squared"] * diffraction_intensity(exit_waves(scan.probe, patches))
        deviance[rows] = poisson_deviance(
            counts_of(patterns, float(dose)), rates, rate_floor=RATE_FLOOR_PHOTONS
        )
    return canvas.result(), deviance


def _on_frame(obj: Complex, stitched: Stitched) -> Complex:
    """The true object on the frame of the canvas."""
    top, left = stitched.origin_yx
    height, width = stitched.obj.shape
    return obj[top : top + height, left : left + width]


def _ratio(
    prediction: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], record: dict[str, Any]
) -> float | None:
    try:
        return deviance_ratio(prediction, truth)
    except Undefined as reason:
        record["undefined"] = {"deviance_ratio": str(reason)}
        return None


def _in_gauge_of(truth: Complex, prediction: Complex) -> Complex:
    """The prediction as the pictures show it: scaled to the truth's mean, turned to its mean phase."""
    try:
        _, factor = gauge.scale_to_truth(np.abs(prediction), np.abs(truth))
    except Undefined:
        return prediction
    turn = np.angle(np.vdot(prediction, truth))
    return np.asarray(prediction * factor * np.exp(1j * turn))
