"""What each kind of model is shown, in which units, and that its training can be killed at any time."""

import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from keras import ops

from ptychodose.cli import main
from ptychodose.errors import UserError
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.reconstruction import read_reconstruction
from ptychodose.networks.physics_layers import FarField, Rate
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.stages import evaluate, infer, layout, recipes, simulate, train

DOSE = "1e9"
"""So many photons that a wrong unit shows in every pattern."""

TRAINING = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
LEGACY = {"kind": "legacy", "filters_scale": 1, "declared_dose": None} | TRAINING
STUDY = {
    "doses": [DOSE],
    "simulate.splits": {"train": 16, "test": 9, "unseen": 0},
    "train.validation_fraction": 0.25,
    "models.pinn-gs2": {"kind": "pinn", "gridsize": 2, "width": 2, "stages": 1} | TRAINING,
    "models.supervised": {"kind": "supervised", "filters_scale": 1 / 16} | TRAINING,
    "models.legacy": LEGACY,
    "models.legacy-as-1e5": LEGACY | {"declared_dose": "1e5"},
    "extra": {
        f"{model}-{DOSE}": {"model": model, "dose": DOSE} for model in ("pinn-gs2", "supervised", "legacy")
    },
}
KINDS = ("supervised", "legacy", "pinn-gs2")
ALL, NONE = np.arange(16), np.arange(0)


@pytest.fixture
def study(tiny_params):
    """Parameters of a study whose datasets lie in the working directory."""

    def load(values=None):
        params = tiny_params(STUDY | (values or {}))
        if not layout.dataset(DOSE, "train").exists():
            simulate.run(params, DOSE)
        return params

    return load


def facts():
    return read_json(layout.dataset(DOSE, "train").with_suffix(".json"))


def write_untrained(params, model):
    """A model's folder without the time that a training takes."""
    recipe = recipes.prepare(params, model, train.train_set(DOSE), ALL, NONE)
    folder = layout.model(model, DOSE)
    train.write_model(params, model, DOSE, folder, recipe.network, recipe.object_unit, history=[])


def scatter_of_roots(counts, rates):
    """Rms of sqrt(n) - sqrt(L) where there is light: 1/2 if the counts are Poisson draws of the rates."""
    lit = rates > 30
    return math.sqrt(np.mean((np.sqrt(counts[lit]) - np.sqrt(rates[lit])) ** 2))


# --- validation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pinn", "supervised", "legacy", "pinn-gs2"])
def test_patterns_are_learned_from_or_validated_with_never_both(study, model):
    params = study({"simulate.splits": {"train": 48, "test": 4, "unseen": 0}})
    data = train.train_set(DOSE)
    training, validation = recipes.split_validation(params, params.models[model], data.scan)
    assert sorted([*training, *validation]) == list(range(48))
    assert len(validation) == (7 if model == "pinn-gs2" else 12)  # one whole neighbourhood of 7, or a quarter
    again = recipes.split_validation(params, params.models[model], data.scan)[1]
    np.testing.assert_array_equal(again, validation)
    other = params.model_copy(update={"seed": params.seed + 1})
    assert not np.array_equal(recipes.split_validation(other, params.models[model], data.scan)[1], validation)


def test_groups_of_training_and_validation_share_no_pattern(study):
    params = study({"simulate.splits": {"train": 48, "test": 4, "unseen": 0}})
    data, spec = train.train_set(DOSE), params.models["pinn-gs2"]
    training, validation = recipes.split_validation(params, spec, data.scan)
    recipe = recipes.prepare(params, "pinn-gs2", data, training, validation)
    seen = {}
    for name, batches in (("training", recipe.training), ("validation", recipe.validation)):
        groups = [batches.groups(epoch, step) for epoch in range(3) for step in range(batches.steps)]
        seen[name] = {tuple(position) for group in groups for position in group.positions_yx.reshape(-1, 2)}
    positions = np.column_stack([data.scan.y, data.scan.x])
    assert seen["validation"] <= {tuple(position) for position in positions[validation]}
    assert seen["training"] <= {tuple(position) for position in positions[training]}
    assert len(seen["training"]) > 20 and not seen["training"] & seen["validation"]


@pytest.mark.parametrize("model", ["pinn", *KINDS])
def test_without_validation_patterns_there_is_no_validation(study, model):
    params = study({"train.validation_fraction": 0.0})
    data = train.train_set(DOSE)
    training, validation = recipes.split_validation(params, params.models[model], data.scan)
    assert len(training) == 16 and len(validation) == 0
    assert recipes.prepare(params, model, data, training, validation).validation is None


# --- supervised -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_supervised_baseline_is_shown_the_patches_that_made_its_patterns(study, interpolation):
    params = study({"simulate.interpolation": interpolation, "models.supervised.batch_size": 16})
    data = train.train_set(DOSE)
    inputs, targets = recipes.prepare(params, "supervised", data, ALL, NONE).training.batch(0, 0)
    assert targets.shape == (16, 64, 64, 2)
    counts = inputs[..., 0].astype(float) ** 2 * data.mean_photons / 32**2
    patches = targets[..., 0] * np.exp(1j * targets[..., 1].astype(float))
    rates = facts()["gain_squared"] * diffraction_intensity(exit_waves(data.scan.probe, patches))
    assert scatter_of_roots(counts, rates) == pytest.approx(0.5, rel=0.05)
    # The same patches beside the patterns of others are far off.
    assert scatter_of_roots(counts, np.roll(rates, 1, axis=0)) > 10


def test_the_supervised_baseline_needs_the_truth(study):
    params = study()
    path = layout.dataset(DOSE, "train")
    with np.load(path) as archive:
        members = {key: archive[key] for key in archive.files if key != "objectGuess"}
    np.savez(path, **members)
    with pytest.raises(UserError) as caught:
        train.run(params, "supervised", DOSE)
    assert str(caught.value) == (
        f"{path}: holds no objectGuess, and the supervised baseline learns from the truth"
    )
    assert not layout.model("supervised", DOSE).exists()


# --- legacy -----------------------------------------------------------------------------------------------


def legacy_truth(data, unit):
    """Amplitude and phase of the true patches in the legacy network's unit."""
    scan = data.scan
    patches = cut_patches(scan.obj, scan.x, scan.y, 64, data.interpolation) / unit
    return patches, np.stack([np.abs(patches), np.angle(patches)], axis=-1).astype(np.float32)


def test_the_object_unit_makes_legacy_amplitudes_explain_the_photons(study):
    """u O explains the counts with the data's probe and gain; O does so with the legacy probe."""
    params = study({"models.legacy.batch_size": 16})
    data = train.train_set(DOSE)
    recipe = recipes.prepare(params, "legacy", data, ALL, NONE)
    patches, obj = legacy_truth(data, recipe.object_unit)
    waves = exit_waves(data.scan.probe, recipe.object_unit * patches)
    assert np.mean(np.sum(np.abs(waves) ** 2, axis=(1, 2))) == pytest.approx(data.mean_exit_energy, rel=1e-8)
    assert data.mean_exit_energy == pytest.approx(1e9 / facts()["gain_squared"], rel=1e-8)
    probe = recipe.network.get_layer("probe")(None)
    rates = ops.convert_to_numpy(Rate()(FarField()(obj, probe)))
    assert np.mean(np.sum(rates, axis=(1, 2, 3))) == pytest.approx(32**2, rel=1e-3)
    inputs, targets = recipe.training.batch(0, 0)
    np.testing.assert_allclose(targets, inputs**2, rtol=1e-6)
    order = [int(np.argmin(np.abs(data.inputs() - x).sum(axis=(1, 2, 3)))) for x in inputs]
    photons = 1e9 / 32**2
    assert scatter_of_roots(photons * targets, photons * rates[order]) == pytest.approx(0.5, rel=0.1)


def test_the_declared_dose_changes_the_loss_and_not_the_data(study):
    params = study()
    data = train.train_set(DOSE)
    honest, mistaken = (
        recipes.prepare(params, model, data, ALL, NONE) for model in ("legacy", "legacy-as-1e5")
    )
    for step in range(honest.training.steps):
        for one, two in zip(honest.training.batch(1, step), mistaken.training.batch(1, step), strict=True):
            np.testing.assert_array_equal(one, two)
    assert honest.object_unit == mistaken.object_unit
    _, target = honest.training.batch(0, 0)
    predicted = 1.1 * target + 0.01
    # The same misfit counts as many more photons as are declared.
    ratio = float(honest.trained.loss(target, predicted)) / float(mistaken.trained.loss(target, predicted))
    assert ratio == pytest.approx(1e9 / 1e5, rel=1e-4)


def test_only_the_legacy_training_has_the_legacy_schedule(study):
    params = study()
    data = train.train_set(DOSE)
    legacy = recipes.prepare(params, "legacy", data, ALL, NONE)
    assert legacy.plateau.learning_rate == 1e-3 and legacy.trained.optimizer.clipnorm is None
    for model in ("pinn", "pinn-gs2", "supervised"):
        recipe = recipes.prepare(params, model, data, ALL, NONE)
        assert recipe.plateau is None and recipe.object_unit == 1
        assert recipe.trained.optimizer.clipnorm == 1.0


def test_the_legacy_schedule_slows_down_and_stops_the_training(study, monkeypatch):
    """A loss that never gets better: the rate is halved after two epochs, and three are the end."""
    params = study({"models.legacy.epochs": 12})
    rates = []

    def train_epoch(model, _batches, _epoch, _on_step):
        rates.append(float(model.optimizer.learning_rate))
        return 1.0

    monkeypatch.setattr(train, "train_epoch", train_epoch)
    monkeypatch.setattr(train, "validation_loss", lambda *_: 1.0)
    train.run(params, "legacy", DOSE)
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])
    assert len(read_json(layout.model("legacy", DOSE) / "history.json")) == 4


# --- groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"simulate.object.size_px": 232, "simulate.object.n_lines": 400},
            "the scan is too sparse for gridsize 2",
            id="too far apart",
        ),
        pytest.param(
            {
                "simulate.splits": {"train": 6, "test": 9, "unseen": 0},
                "models.pinn-gs2.batch_size": 4,
                "train.validation_fraction": 0.0,
            },
            "too few",
            id="too few",
        ),
        pytest.param(
            # One neighbourhood to validate with, and 5 patterns are left.
            {"simulate.splits": {"train": 12, "test": 9, "unseen": 0}, "train.validation_fraction": 0.9},
            "too few",
            id="too few left",
        ),
    ],
)
def test_a_scan_too_sparse_for_groups_is_refused_in_one_sentence(study, values, message):
    params = study(values)
    with pytest.raises(UserError) as caught:
        train.run(params, "pinn-gs2", DOSE)
    assert str(caught.value).startswith(f"{layout.dataset(DOSE, 'train')}: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not layout.model("pinn-gs2", DOSE).exists()


def test_a_set_too_small_to_be_predicted_in_groups_is_refused_in_one_sentence(study):
    params = study({"simulate.splits": {"train": 16, "test": 5, "unseen": 0}})
    write_untrained(params, "pinn-gs2")
    with pytest.raises(UserError) as caught:
        infer.run(params, "pinn-gs2", DOSE)
    assert str(caught.value).startswith(f"{layout.dataset(DOSE, 'test')}: ")
    assert "cannot be predicted in groups" in str(caught.value) and "\n" not in str(caught.value)
    assert not layout.reconstruction("pinn-gs2", DOSE, "train").parent.exists()


def test_a_network_of_groups_predicts_a_sparser_set_than_it_was_trained_with(study):
    """Its frame grows with the positions; what it learned fits any frame."""
    params = study()
    write_untrained(params, "pinn-gs2")
    path = layout.dataset(DOSE, "test")
    trained_for = load_model(layout.model("pinn-gs2", DOSE) / "model.keras")
    with np.load(path) as archive:
        members = {key: archive[key] for key in archive.files if key != "objectGuess"}
    wider = {key: 40 + 2 * (members[key] - 40) for key in ("xcoords", "ycoords")}
    np.savez(path, **members | wider | {"xcoords_start": wider["xcoords"], "ycoords_start": wider["ycoords"]})
    infer.run(params, "pinn-gs2", DOSE)
    spec = params.models["pinn-gs2"]
    needed = recipes.group_pad_px(wider["xcoords"], wider["ycoords"], 64, 2)
    assert recipes.groups_network(spec, 64, needed).get_layer("uniform_start").frame_px > (
        trained_for.get_layer("uniform_start").frame_px
    )
    stitched = read_reconstruction(layout.reconstruction("pinn-gs2", DOSE, "test")).stitched
    assert np.isfinite(stitched.obj).all()
    # Not trained: about the uniform object that passes as many photons as were measured.
    expected = math.sqrt(train.train_set(DOSE).mean_exit_energy / np.sum(np.abs(members["probeGuess"]) ** 2))
    assert np.abs(stitched.obj[stitched.weight > 0]).mean() == pytest.approx(expected, rel=0.1)


# --- from photons to numbers ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_every_kind_goes_from_photons_to_numbers(study, model):
    values = {"simulate.splits": {"train": 16, "test": 9, "unseen": 9}, f"models.{model}.epochs": 4}
    params = study(values)
    for stage in (train, infer, evaluate):
        stage.run(params, model, DOSE)
    config = read_json(layout.model(model, DOSE) / "config.json")
    assert config["gridsize"] == (2 if model == "pinn-gs2" else 1)
    assert config["settings"] == params.models[model].model_dump()
    assert (config["object_unit"] == 1) == (model != "legacy")
    history = read_json(layout.model(model, DOSE) / "history.json")
    assert min(row["loss"] for row in history[1:]) < history[0]["loss"]
    numbers = read_json(layout.metrics(model, DOSE))
    assert list(numbers) == ["train", "test", "unseen"]
    for found in numbers.values():
        assert found["amplitude"]["mae"] > 0 and found["phase"]["rms_rad"] > 0
        assert found["deviance_ratio"] > 1
    for split, n in (("train", 16), ("test", 9), ("unseen", 9)):
        # Groups, too, leave no pattern out.
        found = read_reconstruction(layout.reconstruction(model, DOSE, split))
        assert found.deviance.shape == (n,) and np.isfinite(found.deviance).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_a_saved_model_loads_in_a_process_that_knows_nothing_of_its_kind(study, model):
    write_untrained(study(), model)
    script = (
        "import sys, pathlib\nfrom ptychodose.formats.checkpoints import load_model\n"
        "print(load_model(pathlib.Path(sys.argv[1])).count_params())"
    )
    path = layout.model(model, DOSE) / "model.keras"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout.split()[-1]) == load_model(path).count_params()


# --- interrupted ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_a_killed_training_of_any_kind_ends_where_an_unbroken_one_does(study, tmp_path, model):
    params = study({f"models.{model}.epochs": 12})
    train.run(params, model, DOSE)
    folder, state = layout.model(model, DOSE), layout.resume(model, DOSE)
    unbroken = load_model(folder / "model.keras").get_weights()
    history = read_json(folder / "history.json")
    (tmp_path / "data" / "models").rename(tmp_path / "unbroken")

    command = [sys.executable, "-m", "ptychodose.cli", "train", "--model", model, "--dose", DOSE]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not (state / "progress.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 1 <= len(read_json(state / "progress.json")["history"]) < len(history)
    assert not folder.exists()

    assert main(command[3:]) == 0
    assert read_json(folder / "history.json") == history
    for one, two in zip(unbroken, load_model(folder / "model.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not state.exists() and not list(tmp_path.rglob("*.partial"))
