"""The hand-over page: complete or refused, every number labelled, every command one that works."""

import re
import shlex

import pytest

from ptychodose.bundle.handover import handover_readme, read_metrics, run_readme
from ptychodose.bundle.manifest_schema import Manifest
from ptychodose.bundle.npz_facts import OPTIONAL, REQUIRED
from ptychodose.cli import _parser, _require_listed
from ptychodose.config import load_params
from ptychodose.errors import UserError
from tests.conftest import REPOSITORY, stages_of

SHAPES = {"diff3d": ([256, 64, 64], "float32"), "xcoords": ([256], "float64")}


def entry(path, dose=None, **more):
    return {"path": path, "role": "other", "size_bytes": 7, "sha256": "ab" * 32, "dose": dose, **more}


def npz(path, dose, contract="good"):
    arrays = {
        key: {"shape": shape, "dtype": dtype, "sha256": "cd" * 32} for key, (shape, dtype) in SHAPES.items()
    }
    facts = {"contract": contract, "arrays": arrays}
    return entry(path, dose, npz=facts, stage=f"simulate@{dose}") | {"role": "dataset"}


@pytest.fixture(scope="module")
def params():
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture(scope="module")
def metrics(params):
    return read_metrics(REPOSITORY, params)


@pytest.fixture(scope="module")
def manifest(params):
    return Manifest.model_validate(
        {
            "schema": "ptychodose/manifest/1",
            "emitter": "ptychodose 1",
            "scenario_id": params.scenario,
            "doses": params.doses,
            "environment": {"schema": "x", "python": "3.11.7", "packages": {"numpy": "2.0"}, "variables": {}},
            "files": [
                npz("data/datasets/1e9/test.npz", "1e9"),
                npz("data/datasets/1e4/test.npz", "1e4"),
                npz("data/datasets/1e4/other.npz", "1e4", "diff3d: holds NaN | infinity"),
                entry("a.yaml"),
            ],
        }
    )


@pytest.fixture(scope="module")
def page(manifest, metrics, params):
    return handover_readme(manifest, metrics, params)


def section(page, number):
    return re.split(r"^## \d\. ", page, flags=re.MULTILINE)[number]


def rows(text):
    return [re.split(r" \| ", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]


def test_it_has_the_seven_sections_and_is_the_same_each_time(page, manifest, metrics, params):
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == [
        "1. Overview",
        "2. Environment",
        "3. Simulation",
        "4. Training",
        "5. Inference",
        "6. Provenance",
        "7. NPZ keys and array shapes",
    ]
    assert handover_readme(manifest, dict(reversed(metrics.items())), params) == page


def test_every_number_of_the_overview_is_labelled_and_right(page, metrics):
    overview = section(page, 1)
    table = rows(overview.split("**Dose 1e5 photons per pattern**")[1].split("**Dose")[0])
    header, (shown,) = table[0], [row for row in table if row[:2] == ["pinn", "test"]]
    numbers = metrics["pinn", "1e5"]["test"]
    values = dict(zip(header, shown, strict=True))
    assert float(values["amplitude MS-SSIM"]) == pytest.approx(numbers["amplitude"]["ms_ssim"], abs=5e-4)
    assert float(values["phase PSNR (dB)"]) == pytest.approx(numbers["phase"]["psnr"], abs=0.05)
    assert float(values["phase error (rms rad)"]) == pytest.approx(numbers["phase"]["rms_rad"], abs=5e-4)
    assert float(values["deviance (ratio)"]) == pytest.approx(numbers["deviance_ratio"], abs=5e-4)
    for metric in ("ms_ssim", "psnr", "frc50", "amplitude_bias", "rms_rad", "deviance_ratio"):
        assert f"- `{metric}` (version " in overview
    shown = {tuple(row[:2]) for row in table[2:]}
    assert {("legacy", "unseen"), ("pinn", "train"), ("ml (photons alone)", "test")} <= shown


def test_every_command_is_one_that_works(page, params):
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    stages, run = stages_of(params), set()
    for command in commands:
        if command[:2] == ["dvc", "repro"]:
            assert command[2:] and set(command[2:]) <= stages, command
            run |= set(command[2:])
        elif command[0] == "ptychodose":
            options = _parser().parse_args(command[1:])
            if "stage" in options:
                _require_listed(params, options.stage, options.model, options.dose)
        else:
            assert command in (["make", "ground-truth"], [".", ".venv/bin/activate"])
    made = ("simulate", "train", "import", "infer", "fit", "refine", "evaluate")
    assert run == {stage for stage in stages if stage.startswith(made)}


def test_provenance_is_sorted_by_dose_then_path(page):
    table = rows(section(page, 6))[2:]
    assert [row[:2] for row in table] == [
        ["1e4", "`data/datasets/1e4/other.npz`"],
        ["1e4", "`data/datasets/1e4/test.npz`"],
        ["1e9", "`data/datasets/1e9/test.npz`"],
        ["–", "`a.yaml`"],
    ]
    assert table[1][2:] == ["7", f"`{'ab' * 32}`", "simulate@1e4"]


def test_arrays_are_shown_with_shape_dtype_and_contract(page):
    text = section(page, 7)
    assert "| `diff3d` | yes | (n, N, N) | float32 |" in text
    contract = {key: row[1] for row in rows(text) for key in re.findall(r"`(\w+)`", row[0])}
    assert contract == dict.fromkeys(REQUIRED, "yes") | dict.fromkeys(OPTIONAL, "no")
    arrays = "`diff3d` (256, 64, 64) float32; `xcoords` (256,) float64"
    files = "`data/datasets/1e9/test.npz`, `data/datasets/1e4/test.npz`"
    assert f"| dataset | {arrays} | good | {files} |" in text
    assert "diff3d: holds NaN \\| infinity | `data/datasets/1e4/other.npz` |" in text


def test_a_missing_input_is_refused(manifest, metrics, params, tmp_path):
    without = {run: tree for run, tree in metrics.items() if run != ("ml", "1e7")}
    with pytest.raises(UserError, match=r"metrics/ml/1e7\.json: train: no metrics of it; run `dvc repro`"):
        handover_readme(manifest, without, params)
    half = metrics | {("pinn", "1e3"): {"train": {}, "unseen": {}}}
    with pytest.raises(UserError, match=r"metrics/pinn/1e3\.json: test: no metrics"):
        handover_readme(manifest, half, params)
    other = manifest.model_copy(update={"scenario_id": "OTHER"})
    with pytest.raises(UserError, match=r"scenario_id: OTHER .* run `dvc repro manifest`"):
        handover_readme(other, metrics, params)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    with pytest.raises(UserError, match=r"manifest\.json: not found; .*`dvc repro manifest` makes it"):
        run_readme(tmp_path)
