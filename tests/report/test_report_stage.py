"""Stage report: every model of the study at the doses it was run at, and what is drawn where there is any."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptychodose.config import Params
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import write_json
from ptychodose.report.table import markdown
from ptychodose.stages import layout, noise_floor, report, simulate

MODELS = {
    "pinn": {"kind": "pinn", "gridsize": 1, "width": 2, "stages": 1},
    "supervised": {"kind": "supervised", "filters_scale": 0.5},
    "legacy": {"kind": "legacy", "filters_scale": 1, "declared_dose": None},
}
TRAINING = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
STUDY = {
    "models": {name: model | TRAINING for name, model in MODELS.items()},
    "ladder": ["pinn", "supervised"],
    "extra": {"legacy-1e9": {"model": "legacy", "dose": "1e9"}},
    "replicates": {"models": ["pinn"], "doses": ["1e3"], "seeds": [1, 2]},
}
RUNS = [
    *(("pinn", "1e3"), ("pinn", "1e9"), ("supervised", "1e3"), ("supervised", "1e9"), ("legacy", "1e9")),
    *((fit, dose) for fit in ("ml", "map", "pinn-refine") for dose in ("1e3", "1e9")),
]


def numbers(psnr: float) -> dict[str, Any]:
    split = {
        "amplitude": {"psnr": psnr, "ms_ssim": 0.9, "pearson": 0.95, "ssim": 0.8, "frc50": None},
        "phase": {"rms_rad": 0.02},
        "amplitude_bias": 0.0,
        "deviance_ratio": 1.1,
        "collapsed": False,
    }
    return dict.fromkeys(("train", "test", "unseen"), split)


@pytest.fixture
def params(tiny_params: Callable[..., Params]) -> Params:
    """A study that was run, in as far as the report reads it: numbers, losses, traces and one noise floor."""
    params = tiny_params(STUDY)
    for model, dose in RUNS:
        write_json(layout.metrics(model, dose), numbers(30.0))
    for model, dose in params.trained_runs():
        # A training of a single epoch, with no validation.
        layout.loss_curve(model, dose).write_text("epoch,loss,val_loss\n1,0.5,\n")
    for fit in params.fits:
        for dose in params.doses:
            layout.trace(fit, dose).write_text(
                "iteration,evaluations,loss,amplitude_psnr,amplitude_pearson\n0,1,3.1,12.5,0.1\n1,3,2.1,,\n"
            )
    for seed, psnr in ((1, 29.0), (2, 33.0)):
        write_json(layout.replicate("pinn", "1e3", seed), numbers(psnr))
    noise_floor.run(params, "pinn", "1e3")
    return params


def test_every_run_has_rows_networks_first_then_fits(params: Params) -> None:
    rows = report.metric_rows(params)
    assert list(dict.fromkeys((row["model"], row["dose"]) for row in rows)) == RUNS
    assert [row["split"] for row in rows[:3]] == ["train", "test", "unseen"]


def test_a_run_with_no_metrics_is_named(params: Params) -> None:
    layout.metrics("ml", "1e9").unlink()
    with pytest.raises(UserError, match=r"metrics/ml/1e9\.json"):
        report.metric_rows(params)


def test_noise_floors_are_those_of_the_test_split_that_were_measured(params: Params) -> None:
    floors = report.noise_floors(params)
    assert list(floors) == [("pinn", "1e3")]
    assert floors["pinn", "1e3"]["amplitude.psnr"]["values"] == [30.0, 29.0, 33.0]
    assert "30.0 (29.0 … 33.0)" in markdown(report.metric_rows(params), floors)
    layout.noise_floor("pinn", "1e3").unlink()
    assert report.noise_floors(params) == {}


def test_curves_have_the_doses_a_model_was_run_at_and_every_figure_is_drawn(params: Params) -> None:
    for dose in params.doses:
        simulate.run(params, dose)
    report.run(params)
    assert {path.name for path in layout.CURVES.iterdir()} == {
        f"{model}-{split}.csv"
        for model in ("pinn", "supervised", "legacy", "ml", "map", "pinn-refine")
        for split in ("train", "test", "unseen")
    }
    assert [row["log10_dose"] for row in table(layout.CURVES / "legacy-test.csv")] == ["9.0"]
    (first, _) = table(layout.CURVES / "ml-test.csv")
    assert first["amplitude_psnr"] == "30.0"
    assert first["amplitude_frc50"] == ""
    drawn = {path.name for path in layout.REPORT_FIGURES.iterdir()}
    losses = {f"loss-{model}.png" for model in ("pinn", "supervised", "legacy")}
    scenes = {f"scene-{dose}.png" for dose in params.doses}
    assert drawn == {"dose_curves.png", "refinement.png"} | losses | scenes
    for fit in params.fits:
        for dose in params.doses:
            layout.trace(fit, dose).unlink()
    report.run(params)
    assert not (layout.REPORT_FIGURES / "refinement.png").exists()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
