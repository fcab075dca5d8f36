"""The response says what the manifest and the log say, of a native study too."""

from ptychodose.bundle.manifest_schema import Manifest
from ptychodose.bundle.response import response
from ptychodose.parity.schema import ParityLog

A, B, C = ("abc"[i] * 64 for i in range(3))


def data_set(dose, sha256, probe, contract="good"):
    array = {"shape": [24, 16, 16], "dtype": "float32", "sha256": C}
    arrays = {"diff3d": array, "probeGuess": {"shape": [16, 16], "dtype": "complex128", "sha256": probe}}
    return {
        "path": f"data/datasets/{dose}/train.npz",
        "role": "dataset",
        "size_bytes": 100,
        "sha256": sha256,
        "stage": f"simulate@{dose}",
        "parameters": {"simulate.probe.kind": "zone_plate", "simulate.scan.kind": "fermat"},
        "dose": dose,
        "npz": {"contract": contract, "arrays": arrays},
    }


def manifest(*files, warnings=()):
    head = {"schema": "ptychodose/manifest/1", "emitter": "test 1", "scenario_id": "S|1"}
    doses = [file["dose"] for file in files]
    return Manifest.model_validate(head | {"doses": doses, "files": files, "warnings": warnings})


def log(sha256):
    dose = {"mean_photons": 1003.4, "standard_error_photons": 18.0, "min_photons": 700.0}
    dose |= {"max_photons": 1405.0, "probe_l2_norm": 1.5}
    entry = {"name": "1e3/train", "dose": "1e3", "file": {"path": "train.npz", "sha256": sha256}}
    entry["boundaries"] = [{"name": "dose", "values": dose}]
    metrics = {"psnr": {"amplitude": 30.5, "phase": None}, "holes": 0}
    baseline = {"source": "params.yaml", "parameters": {"seed": 3}, "metrics": metrics}
    head = {"schema": "ptychodose/parity/1", "emitter": "test 1", "scenario_id": "S"}
    return ParityLog.model_validate(head | {"baseline": baseline, "datasets": [entry]})


def test_each_section_is_of_the_facts():
    bad = "x.npz: diff3d: must be | finite"
    study = manifest(data_set("1e3", A, C), data_set("1e4", B, C, bad), warnings=[bad])
    text = response(study, log(A), baseline_choice="pinn: the study's own.", commands=["dvc repro"])
    assert text.startswith("# Response: S\\|1\n")
    assert "pinn: the study's own." in text and "`params.yaml`" in text
    assert "| psnr.amplitude | 30.5 |\n| psnr.phase | – |" in text and "holes" not in text
    row = "| data/datasets/1e3/train.npz | 1e3 | 1003.4 ± 18 (700 … 1405) | 24 × 16 × 16 | good | 100 |"
    assert f"{row} {A} |" in text
    assert "| 1e4 | – | 24 × 16 × 16 | x.npz: diff3d: must be \\| finite |" in text
    assert "All data sets hold the same probe" in text and "| simulate.probe.kind | zone_plate |" in text
    assert "simulate.scan.kind" not in text
    assert "| seed | 3 |" in text and "```sh\ndvc repro\n```" in text and f"- {bad[:20]}" in text
    assert "| all | 2 | 200 |" in text


def test_probes_that_differ_are_told_apart_and_a_log_is_not_needed():
    study = manifest(data_set("1e3", A, A), data_set("1e4", B, B))
    text = response(study, None, baseline_choice="none", commands=[])
    assert "There are 2 different probes" in text
    assert "## Configuration" not in text and "## Doubts" not in text
