"""A legacy run is taken over whole and told honestly, and the original stays as it was."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptychodose.bundle import adopt
from ptychodose.bundle.adopt import run_adopt
from ptychodose.bundle.bundle_report import verify_bundle
from ptychodose.bundle.manifest_schema import read_manifest
from ptychodose.bundle.packing import pack
from ptychodose.bundle.rehydrate import differences, run_rehydrate
from ptychodose.errors import UserError
from ptychodose.parity.schema import read_log
from tests.bundle.legacy_folder import PARAMETERS, RUN, make_legacy_folder, members

SCENARIO = "PGRID-P1E5-T16"


@pytest.fixture
def legacy(tmp_path):
    return make_legacy_folder(tmp_path / "run")


@pytest.fixture
def adopted(legacy, tmp_path, monkeypatch, capsys):
    """Adopt without git, which takes seconds: (exit code, target, what was printed)."""
    monkeypatch.setattr(adopt, "can_track", lambda: False)

    def run(root=legacy, scenario_id=SCENARIO):
        target = tmp_path / "adopted"
        code = run_adopt(root, target, scenario_id=scenario_id)
        return code, target, capsys.readouterr().out

    return run


def states(folder):
    """Bytes, time and permissions of all files and folders."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def entries(target):
    """Of the legacy files; what the adoption made is in the manifest too."""
    files = read_manifest(target / "data/bundle/manifest.json").files
    assert {entry.path for entry in files} >= {"runs.json", "parity/parity_log.json", "parity/parity_log.md"}
    return {entry.path: entry for entry in files if entry.path.startswith("legacy/")}


def test_every_file_is_there_and_described(legacy, adopted):
    code, target, printed = adopted()
    assert code == 0
    files = entries(target)
    sources = {path.relative_to(legacy).as_posix() for path in legacy.rglob("*") if path.is_file()}
    assert files.keys() == {f"legacy/{path}" for path in sources}
    for path in sources:
        assert (target / "legacy" / path).read_bytes() == (legacy / path).read_bytes()
    data = files["legacy/data_p1e5.npz"]
    assert (data.role, data.dose, data.npz.contract) == ("dataset", "1e5", "good")
    assert files[f"legacy/{RUN}/baseline_run/baseline_model.h5"].checkpoint == {
        "size_px": 16,
        "gridsize": 1,
        "epochs": 50,
        "declared_dose": 1e9,
        "intensity_scale": pytest.approx(3952.847),
        "dose": "1e5",
    }
    assert "7 files adopted (2 data sets), 0 refused, 0 broken" in printed
    assert {entry.name for entry in read_log(target / "parity/parity_log.json").datasets} == {
        "data_p1e3",
        "data_p1e5",
    }
    for name in ("README.md", "response.md", "data/bundle/manifest.md", "data/bundle/files.csv", "runs.json"):
        assert (target / name).stat().st_size


def test_the_dose_that_the_training_assumed_is_flagged(adopted):
    _, target, printed = adopted()
    assert "dose mismatch: nphotons is 1e+09" in printed
    assert "intensity_scale 3952.85 is √D / (N/2) for D = 1e+09 photons per pattern" in printed
    response = (target / "response.md").read_text()
    assert (
        response.count("dose mismatch") == 1
        and f"legacy/{RUN}/baseline_run: chosen from 1 folder" in response
    )


def test_pairs_of_metrics_are_amplitude_and_phase(adopted):
    _, target, printed = adopted()
    assert '"ms_ssim 0.925 (train) / 0.921 (test)"; they are amplitude and phase' in printed
    assert "the phase is zero by construction" in printed
    assert "recon.dill: YY_ground_truth_phi: the true phase is 0 everywhere" in printed
    (run,) = json.loads((target / "runs.json").read_text())
    assert run["metrics"]["psnr@legacy255"] == {"amplitude": 71.3, "phase": 158.1}
    assert run["metrics"]["frc50"] == {"amplitude": 6.0, "phase": None}
    assert "| psnr@legacy255 | 71.3 | 158.1 |" in (target / "README.md").read_text()


class Hostile:
    """Pickles into a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_a_hostile_dill_is_refused_by_name_and_never_run(legacy, adopted, tmp_path):
    for path in ("baseline_run/recon.dill", "pinn_run/history.dill"):
        (legacy / RUN / path).write_bytes(pickle.dumps({"x": Hostile(tmp_path / "ran")}, protocol=4))
    code, target, printed = adopted()
    assert code == 1
    assert not (tmp_path / "ran").exists()
    for path in ("baseline_run/recon.dill", "pinn_run/history.dill"):
        assert f"{RUN}/{path}: refused: " in printed
        assert not (target / "legacy" / RUN / path).exists()
    assert len(entries(target)) == 6 and "6 files adopted (2 data sets), 2 refused" in printed


def test_a_broken_data_set_is_told_and_the_rest_goes_on(legacy, adopted):
    broken = members(1e3)
    broken["diff3d"][3, 4, 5] = -1
    np.savez(legacy / "data_p1e3.npz", **broken)
    (legacy / "data_p1e4.npz").write_bytes((legacy / "data_p1e5.npz").read_bytes()[:5000])
    code, target, printed = adopted()
    assert code == 1
    sentence = "legacy/data_p1e3.npz: diff3d: holds amplitudes, which are not negative"
    assert f"problem: {sentence}" in printed
    assert "problem: legacy/data_p1e4.npz: not a complete NPZ" in printed
    files = entries(target)
    assert files["legacy/data_p1e3.npz"].npz.contract.startswith(sentence)
    assert files["legacy/data_p1e5.npz"].npz.contract == "good"


def test_photons_that_are_not_the_dose_of_the_name_are_flagged(legacy, adopted):
    np.savez(legacy / "data_p1e4.npz", **members(1e5) | {"diff3d": members(1e5)["diff3d"] * 1.1})
    np.savez(legacy / "data_mine.npz", **members(1e5))
    code, _, printed = adopted(scenario_id="PGRID-P1E7")
    assert code == 0
    assert "data_p1e4: 12" in printed and "standard errors from the 1e4 declared" in printed
    assert "legacy/data_mine.npz: its name gives no dose" in printed
    assert "scenario PGRID-P1E7: names the dose 1e7, of which there is no data set" in printed


def test_the_baseline_is_of_the_scenario_s_dose_and_a_baseline_run_first(legacy, adopted):
    right = pickle.dumps(PARAMETERS | {"nphotons": 1e5, "intensity_scale": math.sqrt(1e5) / 8})
    for path in ("results_p1e3/baseline_run", f"{RUN}/pinn_run"):
        (legacy / path).mkdir(parents=True, exist_ok=True)
        (legacy / path / "params.dill").write_bytes(right)
    _, target, printed = adopted()
    assert f"legacy/{RUN}/baseline_run: chosen from 3 folder(s)" in (target / "response.md").read_text()
    assert f"legacy/{RUN}/pinn_run: " not in printed, "its dose is right"
    assert "legacy/results_p1e3/baseline_run: dose mismatch: nphotons is 100000" in printed


def test_unreadable_metrics_are_told_and_give_no_baseline(legacy, adopted):
    (legacy / RUN / "baseline_run" / "metrics.json").write_text("{")
    code, target, printed = adopted()
    assert code == 1
    assert printed.count("metrics.json: not valid JSON") == 1
    assert "the scenario has no baseline" in (target / "response.md").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b'{"label": "\\ud800"}'),
        ("metrics.json", b"[" * 10**5),
        ("metrics.json", b'{"mae": [1' + b"0" * 400 + b", 0]}"),
    ],
)
def test_absurd_values_are_a_problem_of_their_file(legacy, adopted, name, content):
    (legacy / RUN / "baseline_run" / name).write_bytes(content)
    code, _, printed = adopted()
    assert code == 1
    assert f"problem: legacy/{RUN}/baseline_run/{name}: no report can hold its values" in printed


def test_a_target_in_use_is_refused_and_nothing_changes(legacy, adopted, tmp_path, monkeypatch):
    target, here = adopted()[1], tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = states(tmp_path)
    refusals = (
        (target, "not an empty folder"),
        (legacy / "new", "lies in the legacy folder"),
        (Path(), "the current folder"),
    )
    for place, words in refusals:
        with pytest.raises(UserError, match=words):
            run_adopt(legacy, place, scenario_id=SCENARIO)
    with pytest.raises(UserError, match="--scenario-id"):
        run_adopt(legacy, tmp_path / "new", scenario_id=" ")
    assert states(tmp_path) == before


def test_a_failure_leaves_nothing(legacy, adopted, tmp_path, monkeypatch):
    monkeypatch.setattr(adopt, "response", lambda *_, **__: 1 / 0)
    before = states(tmp_path)
    with pytest.raises(ZeroDivisionError):
        adopted()
    assert states(legacy) == {path: state for path, state in before.items() if path.is_relative_to(legacy)}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_git_and_dvc_keep_every_byte_once_and_the_original_as_it_was(legacy, tmp_path, monkeypatch):
    (legacy / "data_p1e3.npz").chmod(0o640)
    before = states(legacy)
    monkeypatch.chdir(tmp_path)
    assert run_adopt(legacy.relative_to(tmp_path), tmp_path / "adopted", scenario_id=SCENARIO) == 0
    target = tmp_path / "adopted"
    assert states(legacy) == before
    for entry in entries(target).values():
        kept = target / entry.path
        cached = target / ".dvc/cache/files/md5" / entry.md5[:2] / entry.md5[2:]
        assert kept.samefile(cached), "the bytes are stored twice"
        assert kept.stat().st_nlink == 2
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=target, capture_output=True, text=True, check=True
    )
    assert "up to date" in status.stdout
    staged = subprocess.run(
        ["git", "diff", "--cached", "--name-only"], cwd=target, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"legacy.dvc", "data/bundle/manifest.json", "response.md", "parity/parity_log.json"} <= set(staged)
    assert not any(path.startswith("legacy/") for path in staged)


def test_an_adopted_run_is_packed_verified_and_had_back_like_a_study(adopted, tmp_path, capsys):
    _, target, _ = adopted()
    archive, back = tmp_path / "run.tar.gz", tmp_path / "back"
    pack(target, archive)
    assert verify_bundle(archive).problems() == []
    assert run_rehydrate(archive, back) == 0
    assert "manifest built anew: the same" in capsys.readouterr().out
    for entry in read_manifest(target / "data/bundle/manifest.json").files:
        assert (back / entry.path).read_bytes() == (target / entry.path).read_bytes()
    assert (back / "data/bundle/README.md").read_text() == (target / "response.md").read_text()
    (back / "legacy/data_p1e3.npz").write_bytes(b"other")
    assert differences(back, read_manifest(back / "data/bundle/manifest.json"))


def test_the_reference_run_is_adopted(legacy_run, adopted):
    code, target, printed = adopted(root=legacy_run, scenario_id="PGRID-20250826-P1E5-T1024")
    assert code == 0 and "18 files adopted (7 data sets), 0 refused, 0 broken" in printed
    assert "dose mismatch" not in printed, "this run was told the right dose"
    manifest = read_manifest(target / "data/bundle/manifest.json")
    assert manifest.doses == ["1e3", "1e4", "1e5", "1e6", "1e7", "1e8", "1e9"]
    assert str(legacy_run.parent) not in (target / "data/bundle/manifest.json").read_text()
    response = (target / "response.md").read_text()
    assert "All data sets hold the same probe" in response and "99844.3 ± 3.9e+02" in response
