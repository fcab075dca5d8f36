"""A replicate is the study's own training with another seed; the noise floor is how far they lie apart."""

import numpy as np
import pytest

from ptychodose.cli import main
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.stages import evaluate, infer, layout, noise_floor, replicate, simulate, train

DOSE = "1e5"
STUDY = {
    "doses": [DOSE],
    "simulate.splits": {"train": 16, "test": 6, "unseen": 0},
    "models.pinn.epochs": 2,
    "infer.kept_px": 40,
    "replicates": {"models": ["pinn"], "doses": [DOSE], "seeds": [1, 5]},
}


@pytest.fixture
def params(tiny_params):
    """Parameters of a study whose datasets lie in the working directory."""
    params = tiny_params(STUDY)
    simulate.run(params, DOSE)
    return params


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def flat(numbers, prefix=""):
    """Metrics by their dotted name."""
    for name, value in numbers.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --- replicate --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_replicate_is_the_same_training_with_another_seed(params, hashes, tmp_path):
    for stage in (train, infer, evaluate):
        stage.run(params, "pinn", DOSE)
    own, before, there = read_json(layout.metrics("pinn", DOSE)), hashes(tmp_path), files(tmp_path)

    assert main(["replicate", "--model", "pinn", "--dose", DOSE, "--seed", "1"]) == 0
    path = layout.replicate("pinn", DOSE, 1)
    assert str(path) == f"metrics/replicates/pinn/{DOSE}/1.json"
    # Nothing of the study changed, and of the replicate its numbers alone are kept.
    assert files(tmp_path) - there == {str(path)}
    after = hashes(tmp_path)
    assert {name: after[name] for name in before} == before
    assert not layout.replicate_scratch("pinn", DOSE, 1).exists()

    # The stages themselves, with the other seed on the same data, give these very numbers.
    for stage in (train, infer, evaluate):
        stage.run(params.model_copy(update={"seed": params.seed + 1}), "pinn", DOSE)
    found = read_json(path)
    assert found == read_json(layout.metrics("pinn", DOSE))
    assert found["train"]["amplitude"]["mae"] != own["train"]["amplitude"]["mae"]
    # The control is of the data alone.
    assert found["train"]["control"] == own["train"]["control"]


def test_a_replicate_that_was_interrupted_goes_on(params, monkeypatch, tmp_path):
    there, path = files(tmp_path), layout.replicate("pinn", DOSE, 1)
    replicate.run(params, "pinn", DOSE, 1)
    assert files(tmp_path) - there == {str(path)}
    unbroken = path.read_bytes()
    path.unlink()
    save_training_state, epochs = train.save_training_state, []

    def save_and_be_interrupted(*arguments):
        save_training_state(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "save_training_state", save_and_be_interrupted)
        replicate.run(params, "pinn", DOSE, 1)
    assert not path.exists()
    train_epoch = train.train_epoch

    def note(model, batches, epoch, on_step):
        epochs.append(epoch)
        return train_epoch(model, batches, epoch, on_step)

    monkeypatch.setattr(train, "train_epoch", note)
    replicate.run(params, "pinn", DOSE, 1)
    assert epochs == [1]
    assert path.read_bytes() == unbroken


# --- noise floor ------------------------------------------------------------------------------------------


def pretend(psnr, shift, collapsed, frc50=0.5):
    """The metrics of a training."""
    amplitude = {"psnr": psnr, "shift_y_px": shift, "frc50": frc50}
    return {split: {"amplitude": amplitude, "collapsed": collapsed} for split in ("train", "test")}


@pytest.fixture
def measured(tiny_params):
    """Parameters and, in the working directory, the metrics of a study and its two replicates."""
    params = tiny_params(STUDY)
    for path, numbers in (
        (layout.metrics("pinn", DOSE), pretend(29.0, 0.1, False)),
        (layout.replicate("pinn", DOSE, 1), pretend(31.0, -0.3, True)),
        (layout.replicate("pinn", DOSE, 5), pretend(30.5, 0.2, False, frc50=None)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, numbers)
    return params


def test_the_noise_floor_is_the_range_over_the_seeds(measured):
    assert main(["noise-floor", "--model", "pinn", "--dose", DOSE]) == 0
    found = read_json(layout.noise_floor("pinn", DOSE))
    assert (found["model"], found["dose"], found["scenario"]) == ("pinn", DOSE, "TINY")
    assert found["seeds"] == [measured.seed, measured.seed + 1, measured.seed + 5]
    assert set(found["splits"]) == {"train", "test"}
    for split in found["splits"].values():
        assert split["amplitude.psnr"] == {
            "values": [29.0, 31.0, 30.5],
            "median": 30.5,
            "min": 29.0,
            "max": 31.0,
            "range": 2.0,
        }
        assert split["amplitude.shift_y_px"]["range"] == pytest.approx(0.5)
        assert split["collapsed"] == {"values": [False, True, False], "count": 1}
        # Where one training has no value there is no range to speak of.
        assert split["amplitude.frc50"] == {"values": [0.5, 0.5, None]}


def test_without_a_replicate_there_is_no_noise_floor(measured):
    layout.replicate("pinn", DOSE, 5).unlink()
    with pytest.raises(UserError, match=rf"^{layout.replicate('pinn', DOSE, 5)}: not found"):
        noise_floor.run(measured, "pinn", DOSE)
    assert not layout.noise_floor("pinn", DOSE).exists()


@pytest.mark.slow
def test_the_noise_floor_of_real_trainings_holds_every_metric(params):
    for stage in (train, infer, evaluate):
        stage.run(params, "pinn", DOSE)
    for seed in params.replicates.seeds:
        replicate.run(params, "pinn", DOSE, seed)
    noise_floor.run(params, "pinn", DOSE)
    found = read_json(layout.noise_floor("pinn", DOSE))["splits"]
    for split, numbers in read_json(layout.metrics("pinn", DOSE)).items():
        own = dict(flat(numbers))
        assert set(found[split]) == set(own)
        for name, spread in found[split].items():
            assert len(spread["values"]) == 3 and spread["values"][0] == own[name]
            if "range" in spread:
                assert spread["range"] == pytest.approx(np.ptp(np.array(spread["values"], float)))
        assert found[split]["amplitude.mae"]["range"] > 0
        assert found[split]["control.ssim"]["range"] == 0
