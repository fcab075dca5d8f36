"""The log of a network is that of the very training and prediction the study made."""

import json

import keras
import numpy as np
import pytest

from ptychodose.cli import main
from ptychodose.environment import make_deterministic
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.reconstruction import read_reconstruction
from ptychodose.parity.boundaries import BOUNDARIES
from ptychodose.parity.emitter import fingerprint as of_array
from ptychodose.parity.emitter import plain
from ptychodose.parity.schema import read_log
from ptychodose.parity.training_log import first_steps, weights_by_layer
from ptychodose.stages import evaluate, fingerprint, fingerprint_fit, fit, infer, layout, simulate, train
from ptychodose.stages.recipes import prepare, split_validation

DOSE = "1e5"
STUDY = {
    "doses": [DOSE],
    "simulate.scan.kind": "raster",
    "simulate.splits": {"train": 16, "test": 6, "unseen": 0},
    "infer.batch_size": 4,
    "infer.kept_px": 40,
    "fit.max_iterations": 2,
}


@pytest.fixture
def params(tiny_params):
    """Parameters of a study whose datasets lie in the working directory."""
    params = tiny_params(STUDY)
    simulate.run(params, DOSE)
    return params


def recipe_of(params):
    """The training as it begins."""
    make_deterministic(params.seed)
    data = train.train_set(DOSE)
    return prepare(params, "pinn", data, *split_validation(params, params.models["pinn"], data.scan))


def boundaries(path, split):
    """Arrays and values of an entry by boundary."""
    entry = next(part for part in read_log(path).datasets if part.name == f"{DOSE}/{split}")
    return {part.name: part.array or part.values for part in entry.boundaries}


# --- the first steps --------------------------------------------------------------------------------------


def test_recording_changes_nothing_in_the_training(params):
    plain_training, recorded = recipe_of(params), recipe_of(params)
    losses = [
        float(plain_training.trained.train_on_batch(*plain_training.training.batch(0, step)))
        for step in range(3)
    ]
    steps = first_steps(recorded.trained, recorded.training)
    assert [steps[str(step)]["loss"] for step in (1, 2, 3)] == losses
    for one, other in zip(plain_training.trained.get_weights(), recorded.trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_gradient_is_that_of_the_loss(params):
    """Along the gradient of a layer the loss rises by its norm: central differences."""
    recipe = recipe_of(params)
    recipe.trained.compile(
        optimizer=keras.optimizers.Adam(1e-30), loss=recipe.trained.loss
    )  # a step that moves nothing
    batch = recipe.training.batch(0, 0)
    norms = first_steps(recipe.trained, recipe.training)["1"]["gradient_norms"]
    gradients = [keras.ops.convert_to_numpy(place) for place in recipe.trained.optimizer.gradients]
    assert sum(norm**2 for norm in norms.values()) > 0
    # The recorder holds the last step's gradient; all steps see the same weights, so take the last batch.
    batch = recipe.training.batch(0, min(3, recipe.training.steps) - 1)
    kernel = max(range(len(gradients)), key=lambda i: np.linalg.norm(gradients[i]))
    variable, gradient = recipe.trained.trainable_variables[kernel], gradients[kernel]
    norm = np.linalg.norm(gradient)
    weights, step = keras.ops.convert_to_numpy(variable), 3e-5 / norm
    losses = []
    for sign in (1, -1):
        variable.assign(weights + sign * step * gradient)
        losses.append(float(recipe.trained.test_on_batch(*batch)))
    assert (losses[0] - losses[1]) / (2 * step * norm) == pytest.approx(norm, rel=2e-2)


def test_layers_are_named_alike_whatever_was_built_before(params):
    first = weights_by_layer(recipe_of(params).network)
    again = weights_by_layer(recipe_of(params).network)
    assert plain(first) == plain(again)
    assert next(iter(first)) == "01 conv2d"


# --- the stages -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_log_of_a_network_is_that_of_its_training_and_prediction(params):
    for stage in (train, infer, evaluate):
        stage.run(params, "pinn", DOSE)
    assert main(["fingerprint", "--model", "pinn", "--dose", DOSE]) == 0
    path = layout.parity("pinn", DOSE)
    found = boundaries(path, "train")

    names = [name for name in BOUNDARIES if not name.startswith(("raw.", "grouped."))]
    assert list(found) == [name for name in names if name not in ("dose", "normalized")]
    assert list(boundaries(path, "test")) == [name for name in found if not name.startswith("train.")]

    network = load_model(layout.model("pinn", DOSE) / "model.keras")
    assert found["train.weights"] == plain(weights_by_layer(network))
    assert found["train.initial_weights"] == plain(weights_by_layer(recipe_of(params).network))
    stitched = read_reconstruction(layout.reconstruction("pinn", DOSE, "train"))
    assert found["stitched"].sha256 == of_array(stitched.stitched.obj)["sha256"]
    assert found["loss"].sha256 == of_array(stitched.deviance)["sha256"]
    assert found["metrics"] == plain(read_json(layout.metrics("pinn", DOSE))["train"])
    # The deviance is that of these very rates: their sum is in both.
    assert found["rates"].shape == [16, 64, 64]
    assert found["input"].sum_of_squares == pytest.approx(16 * 32**2, rel=1e-6)
    log = read_log(path)
    assert log.environment["keras_backend"] == "tensorflow"
    assert log.datasets[0].trained_in == read_json(layout.model("pinn", DOSE) / "environment.json")

    before = path.read_bytes()
    fingerprint.run(params, "pinn", DOSE)
    assert path.read_bytes() == before


def test_the_log_of_a_fit_needs_no_backend(params):
    fit.run(params, "ml", DOSE)
    evaluate.run(params, "ml", DOSE)
    fingerprint_fit.run(params, "ml", DOSE)
    found = boundaries(layout.parity("ml", DOSE), "test")
    assert list(found) == ["loss", "stitched", "metrics"]
    assert "keras_backend" not in json.loads(layout.parity("ml", DOSE).read_text())["environment"]


def test_the_log_of_the_datasets_has_every_split(params):
    assert main(["fingerprint-data", "--dose", DOSE]) == 0
    log = read_log(layout.parity_of_datasets(DOSE))
    assert [entry.name for entry in log.datasets] == [f"{DOSE}/train", f"{DOSE}/test"]
    assert next(part.name for part in log.datasets[0].boundaries) == "dose"


def test_a_dose_that_is_not_in_the_study_is_refused(params, capsys):
    assert main(["fingerprint-data", "--dose", "1e7"]) == 2
    assert "doses: '1e7' is not in the study" in capsys.readouterr().err
