"""The published legacy log, imported: nothing lost, every known mistake said."""

import copy
import json

import pytest

from ptychodose.errors import UserError
from ptychodose.parity.legacy_log import import_legacy_log, is_legacy_log
from ptychodose.parity.schema import ParityLog
from tests.conftest import reference


@pytest.fixture
def tree():
    return json.loads((reference("legacy_published") / "dose_parity_log.json").read_text())


@pytest.fixture
def log(tree):
    return ParityLog.model_validate(import_legacy_log(tree, "old.json"))


def boundaries(entry):
    return {part.name: part for part in entry.boundaries}


def test_a_legacy_log_is_told_from_ours(tree):
    assert is_legacy_log(tree)
    assert not any(map(is_legacy_log, ({"schema": "ptychodose/parity/1", "datasets": []}, [], None, {})))


def test_every_statistic_of_the_log_is_kept_with_what_it_means(tree, log):
    for dataset, entry in zip(tree["datasets"], log.datasets, strict=True):
        found = boundaries(entry)
        kept = {f"legacy.{name}": values for name, values in dataset["stats"].items()}
        kept |= {f"legacy.probe.{part}": dataset["probe"][part] for part in ("amplitude", "phase")}
        for name, values in kept.items():
            assert found[name].definition
            for key, value in values.items():
                assert found[name].values[key] == pytest.approx(value, rel=1e-8, abs=1e-15)
        assert found["legacy.probe.amplitude"].values["l2_norm"] == pytest.approx(1)
        assert entry.name == dataset["filename"].removesuffix(".npz")
        assert entry.dose == dataset["photon_dose"]
        assert (entry.file.sha256, entry.file.size_bytes) == (dataset["sha256"], dataset["size_bytes"])


def test_what_means_the_same_here_has_the_name_it_has_here(log):
    found = boundaries(log.datasets[0])
    array = found["raw.diff3d"].array
    assert (array.shape, array.dtype, array.n) == ([5000, 64, 64], "float32", 20480000)
    assert array.n_zero == 16165651
    assert array.max == pytest.approx(0.083666004)
    assert not array.percentiles and array.sha256 is None
    assert found["raw.probeGuess"].array.max == pytest.approx(0.0548849224)
    assert found["raw.objectGuess"].array.shape == [232, 232]


def test_the_photons_that_its_mean_and_spread_imply_are_those_of_the_dose(log):
    """PHYSICS: sum diff3d^2 averages 0.9995 at 1e3, 0.9998 at 1e4, 1.0000 from 1e5 on."""
    energies = [boundaries(entry)["dose"].values["mean_sum_squares"] for entry in log.datasets]
    assert [round(energy, 4) for energy in energies] == [0.9995, 0.9998, *[1.0] * 5]
    dose = boundaries(log.datasets[0])["dose"]
    assert dose.values["mean_photons"] == pytest.approx(999.5, abs=0.05)
    assert "derived" in dose.definition


def test_metrics_are_of_amplitude_and_phase_under_the_names_of_their_definitions(log):
    metrics = log.baseline.metrics
    assert set(metrics) == {"mae", "ms_ssim@legacy", "psnr@legacy255", "mse", "frc50"}
    assert metrics["psnr@legacy255"] == {"amplitude": 71.3178257, "phase": 158.058695}
    assert metrics["frc50"] == {"amplitude": 6.0, "phase": None}


def test_its_mistakes_are_said(log):
    labels, zero, dose = log.warnings
    assert '"ms_ssim 0.925 (train) / 0.921 (test)"; they are amplitude and phase' in labels
    assert "zero by construction" in zero and "158.1" in zero and "frc50 undefined" in zero
    assert "nphotons_in_params is 1e+09" in dose and "data set is of 1e5" in dose
    assert "results_p1e5" in dose and "10000 times too small" in dose


def test_the_dose_is_inferred_from_the_scenario_where_the_path_says_nothing(tree):
    tree["metadata"]["baseline_params"] = "somewhere/params.dill"
    assert (
        "inferred from the scenario, 'PGRID-20250826-P1E5-T1024'"
        in import_legacy_log(tree, "x")["warnings"][-1]
    )
    tree["metadata"]["scenario_id"] = "MINE"
    assert len(import_legacy_log(tree, "x")["warnings"]) == 2
    tree["baseline_params"]["nphotons_in_params"] = 1e5
    tree["metadata"]["scenario_id"] = "P1E5"
    assert len(import_legacy_log(tree, "x")["warnings"]) == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["metadata"], None),
        (["metadata", "scenario_id"], 5),
        (["metrics", "mae"], "good"),
        (["datasets"], {}),
        (["datasets", 0, "sha256"], "../../x"),
        (["datasets", 0, "photon_dose"], "many"),
        (["datasets", 0, "size_bytes"], -1),
        (["datasets", 0, "stats", "raw", "mean"], float("nan")),
        (["datasets", 0, "stats", "raw"], {}),
        (["datasets", 0, "arrays", "diff3d", "shape"], [-1]),
        (["datasets", 0, "probe", "amplitude"], {}),
        (["datasets", 0, "probe", "l2_norm"], 0),
    ],
)
def test_a_malformed_log_is_refused_by_its_key(tree, path, value):
    broken = copy.deepcopy(tree)
    part = broken
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(UserError) as caught:
        import_legacy_log(broken, "old.json")
    assert str(caught.value).startswith(f"old.json: {'.'.join(map(str, path))}")


def test_an_array_of_another_rank_gives_no_dose(tree):
    tree["datasets"][0]["arrays"]["diff3d"]["shape"] = [5000]
    log = ParityLog.model_validate(import_legacy_log(tree, "old.json"))
    assert "dose" not in boundaries(log.datasets[0])
