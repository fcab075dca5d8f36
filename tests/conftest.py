"""What the tests of several rooms share: reference data where it exists, and a study small enough to run."""

import hashlib
from copy import deepcopy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ptychodose.config import load_params

REPOSITORY = Path(__file__).resolve().parents[1]

TINY = {
    "scenario": "TINY",
    "seed": 20261122,
    "doses": ["1e3", "1e9"],
    "models": {
        "pinn": {
            "kind": "pinn",
            "gridsize": 1,
            "width": 2,
            "stages": 1,
            "epochs": 1,
            "batch_size": 4,
            "learning_rate": 1e-3,
        }
    },
    "ladder": ["pinn"],
    "extra": {},
    "imported": {},
    "replicates": {"models": [], "doses": [], "seeds": []},
    "train": {
        "warmup_fraction": 0.05,
        "clip_norm": 1.0,
        "validation_fraction": 0.05,
        "precision": "float32",
        "devices": 1,
    },
    "simulate.source": "simulate",
    "simulate.size_px": 64,
    "simulate.interpolation": "bilinear",
    "simulate.splits": {"train": 12, "test": 5, "unseen": 4},
    "simulate.geometry": {
        "wavelength_m": 1.4089e-10,
        "detector_distance_m": 2.0,
        "detector_pixel_m": 1.72e-4,
    },
    "simulate.object": {
        "kind": "lines_phase",
        "size_px": 80,
        "n_lines": 60,
        "max_amplitude": 1.0,
        "max_phase_rad": 1.0,
        "path": None,
        "unseen_path": None,
    },
    "simulate.probe": {
        "kind": "zone_plate",
        "outer_zone_width_m": 6.0e-8,
        "central_stop_fraction": 0.4,
        "defocus_m": 3.0e-4,
        "fwhm_px": 20.0,
        "path": None,
    },
    "simulate.scan": {"kind": "fermat", "jitter_fraction": 0.7, "path": None},
    "simulate.files.path": None,
}
"""One network to train, and every value the simulation reads: a change of the committed study moves no golden
hash."""


def stages_of(params):
    """Names of the stages that DVC makes of a study."""
    by_dose = ("simulate", "refine", "fingerprint-data")
    stages = {"report", "manifest", *(f"{stage}@{dose}" for stage in by_dose for dose in params.doses)}
    for stage in ("train", "infer", "evaluate", "fingerprint"):
        stages |= {f"{stage}@{model}-{dose}" for model in params.ladder for dose in params.doses}
        stages |= {f"{stage}-extra@{name}" for name in params.extra}
    for stage in ("import-checkpoint", "infer-imported", "evaluate-imported", "fingerprint-imported"):
        stages |= {f"{stage}@{name}" for name in params.imported}
    for dose in params.doses:
        stages |= {f"fit@{model}-{dose}" for model in params.fits if model != params.refined}
        stages |= {
            f"{stage}-fit@{model}-{dose}" for stage in ("evaluate", "fingerprint") for model in params.fits
        }
    for model, dose in params.replicated_runs():
        stages |= {f"noise-floor@{model}-{dose}"}
        stages |= {f"replicate@{model}-{dose}-{seed}" for seed in params.replicates.seeds}
    return stages


def reference(name):
    """Return a folder of the reference data, or skip the test: a user of the project has none of it."""
    folder = REPOSITORY.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


@pytest.fixture
def legacy_run():
    return reference("legacy_run")


@pytest.fixture
def lcls():
    return reference("lcls_run1084")


@pytest.fixture
def committed_params():
    return REPOSITORY / "params.yaml"


@pytest.fixture
def write_params(tmp_path, monkeypatch, committed_params):
    """Write the committed params.yaml with values replaced, {"models.pinn.epochs": 1}, and go there."""

    def write(values, drop=()):
        yaml = YAML(typ="safe")
        tree = yaml.load(committed_params)
        for key, value in values.items():
            *sections, last = key.split(".")
            part = tree
            for section in sections:
                part = part[section]
            part[last] = deepcopy(value)
        for key in drop:
            *sections, last = key.split(".")
            part = tree
            for section in sections:
                part = part[section]
            del part[last]
        path = tmp_path / "params.yaml"
        yaml.dump(tree, path)
        monkeypatch.chdir(tmp_path)
        return path

    return write


@pytest.fixture
def tiny_params(write_params):
    """Parameters of a study of 21 patterns, and the working directory where its data will lie."""

    def load(values=None):
        return load_params(write_params(TINY | (values or {})))

    return load


@pytest.fixture
def hashes():
    """SHA-256 of every file below a folder, by its path there."""

    def of(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    return of
