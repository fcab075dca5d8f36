"""docs/parity.md walked through: the study's pinn at 1e5 trained by TensorFlow and, on a branch, by JAX.

The branch's files, below jax_1e5/, are those of `KERAS_BACKEND=jax dvc repro` of the stages train@pinn-1e5 to
fingerprint@pinn-1e5 on the study's data.
"""

import json
import shutil
import subprocess
import sys

import pytest

from ptychodose.cli import main
from tests.conftest import REPOSITORY
from tests.parity.studies import commit, git

JAX = REPOSITORY / "tests" / "parity" / "jax_1e5"
OURS = (
    "params.yaml",
    "metrics/pinn/1e5.json",
    "metrics/noise_floor/pinn/1e5.json",
    "data/parity/data/1e5.json",
    "data/parity/pinn/1e5.json",
)


@pytest.fixture
def branches(tmp_path, monkeypatch):
    """A repository with the branches main, trained by TensorFlow, and jax."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for name in OURS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    commit(tmp_path, "TensorFlow")
    git(tmp_path, "switch", "--quiet", "--create", "jax")
    shutil.copytree(JAX, tmp_path, dirs_exist_ok=True)
    commit(tmp_path, "JAX")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def amplitude_psnr(root):
    return json.loads((root / "metrics/pinn/1e5.json").read_text())["test"]["amplitude"]["psnr"]


def test_the_gate_says_that_the_backends_agree_within_the_noise_of_a_seed(branches, capsys):
    assert amplitude_psnr(JAX) != amplitude_psnr(REPOSITORY)
    assert main(["compare", "main", "jax"]) == 0
    text = capsys.readouterr().out
    assert text.index("keras_backend") < text.index("pinn  ")
    assert text.strip().splitlines()[-1].startswith("same: ")


def test_the_walk_finds_other_weights_the_same_data_and_no_difference(branches, capsys):
    assert main(["parity", "diff", "main", "jax", "--json"]) == 0
    walks = json.loads(capsys.readouterr().out)["datasets"]
    found = {(walk["name"], walk["model"]): walk["verdicts"] for walk in walks}
    train = {name: verdict["tier"] for name, verdict in found["1e5/train", "pinn"].items()}
    assert {train["probe"], train["input"]} == {"exact"}
    assert train["train.initial_weights"] == train["output.amplitude"] == train["metrics"] == "statistical"
    data = {name: verdict["tier"] for name, verdict in found["1e5/test", None].items()}
    # Derived from the patterns, so that it has no hash.
    assert data.pop("normalized") == "close"
    assert set(data.values()) == {"exact"}


def test_a_biased_port_is_told_from_another_training(branches, capsys):
    """The same branch with its amplitudes 2 % too large: within the noise of no seed."""
    path = branches / "data/parity/pinn/1e5.json"
    log = json.loads(path.read_text())
    for part in log["datasets"]:
        for boundary in part["boundaries"]:
            if boundary["name"] in ("output.amplitude", "stitched"):
                boundary["array"] = scaled(boundary["array"], 1.02)
            elif boundary["name"] == "rates":
                boundary["array"] = scaled(boundary["array"], 1.02**2)
            elif boundary["name"] == "metrics":
                boundary["values"]["amplitude_bias"] += 0.02
    path.write_text(json.dumps(log))
    numbers = json.loads((branches / "metrics/pinn/1e5.json").read_text())
    for split in numbers.values():
        split["amplitude_bias"] += 0.02
    (branches / "metrics/pinn/1e5.json").write_text(json.dumps(numbers))
    commit(branches, "A port with a bias")
    assert main(["compare", "main", "jax"]) == 1
    assert "amplitude_bias" in capsys.readouterr().out
    assert main(["parity", "diff", "main", "jax"]) == 1
    assert "first different: 1e5/train pinn: output.amplitude" in " ".join(capsys.readouterr().out.split())


def scaled(array, factor):
    """The fingerprint of an array times a factor."""
    linear = ("min", "max", "mean", "std")
    return (
        array
        | {key: factor * array[key] for key in linear}
        | {
            "sha256": "0" * 64,
            "sum_of_squares": factor**2 * array["sum_of_squares"],
            "projection": [factor * value for value in array["projection"]],
            "percentiles": {p: factor * value for p, value in array["percentiles"].items()},
            **(
                {"thumbnail": [[factor * v for v in row] for row in array["thumbnail"]]}
                if "thumbnail" in array
                else {}
            ),
        }
    )


@pytest.mark.slow
def test_dvc_shows_the_same_numbers_without_a_verdict(branches):
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "diff", "main", "jax", "--json",
         "--targets", "metrics/pinn/1e5.json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (found,) = json.loads(shown.stdout).values()
    assert found["test.amplitude.psnr"]["old"] == amplitude_psnr(REPOSITORY)
    assert found["test.amplitude.psnr"]["new"] == amplitude_psnr(JAX)
