"""A training leaves a complete, honest, reproducible folder, or nothing; killed, it goes on where it was."""

import csv
import platform
import shutil
import signal
import subprocess
import sys
import time

import dill
import keras
import numpy as np
import pytest

from ptychodose.cli import main
from ptychodose.config import TrainParams
from ptychodose.errors import UserError
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.stages import layout, simulate, train

DOSE = "1e5"
SMALL = {
    "doses": [DOSE],
    "simulate.splits": {"train": 16, "test": 4, "unseen": 0},
    "models.pinn.epochs": 3,
    "train.validation_fraction": 0.2,
}

TRAIN = [sys.executable, "-m", "ptychodose.cli", "train", "--model", "pinn", "--dose", DOSE]


@pytest.fixture
def study(tiny_params):
    """Parameters of a study whose dataset lies in the working directory."""

    def load(**values):
        """Values of the model, or of ``train`` if that has them."""
        sections = {key: "train" if key in TrainParams.model_fields else "models.pinn" for key in values}
        params = tiny_params(SMALL | {f"{sections[key]}.{key}": value for key, value in values.items()})
        if not layout.dataset(DOSE, "train").exists():
            simulate.run(params, DOSE)
        return params

    return load


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Where what was trained once lies for all tests of this file."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def finished(study, shelf, tmp_path):
    """Parameters and, in the working directory, all that their finished training left."""
    params = study()
    if not (shelf / "finished").exists():
        train.run(params, "pinn", DOSE)
        shutil.copytree(tmp_path, shelf / "finished")
    shutil.copytree(shelf / "finished", tmp_path, dirs_exist_ok=True)
    return params


@pytest.fixture
def interrupted(study, shelf, tmp_path, monkeypatch):
    """Parameters and, in the working directory, what Ctrl-C left after the first epoch was saved."""
    params = study()
    if not (shelf / "interrupted").exists():

        def save_and_be_interrupted(*arguments):
            save_training_state(*arguments)
            raise KeyboardInterrupt

        save_training_state = train.save_training_state
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(train, "save_training_state", save_and_be_interrupted)
            train.run(params, "pinn", DOSE)
        shutil.copytree(tmp_path, shelf / "interrupted")
    shutil.copytree(shelf / "interrupted", tmp_path, dirs_exist_ok=True)
    return params


@pytest.fixture
def first_epoch_of(monkeypatch):
    """The epoch a training would begin with, found without training."""

    class BeginsAt(Exception):  # noqa: N818
        pass

    def stop(_model, _batches, epoch, _on_step):
        raise BeginsAt(epoch)

    def of(params):
        with monkeypatch.context() as patch, pytest.raises(BeginsAt) as caught:
            patch.setattr(train, "train_epoch", stop)
            train.run(params, "pinn", DOSE)
        return caught.value.args[0]

    return of


def weights(folder):
    return load_model(folder / "model.keras").get_weights()


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


def test_a_training_leaves_its_folder_its_loss_curve_and_nothing_else(finished, hashes, tmp_path):
    assert set(hashes(tmp_path / "data" / "models")) == {
        f"pinn/{DOSE}/{name}"
        for name in ("model.keras", "config.json", "history.json", "environment.json", "params.dill")
    }
    assert set(hashes(tmp_path / "metrics")) == {f"pinn/{DOSE}.loss.csv"}
    assert not layout.resume("pinn", DOSE).exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_loss_curve_is_the_history(finished):
    history = read_json(trained() / "history.json")
    assert [row["epoch"] for row in history] == [1, 2, 3]
    with layout.loss_curve("pinn", DOSE).open() as stream:
        curve = list(csv.DictReader(stream))
    for row, line in zip(history, curve, strict=True):
        assert int(line["epoch"]) == row["epoch"]
        assert float(line["loss"]) == pytest.approx(row["loss"], rel=1e-6)
        assert float(line["val_loss"]) == pytest.approx(row["val_loss"], rel=1e-6)


def test_the_config_says_what_the_network_was_trained_on(finished):
    facts = read_json(layout.dataset(DOSE, "train").with_suffix(".json"))
    config = read_json(trained() / "config.json")
    assert config["n_parameters"] == load_model(trained() / "model.keras").count_params()
    assert config["mean_exit_energy"] == pytest.approx(1e5 / facts["gain_squared"], rel=1e-8)
    assert config["mean_fraction"] == pytest.approx(facts["dose"]["mean_photons"] / 1e5, rel=1e-8)
    assert (config["model"], config["dose"], config["size_px"]) == ("pinn", DOSE, 64)
    assert config["train"] == finished.train.model_dump()
    assert config["settings"] == finished.models["pinn"].model_dump()
    assert (config["gridsize"], config["object_unit"]) == (1, 1.0)


def test_legacy_readers_find_dose_size_and_probe_in_params_dill(finished):
    settings = dill.loads((trained() / "params.dill").read_bytes())
    # The legacy baseline held 1e9 beside a dataset of 1e5: here it is the dose of the data.
    assert settings["nphotons"] == 1e5
    assert (settings["N"], settings["gridsize"], settings["nepochs"]) == (64, 1, 3)
    assert settings["model_type"] == "pinn"
    assert settings["intensity_scale"] == pytest.approx(np.sqrt(1e5) / 32, rel=1e-8)
    probe = RawDataFile(layout.dataset(DOSE, "train")).scan.probe
    np.testing.assert_array_equal(settings["probe"], probe)


def test_the_environment_that_trained_is_recorded(finished):
    environment = read_json(trained() / "environment.json")
    assert environment["python"] == platform.python_version()
    assert environment["keras_backend"] == keras.backend.backend()
    assert environment["packages"]["keras"] == keras.version()
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["devices"] and all(":" in device for device in environment["devices"])
    assert environment["processor"]


@pytest.fixture
def float32_again():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("float32_again")
def test_a_network_trained_in_16_bits_is_saved_in_32(study):
    """Its checkpoint predicts the same wherever it is loaded; precision is a property of the training."""
    train.run(study(epochs=1, precision="mixed_bfloat16"), "pinn", DOSE)
    network = load_model(trained() / "model.keras")
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert {layer.dtype_policy.name for layer in layers} == {"float32"}
    assert read_json(trained() / "config.json")["train"]["precision"] == "mixed_bfloat16"
    assert read_json(trained() / "environment.json")["dtype_policy"] == "mixed_bfloat16"


def test_without_validation_patterns_the_curve_has_an_empty_column(study):
    train.run(study(epochs=1, validation_fraction=0.0), "pinn", DOSE)
    assert read_json(trained() / "history.json")[0]["val_loss"] is None
    assert layout.loss_curve("pinn", DOSE).read_text().splitlines()[1].endswith(",")


def test_training_lowers_the_loss_of_held_out_photons(study):
    train.run(study(epochs=8, learning_rate=5e-3), "pinn", DOSE)
    losses = [row["val_loss"] for row in read_json(trained() / "history.json")]
    assert losses[-1] < losses[0]


# --- reproducible -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(finished):
    first, history = weights(trained()), read_json(trained() / "history.json")
    train.run(finished, "pinn", DOSE)
    assert read_json(trained() / "history.json") == history
    for one, two in zip(first, weights(trained()), strict=True):
        np.testing.assert_array_equal(one, two)
    train.run(finished.model_copy(update={"seed": finished.seed + 1}), "pinn", DOSE)
    assert any(not np.array_equal(one, two) for one, two in zip(first, weights(trained()), strict=True))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file_in_every_process(study, hashes):
    study(epochs=1)
    found = []
    for _ in range(2):
        subprocess.run(TRAIN, stderr=subprocess.DEVNULL, check=True)
        found.append(hashes(trained()))
    assert found[0] == found[1]


# --- interrupted ------------------------------------------------------------------------------------------


def test_an_interrupted_training_goes_on_to_the_model_of_an_unbroken_one(interrupted, finished):
    unbroken = weights(trained())
    shutil.rmtree(trained())
    loss = mark_first_epoch()
    train.run(interrupted, "pinn", DOSE)
    # The first epoch was taken from the state, not trained again: its marked loss is there.
    assert [row["loss"] == loss for row in read_json(trained() / "history.json")] == [True, False, False]
    for one, two in zip(unbroken, weights(trained()), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not layout.resume("pinn", DOSE).exists()


def test_an_interrupted_training_leaves_no_model(interrupted):
    assert not trained().exists()
    assert not layout.loss_curve("pinn", DOSE).exists()


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_where_an_unbroken_one_does(study, tmp_path):
    train.run(study(epochs=12), "pinn", DOSE)
    unbroken, curve = weights(trained()), layout.loss_curve("pinn", DOSE).read_bytes()
    (tmp_path / "data" / "models").rename(tmp_path / "unbroken")
    layout.loss_curve("pinn", DOSE).unlink()

    progress = layout.resume("pinn", DOSE) / "progress.json"
    process = subprocess.Popen(TRAIN, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not progress.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    kept = read_json(progress)["history"]
    assert 1 <= len(kept) < 12
    assert not trained().exists() and not layout.loss_curve("pinn", DOSE).exists()

    loss = mark_first_epoch()
    assert main(TRAIN[3:]) == 0
    history = read_json(trained() / "history.json")
    assert history[0]["loss"] == loss
    assert history[1 : len(kept)] == kept[1:]
    assert [row["epoch"] for row in history] == list(range(1, 13))
    for one, two in zip(unbroken, weights(trained()), strict=True):
        np.testing.assert_array_equal(one, two)
    assert layout.loss_curve("pinn", DOSE).read_bytes().splitlines()[2:] == curve.splitlines()[2:]
    assert not layout.resume("pinn", DOSE).exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_state_of_the_same_training_is_used(interrupted, first_epoch_of):
    assert first_epoch_of(interrupted) == 1


def test_the_state_of_another_training_is_not_used(interrupted, study, first_epoch_of, monkeypatch, shelf):
    state, kept = layout.resume("pinn", DOSE), shelf / "interrupted" / layout.resume("pinn", DOSE)

    def begins_at(params):
        shutil.copytree(kept, state, dirs_exist_ok=True)
        return first_epoch_of(params)

    assert begins_at(study(learning_rate=2e-3)) == 0
    # The learning rate decays over all epochs: the first epoch would have been another one.
    assert begins_at(study(epochs=4)) == 0
    assert begins_at(interrupted.model_copy(update={"seed": 1})) == 0
    with monkeypatch.context() as patch:
        patch.setattr(train, "_code_digest", lambda: "0" * 64)
        assert begins_at(interrupted) == 0
    simulate.run(interrupted.model_copy(update={"seed": 1}), DOSE)
    assert begins_at(interrupted) == 0


def test_a_failing_training_leaves_the_model_that_was_there(finished, hashes, monkeypatch):
    before = hashes(trained())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "write_params_dill", fail)
    with pytest.raises(OSError, match="No space left"):
        train.run(finished, "pinn", DOSE)
    assert hashes(trained()) == before


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="at a later step"),
        # The only step of the epoch starts from good weights: only the validation patterns can tell.
        pytest.param({"epochs": 1, "batch_size": 13}, id="by validation only"),
    ],
)
def test_a_loss_that_is_not_finite_is_one_sentence_that_names_the_learning_rate(study, values):
    params = study(learning_rate=1e30, warmup_fraction=0.0, **values)
    with pytest.raises(
        UserError, match=r"^train pinn 1e5: .*not finite.*lower the model's learning_rate"
    ) as caught:
        train.run(params, "pinn", DOSE)
    assert "\n" not in str(caught.value)
    assert not trained().exists() and not layout.loss_curve("pinn", DOSE).exists()


@pytest.mark.parametrize(("model", "dose"), [("pinn", "1e7"), ("pinn", "100000"), ("supervised", DOSE)])
def test_a_model_or_dose_outside_the_study_is_refused(study, capfd, model, dose):
    study()
    capfd.readouterr()
    assert main(["train", "--model", model, "--dose", dose]) == 2
    assert capfd.readouterr().err == (
        f"error: params.yaml: train of {model!r} at {dose!r} is not in the study, which has pinn at 1e5\n"
    )
    assert not (layout.model(model, dose)).exists()


def test_a_missing_dataset_is_one_sentence(tiny_params):
    with pytest.raises(UserError, match=r"^data/datasets/1e5/train\.npz: not found$"):
        train.run(tiny_params(SMALL), "pinn", DOSE)
