"""Stage report: all doses and models side by side."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ptychodose.config import SPLITS, Params
from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_directory
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.physics.halving import counts_of
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


def run(params: Params) -> None:
    """Write metrics/curves/<model>-<split>.csv and the pictures of metrics/figures/."""
    rows = [_curve_row(row) for row in metric_rows(params)]
    with atomic_directory(layout.REPORT_FIGURES) as folder:
        figures.save_png(figures.dose_curves(rows, title=params.scenario), folder / "dose_curves.png")
        for model in params.models:
            histories = {dose: _loss_curve(layout.loss_curve(model, dose)) for dose in params.doses}
            figures.save_png(
                figures.loss_curves(histories, title=f"{model}: loss per dose"), folder / f"loss-{model}.png"
            )
        for dose in params.doses:
            dataset = RawDataFile(layout.dataset(dose, "train"))
            if dataset.scan.obj is not None:
                figures.save_png(_scene(dataset, dataset.scan.obj, dose), folder / f"scene-{dose}.png")
    with atomic_directory(layout.CURVES) as folder:
        for model in params.models:
            for split in params.splits():
                chosen = [row for row in rows if (row["model"], row["split"]) == (model, split)]
                _write_curve(folder / f"{model}-{split}.csv", chosen)


def metric_rows(params: Params) -> list[dict[str, Any]]:
    """One row per model, dose and split: {model, dose, split, metrics}."""
    rows = []
    for model in params.models:
        for dose in params.doses:
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


def _curve_row(row: dict[str, Any]) -> dict[str, Any]:
    curve = {"model": row["model"], "split": row["split"], "log10_dose": math.log10(float(row["dose"]))}
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
