"""A folder of anybody's data sets becomes one log, whole, with everything doubtful said."""

import csv
import json
import subprocess
import sys

import dill
import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.parity import folder_log
from ptychodose.parity.folder_log import log_folder
from ptychodose.parity.schema import read_log
from tests.conftest import reference

FILES = ["baseline_snapshot.json", "parity_log.json", "parity_log.md", "probe_stats.csv"]


@pytest.fixture
def run(tmp_path):
    """Log the folder ``data`` of the test and read the log back: (all good?, log)."""

    def log(root=None, **options):
        options = {
            "baseline_params": None,
            "scenario_id": "S",
            "output": tmp_path / "out",
            "limit_datasets": None,
            "legacy_statistics": False,
        } | options
        good = log_folder(root or tmp_path / "data", **options)
        return good, read_log(tmp_path / "out" / "parity_log.json")

    return log


def named(log):
    return [(entry.name, entry.dose) for entry in log.datasets]


def test_a_legacy_folder_is_logged_by_dose(run, tmp_path, save, members):
    for name in ("data_p1e5", "data_p1e10", "data_p1e3", "results"):
        save(members, f"data/{name}.npz")
    good, log = run()
    assert good
    assert named(log) == [("data_p1e3", "1e3"), ("data_p1e5", "1e5"), ("data_p1e10", "1e10")]
    assert log.datasets[0].file.path == "data_p1e3.npz"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert log.scenario_id == "S" and log.created.endswith("+00:00") and log.baseline is None
    assert {"python", "platform", "packages"} <= log.environment.keys()


def test_a_study_s_folder_is_logged_by_dose_and_split(run, tmp_path, save, members):
    for name in ("200/train", "200/test", "1e3/train", "notes/other"):
        save(members, f"data/{name}.npz")
    (tmp_path / "data/200/train.json").write_text('{"dose": {"declared_photons": 200.0}}')
    (tmp_path / "data/200/test.json").write_text('{"dose": {"declared_photons": 1e5}}')
    _, log = run()
    assert named(log) == [("200/test", "200"), ("200/train", "200"), ("1e3/train", "1e3")]
    (declared,) = log.warnings
    assert "test.json: dose.declared_photons: 100000" in declared and "the folder 200" in declared


def test_a_data_set_whose_photons_are_not_its_dose_is_flagged(run, save, members):
    members["diff3d"] *= 2
    save(members, "data/200/train.npz")
    good, log = run()
    assert good
    assert (
        log.warnings[0].startswith("200/train: ")
        and "standard errors from the 200 declared" in log.warnings[0]
    )


def test_any_other_folder_is_searched_for_patterns(run, save, members):
    save(members, "data/a/scan_p1e4.npz")
    save(members, "data/b/c/run.npz")
    save({"weights": np.zeros(3)}, "data/b/weights.npz")
    good, log = run()
    assert good
    assert named(log) == [("a/scan_p1e4", "1e4"), ("b/c/run", None)]
    assert "b/weights.npz: skipped, it holds neither diff3d nor diffraction" in log.warnings


@pytest.mark.parametrize("layout", ["data/data_p1e{}.npz", "data/1e{}/train.npz", "data/x/y{}.npz"])
def test_one_broken_file_does_not_stop_the_others(run, tmp_path, save, members, layout):
    good = save(members, layout.format(3))
    broken = save(members, layout.format(4))
    broken.write_bytes(good.read_bytes()[:500])
    save(members, layout.format(5))
    valid, log = run()
    assert not valid
    first, second, third = log.datasets
    assert first.boundaries and third.boundaries and not second.boundaries
    assert "not a complete NPZ" in second.problem
    rows = (tmp_path / "out" / "probe_stats.csv").read_text().splitlines()[1:]
    assert len(rows) == 2
    assert "could not be logged" in (tmp_path / "out" / "parity_log.md").read_text()


def test_a_limit_keeps_the_first(run, save, members):
    for dose in ("1e3", "1e4", "1e5"):
        save(members, f"data/data_p{dose}.npz")
    assert named(run(limit_datasets=2)[1]) == [("data_p1e3", "1e3"), ("data_p1e4", "1e4")]


def test_a_missing_and_an_empty_folder_are_refused(run, tmp_path, save):
    with pytest.raises(UserError, match="data: no such folder"):
        run()
    save({"weights": np.zeros(3)}, "data/weights.npz")
    with pytest.raises(UserError, match="no data set below it"):
        run()
    assert not (tmp_path / "out").exists()


def test_probe_statistics_have_the_columns_of_the_published_table(run, tmp_path, save, members):
    save(members, "data/data_p1e3.npz")
    run()
    ours = list(csv.reader((tmp_path / "out" / "probe_stats.csv").read_text().splitlines()))
    row = dict(zip(*ours, strict=True))
    assert (row["filename"], row["photon_dose"]) == ("data_p1e3.npz", "1e3")
    assert float(row["amp_p50"]) == np.median(np.abs(members["probeGuess"]))
    assert float(row["phase_mean"]) == pytest.approx(np.angle(members["probeGuess"]).mean())
    published = (reference("legacy_published") / "probe_stats.csv").read_text().splitlines()
    assert ",".join(ours[0]) == published[0]


def test_a_baseline_s_wrong_dose_and_mislabelled_metrics_are_flagged(run, tmp_path, save, members):
    save(members, "data/data_p1e5.npz")
    folder = tmp_path / "results_p1e5"
    folder.mkdir()
    parameters = {"nphotons": 1e9, "N": 64, "probe": np.ones((4, 4), np.complex64), "psnr": (71.3, 158.1)}
    (folder / "params.dill").write_bytes(dill.dumps(parameters, protocol=4))
    _, log = run(baseline_params=folder / "params.dill")
    assert log.baseline.parameters["N"] == 64
    assert log.baseline.parameters["probe"]["shape"] == [4, 4]
    assert log.baseline.parameters["probe"]["dtype"] == "complex64"
    assert log.baseline.metrics == {"psnr@legacy255": {"amplitude": 71.3, "phase": 158.1}}
    assert any("nphotons is 1e+09" in warning and "results_p1e5" in warning for warning in log.warnings)
    assert any("they are amplitude and phase" in warning for warning in log.warnings)
    assert any("zero by construction" in warning for warning in log.warnings)
    snapshot = json.loads((tmp_path / "out" / "baseline_snapshot.json").read_text())
    assert (snapshot["scenario_id"], snapshot["doses"]) == ("S", ["1e5"])
    assert snapshot["parameters"] == log.baseline.parameters
    assert snapshot["datasets"][0]["file"]["sha256"] == log.datasets[0].file.sha256
    assert snapshot["warnings"] == log.warnings


@pytest.mark.parametrize("text", ['{"nphotons": 1e9}', "nphotons: 1e9"])
def test_a_baseline_may_be_json_or_yaml_and_the_scenario_names_its_dose(run, tmp_path, save, members, text):
    save(members, "data/data_p1e5.npz")
    path = tmp_path / ("params.json" if text.startswith("{") else "params.yaml")
    path.write_text(text)
    _, log = run(baseline_params=path, scenario_id="GRID-P1E5")
    assert "inferred from the scenario, 'GRID-P1E5'" in " ".join(log.warnings)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("params.json", b"{"),
        ("params.json", b"[1]"),
        ("params.yaml", b"a: [1"),
        ("params.yaml", b"\xff\xfe\x00"),
        ("params.dill", b"cos\nsystem\n(S'touch trace'\ntR."),
        ("params.pkl", b""),
    ],
)
def test_a_baseline_that_cannot_be_read_is_refused_before_anything_is_written(
    run, tmp_path, save, members, name, content
):
    save(members, "data/data_p1e5.npz")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        run(baseline_params=tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_fails_late_leaves_the_old_files_as_they_were(run, tmp_path, save, members, monkeypatch, hashes):
    save(members, "data/data_p1e5.npz")
    run()
    before = hashes(tmp_path / "out")
    monkeypatch.setattr(folder_log, "_probe_table", lambda rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(scenario_id="other")
    assert hashes(tmp_path / "out") == before


def test_the_legacy_run_with_its_baseline(run, legacy_run):
    params = legacy_run / "results_p1e5" / "train_1024" / "trial_1" / "pinn_run" / "params.dill"
    good, log = run(legacy_run, baseline_params=params, limit_datasets=2, legacy_statistics=True)
    assert good and log.warnings == []
    assert named(log) == [("data_p1e3", "1e3"), ("data_p1e4", "1e4")]
    found = {part.name: part for part in log.datasets[0].boundaries}
    assert found["dose"].values["mean_photons"] == pytest.approx(1000, rel=0.05)
    assert found["legacy.normalized"].values["max"] == 1
    beside = log.baseline.metrics["metrics.json"]["subpix"]
    assert beside["psnr@legacy255"] == {"amplitude": pytest.approx(56.49889857)}
    assert beside["psnr"] == {"amplitude": pytest.approx(19.63261)}


def test_the_metrics_beside_the_supervised_baseline_are_paired_rightly(run, save, members, legacy_run):
    save(members, "data/data_p1e5.npz")
    params = legacy_run / "results_p1e5" / "train_1024" / "trial_1" / "baseline_run" / "params.dill"
    _, log = run(baseline_params=params)
    assert log.baseline.parameters == {"label": "baseline_gs1_p1e5"}
    assert log.baseline.metrics["mae"] == {"amplitude": 0.276343882, "phase": 2.90912652e-07}
    assert log.baseline.metrics["frc50"] == {"amplitude": 12, "phase": None}
    assert log.baseline.metrics["metrics.json"]["crop"] == [12, 179, 11, 177]


def test_no_backend_is_loaded():
    code = (
        "import sys, ptychodose.parity.folder_log; "
        "assert not {'keras', 'tensorflow', 'torch', 'jax', 'dill'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
