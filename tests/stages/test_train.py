"""A training leaves a complete, honest, reproducible folder, or nothing; killed, it goes on where it was."""

import csv
import json
import os
import platform
import signal
import subprocess
import sys
import time

import dill
import keras
import numpy as np
import pytest

from ptychodose.cli import main
from ptychodose.errors import UserError
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.stages import layout, simulate, train

DOSE = "1e5"
SMALL = {
    "doses": [DOSE],
    "simulate.splits": {"train": 16, "test": 4, "unseen": 0},
    "train.epochs": 3,
    "train.width": 2,
    "train.stages": 1,
    "train.batch_size": 4,
    "train.learning_rate": 1e-3,
    "train.warmup_fraction": 0.05,
    "train.validation_fraction": 0.2,
}


@pytest.fixture
def study(tiny_params):
    """Parameters of a study whose dataset lies in the working directory."""

    def load(**values):
        params = tiny_params(SMALL | {f"train.{key}": value for key, value in values.items()})
        if not layout.dataset(DOSE, "train").exists():
            simulate.run(params, DOSE)
        return params

    return load


@pytest.fixture
def interrupt_after_first_epoch(monkeypatch):
    """Have Ctrl-C arrive once, when the state of the first epoch has just been saved."""
    save = train.save_training_state

    def once(*arguments):
        save(*arguments)
        monkeypatch.setattr(train, "save_training_state", save)
        raise KeyboardInterrupt

    def arm():
        monkeypatch.setattr(train, "save_training_state", once)

    return arm


def trained():
    return layout.model("pinn", DOSE)


def mark_first_epoch(loss=123.5):
    """Write a loss that no training gives into the saved state, to see afterwards whether it was used."""
    path = layout.resume("pinn", DOSE) / "progress.json"
    progress = read_json(path)
    progress["history"][0]["loss"] = loss
    write_json(path, progress)
    return loss


# --- what a training leaves -------------------------------------------------------------------------------


def test_a_training_leaves_its_folder_its_loss_curve_and_nothing_else(study, hashes, tmp_path):
    train.run(study(), "pinn", DOSE)
    assert set(hashes(tmp_path / "data" / "models")) == {
        f"pinn/{DOSE}/{name}"
        for name in ("model.keras", "config.json", "history.json", "environment.json", "params.dill")
    }
    assert set(hashes(tmp_path / "metrics")) == {f"pinn/{DOSE}.loss.csv"}
    assert not layout.resume("pinn", DOSE).exists()
    assert not list(tmp_path.rglob("*.partial"))

    history = read_json(trained() / "history.json")
    assert [row["epoch"] for row in history] == [1, 2, 3]
    with layout.loss_curve("pinn", DOSE).open() as stream:
        curve = list(csv.DictReader(stream))
    for row, line in zip(history, curve, strict=True):
        assert int(line["epoch"]) == row["epoch"]
        assert float(line["loss"]) == pytest.approx(row["loss"], rel=1e-6)
        assert float(line["val_loss"]) == pytest.approx(row["val_loss"], rel=1e-6)

    facts = read_json(layout.dataset(DOSE, "train").with_suffix(".json"))
    config = read_json(trained() / "config.json")
    network = load_model(trained() / "model.keras")
    assert config["n_parameters"] == network.count_params()
    assert config["mean_exit_energy"] == pytest.approx(1e5 / facts["gain_squared"], rel=1e-8)
    assert config["mean_fraction"] == pytest.approx(facts["dose"]["mean_photons"] / 1e5, rel=1e-8)
    assert (config["model"], config["dose"], config["size_px"]) == ("pinn", DOSE, 64)


def test_legacy_readers_find_dose_size_and_probe_in_params_dill(study):
    train.run(study(epochs=1), "pinn", DOSE)
    settings = dill.loads((trained() / "params.dill").read_bytes())
    # The legacy baseline held 1e9 beside a dataset of 1e5: here it is the dose of the data.
    assert settings["nphotons"] == 1e5
    assert (settings["N"], settings["gridsize"], settings["nepochs"]) == (64, 1, 1)
    assert settings["intensity_scale"] == pytest.approx(np.sqrt(1e5) / 32, rel=1e-8)
    probe = RawDataFile(layout.dataset(DOSE, "train")).scan.probe
    np.testing.assert_array_equal(settings["probe"], probe)


def test_the_environment_that_trained_is_recorded(study):
    train.run(study(epochs=1), "pinn", DOSE)
    environment = read_json(trained() / "environment.json")
    assert environment["python"] == platform.python_version()
    assert environment["keras_backend"] == keras.backend.backend()
    assert environment["packages"]["keras"] == keras.version()
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["devices"] and all(":" in device for device in environment["devices"])
    assert environment["processor"]


def test_without_validation_patterns_the_curve_has_an_empty_column(study):
    train.run(study(epochs=1, validation_fraction=0.0), "pinn", DOSE)
    assert read_json(trained() / "history.json")[0]["val_loss"] is None
    assert layout.loss_curve("pinn", DOSE).read_text().splitlines()[1].endswith(",")


def test_training_lowers_the_loss_of_held_out_photons(study):
    train.run(study(epochs=8, learning_rate=5e-3), "pinn", DOSE)
    losses = [row["val_loss"] for row in read_json(trained() / "history.json")]
    assert losses[-1] < losses[0]


# --- reproducible -----------------------------------------------------------------------------------------


def test_the_same_seed_twice_gives_the_same_bytes_and_another_seed_does_not(study, hashes, tmp_path):
    params = study(epochs=2)
    found = []
    for seed in (1, 1, 2):
        train.run(params.model_copy(update={"seed": seed}), "pinn", DOSE)
        found.append(hashes(trained()))
    for name in ("model.keras", "history.json", "config.json", "params.dill"):
        assert found[0][name] == found[1][name], name
    assert found[0]["model.keras"] != found[2]["model.keras"]


# --- interrupted ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_killed_after_an_epoch_goes_on_and_ends_where_an_unbroken_one_does(
    study, hashes, tmp_path
):
    params = study(epochs=12)
    train.run(params, "pinn", DOSE)
    unbroken, curve = hashes(trained()), layout.loss_curve("pinn", DOSE).read_bytes()
    (tmp_path / "data" / "models").rename(tmp_path / "unbroken")
    layout.loss_curve("pinn", DOSE).unlink()

    command = [sys.executable, "-m", "ptychodose.cli", "train", "--model", "pinn", "--dose", DOSE]
    progress = layout.resume("pinn", DOSE) / "progress.json"
    # Its own session: killed whole, and a signal to the test run does not reach it first.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not progress.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    done = len(read_json(progress)["history"])
    assert 1 <= done < 12
    assert not trained().exists() and not layout.loss_curve("pinn", DOSE).exists()

    kept = read_json(progress)["history"]
    loss = mark_first_epoch()
    assert main(["train", "--model", "pinn", "--dose", DOSE]) == 0
    resumed, history = hashes(trained()), read_json(trained() / "history.json")
    # The epochs done before the kill were taken from the state: its marked loss is there.
    assert history[0]["loss"] == loss
    assert history[1:done] == kept[1:]
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert resumed["model.keras"] == unbroken["model.keras"]
    assert layout.loss_curve("pinn", DOSE).read_bytes().splitlines()[2:] == curve.splitlines()[2:]
    assert not layout.resume("pinn", DOSE).exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_an_interrupted_training_leaves_no_model_and_goes_on_to_the_same_one(
    study, hashes, interrupt_after_first_epoch, tmp_path
):
    params = study()
    train.run(params, "pinn", DOSE)
    unbroken = hashes(trained())["model.keras"]
    (tmp_path / "data" / "models").rename(tmp_path / "unbroken")
    interrupt_after_first_epoch()
    with pytest.raises(KeyboardInterrupt):
        train.run(params, "pinn", DOSE)
    assert not trained().exists()
    loss = mark_first_epoch()
    train.run(params, "pinn", DOSE)
    assert [row["loss"] == loss for row in read_json(trained() / "history.json")] == [True, False, False]
    assert hashes(trained())["model.keras"] == unbroken


@pytest.mark.parametrize("change", ["learning rate", "epochs", "seed", "dataset", "code"])
def test_the_state_of_another_training_is_not_used(study, interrupt_after_first_epoch, monkeypatch, change):
    params = study()
    interrupt_after_first_epoch()
    with pytest.raises(KeyboardInterrupt):
        train.run(params, "pinn", DOSE)
    loss = mark_first_epoch()
    epochs = 3
    if change == "learning rate":
        params = study(learning_rate=2e-3)
    elif change == "epochs":  # the learning rate decays over all epochs, so the first one would have differed
        params, epochs = study(epochs=2), 2
    elif change == "seed":
        params = params.model_copy(update={"seed": params.seed + 1})
    elif change == "dataset":
        simulate.run(params.model_copy(update={"seed": params.seed + 1}), DOSE)
    else:
        monkeypatch.setattr(train, "_code_digest", lambda: "0" * 64)
    train.run(params, "pinn", DOSE)
    history = read_json(trained() / "history.json")
    assert [row["epoch"] for row in history] == list(range(1, epochs + 1))
    assert history[0]["loss"] != loss


def test_a_failing_training_leaves_the_model_that_was_there(study, hashes, interrupt_after_first_epoch):
    params = study(epochs=1)
    train.run(params, "pinn", DOSE)
    before = hashes(trained())
    interrupt_after_first_epoch()
    with pytest.raises(KeyboardInterrupt):
        train.run(study(epochs=2), "pinn", DOSE)
    assert hashes(trained()) == before


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        # The first and last step ends the epoch: only the loss of the validation patterns can tell.
        {"epochs": 1, "batch_size": 13},
        # And with no validation pattern only the weights themselves.
        {"epochs": 1, "batch_size": 16, "validation_fraction": 0.0},
    ],
    ids=["at a later step", "seen by validation only", "seen in the weights only"],
)
def test_a_loss_that_is_not_finite_is_one_sentence_that_names_the_learning_rate(study, values):
    params = study(learning_rate=1e30, warmup_fraction=0.0, **values)
    with pytest.raises(UserError, match=r"not finite.*lower train\.learning_rate") as caught:
        train.run(params, "pinn", DOSE)
    assert "\n" not in str(caught.value)
    assert not trained().exists() and not layout.loss_curve("pinn", DOSE).exists()


@pytest.mark.parametrize(
    ("model", "dose", "message"),
    [
        ("pinn", "1e7", "doses: '1e7' is not among 1e5"),
        ("pinn", "100000", "doses: '100000' is not among 1e5"),
        ("supervised", DOSE, "models: 'supervised' is not among pinn"),
    ],
)
def test_a_model_or_dose_outside_the_study_is_refused(study, capfd, model, dose, message):
    study()
    capfd.readouterr()
    assert main(["train", "--model", model, "--dose", dose]) == 2
    assert capfd.readouterr().err == f"error: params.yaml: {message}\n"
    assert not (layout.model(model, dose)).exists()


def test_a_missing_dataset_is_one_sentence(tiny_params):
    with pytest.raises(UserError, match=r"^data/datasets/1e5/train\.npz: not found$"):
        train.run(tiny_params(SMALL), "pinn", DOSE)


def test_json_of_a_model_holds_no_nan(study):
    train.run(study(epochs=1), "pinn", DOSE)

    def refuse(constant):
        raise AssertionError(constant)

    for path in trained().glob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
    assert os.listdir(trained())
