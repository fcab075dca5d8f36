"""Stage report: all doses and models side by side."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ptychodose.config import REFINED, SPLITS, Params
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.physics.thinning import counts_of
from ptychodose.report import figures
from ptychodose.stages import layout

CURVE_METRICS = {
    "amplitude.ms_ssim": ("amplitude", "ms_ssim"),
    "amplitude.psnr": ("amplitude", "psnr"),
    "amplitude.ssim": ("amplitude", "ssim"),
    "amplitude.pearson": ("amplitude", "pearson"),
    "amplitude.frc50": ("amplitude", "frc50"),
    "amplitude_bias": ("amplitude_bias",),
    "phase.ms_ssim": ("phase", "ms_ssim"),
    "phase.psnr": ("phase", "psnr"),
    "phase.rms_rad": ("phase", "rms_rad"),
    "deviance_ratio": ("deviance_ratio",),
}


LOSSES = {
    "pinn": "Poisson loss per photon",
    "supervised": "mean absolute error (amplitude + phase in rad)",
    "legacy": "Poisson loss per pattern",
}
"""What each kind of model learns from."""


def run(params: Params) -> None:
    """Write plots/curves/<model>-<split>.csv and the pictures of plots/figures/."""
    rows = [_curve_row(row) for row in metric_rows(params)]
    with atomic_directory(layout.REPORT_FIGURES) as folder:
        _draw_curves(params, rows, folder)
        _draw_refinement(params, rows, folder)
        _draw_losses(params, folder)
        _draw_scenes(params, folder)
    with atomic_directory(layout.CURVES) as folder:
        for model in dict.fromkeys(model for model, _ in params.measured_runs()):
            for split in params.splits():
                chosen = [row for row in rows if (row["model"], row["split"]) == (model, split)]
                _write_curve(folder / f"{model}-{split}.csv", chosen)


def metric_rows(params: Params) -> list[dict[str, Any]]:
    """One row per model, dose and split: {model, dose, split, metrics}; networks first, then fits."""
    rows = []
    for model, dose in params.measured_runs():
        path = layout.metrics(model, dose)
        numbers = read_json(path)
        if not isinstance(numbers, dict):
            raise UserError(f"{path}: must hold one object with a key per split; run `dvc repro` again")
        rows += [
            {"model": model, "dose": dose, "split": split, "metrics": numbers[split]}
            for split in SPLITS
            if split in numbers
        ]
    return rows


def noise_floors(params: Params) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, dose) → spread of every metric of the test split over the seeds, where it was measured."""
    paths = {run_: layout.noise_floor(*run_) for run_ in params.replicated_runs()}
    return {run_: read_json(path)["splits"]["test"] for run_, path in paths.items() if path.exists()}


def _draw_curves(params: Params, rows: list[dict[str, Any]], folder: Path) -> None:
    """The test split of all models; how little another object changes is shown for one of them."""
    shown = [
        row for row in rows if row["split"] == "test" or (row["model"], row["split"]) == (REFINED, "unseen")
    ]
    picture = figures.dose_curves(
        shown, title=f"{params.scenario}: test positions", floors=noise_floors(params)
    )
    figures.save_png(picture, folder / "dose_curves.png")


def _draw_refinement(params: Params, rows: list[dict[str, Any]], folder: Path) -> None:
    traces = {
        dose: {fit: _trace(path) for fit in params.fits if (path := layout.trace(fit, dose)).exists()}
        for dose in params.doses
    }
    traces = {dose: by_fit for dose, by_fit in traces.items() if by_fit}
    if not traces:
        return
    networks = {
        row["dose"]: row["amplitude.psnr"]
        for row in rows
        if (row["model"], row["split"]) == (REFINED, "test")
    }
    picture = figures.refinement(
        traces,
        networks,
        network=REFINED,
        title=f"{params.scenario}: quality and cost of a fit, test positions",
    )
    figures.save_png(picture, folder / "refinement.png")


def _draw_losses(params: Params, folder: Path) -> None:
    runs = params.trained_runs()
    for model in dict.fromkeys(model for model, _ in runs):
        doses = [dose for name, dose in runs if name == model]
        picture = figures.loss_curves(
            {dose: _loss_curve(layout.loss_curve(model, dose)) for dose in doses},
            title=f"{model}: loss per dose",
            loss=LOSSES[params.models[model].kind],
        )
        figures.save_png(picture, folder / f"loss-{model}.png")


def _draw_scenes(params: Params, folder: Path) -> None:
    for dose in params.doses:
        dataset = RawDataFile(layout.dataset(dose, "train"))
        if dataset.scan.obj is not None:
            figures.save_png(_scene(dataset, dataset.scan.obj, dose), folder / f"scene-{dose}.png")


def _curve_row(row: dict[str, Any]) -> dict[str, Any]:
    curve = {key: row[key] for key in ("model", "dose", "split")}
    curve["log10_dose"] = math.log10(float(row["dose"]))
    for name, keys in CURVE_METRICS.items():
        value: Any = row["metrics"]
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        curve[name] = value
    return curve


def _loss_curve(path: Path) -> tuple[list[int], list[float], list[float]]:
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return (
        [int(row["epoch"]) for row in rows],
        [float(row["loss"]) for row in rows],
        [float(row["val_loss"] or "nan") for row in rows],
    )


def _trace(path: Path) -> tuple[list[float], list[float]]:
    """Passes over all patterns and amplitude PSNR; NaN where there is no truth."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [float(row["evaluations"]) for row in rows], [
        float(row["amplitude_psnr"] or "nan") for row in rows
    ]


def _write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    """One line a dose; dots in names would be paths to the plotting library."""
    columns = ["log10_dose", *CURVE_METRICS]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([name.replace(".", "_") for name in columns])
        for row in rows:
            writer.writerow(["" if row[name] is None else row[name] for name in columns])


def _scene(dataset: RawDataFile, obj: npt.NDArray[np.complex128], dose: str) -> Figure:
    facts = read_json(dataset.path.with_suffix(".json"))
    first = next(dataset.patterns(1))
    scan = dataset.scan
    return figures.scene(
        obj,
        scan.probe,
        scan.x,
        scan.y,
        counts_of(first, float(dose))[0],
        title=f"{facts['scenario']}, {dose} photons per pattern",
        object_pixel_m=facts["object_pixel_m"],
    )
