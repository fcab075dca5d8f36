"""A legacy checkpoint becomes a model of the study like any other, and predicts what it always did."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from ptychodose.cli import main
from ptychodose.errors import UserError
from ptychodose.formats.checkpoints import load_model
from ptychodose.formats.jsonfile import read_json
from ptychodose.formats.legacy_checkpoint import load_legacy_weights
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.formats.reconstruction import read_reconstruction
from ptychodose.networks.prediction import predict_patches
from ptychodose.physics.thinning import counts_of
from ptychodose.stages import evaluate, import_checkpoint, infer, layout, simulate

DOSE = "1e5"
STUDY = {
    "doses": [DOSE],
    "simulate.splits": {"train": 16, "test": 6, "unseen": 0},
    "infer.kept_px": 20,
    "models.their": {
        "kind": "legacy",
        "filters_scale": 1,
        "declared_dose": None,
        "epochs": 1,
        "batch_size": 4,
        "learning_rate": 1e-3,
    },
    "imported": {f"their-{DOSE}": {"model": "their", "dose": DOSE, "checkpoint": "runs/wts.h5.zip"}},
}
IMPORT = ["import-checkpoint", "--model", "their", "--dose", DOSE]


def recorded(legacy_run, name):
    return legacy_run / "results_p1e5" / "train_1024" / "trial_1" / "pinn_run" / name


@pytest.fixture
def checkpoint(tmp_path, legacy_run):
    """The real checkpoint of a legacy run, put where the study looks for it."""
    path = tmp_path / "data" / "inputs" / "runs" / "wts.h5.zip"
    path.parent.mkdir(parents=True)
    shutil.copy(recorded(legacy_run, "wts_variables_only.h5.zip"), path)
    return path


@pytest.fixture
def study(tiny_params):
    """Parameters of a study of small simulated datasets, which lie in the working directory."""
    params = tiny_params(STUDY)
    simulate.run(params, DOSE)
    return params


def test_an_imported_checkpoint_infers_and_is_evaluated(study, checkpoint, tmp_path):
    for command in (IMPORT, ["infer", *IMPORT[1:]], ["evaluate", *IMPORT[1:]]):
        assert main(command) == 0
    folder = layout.model("their", DOSE)
    assert {path.name for path in folder.iterdir()} == {
        "model.keras",
        "config.json",
        "history.json",
        "environment.json",
        "params.dill",
    }
    assert read_json(folder / "history.json") == []
    assert not layout.loss_curve("their", DOSE).exists()
    config = read_json(folder / "config.json")
    assert (config["model"], config["dose"], config["gridsize"]) == ("their", DOSE, 1)
    assert config["object_unit"] != 1
    numbers = read_json(layout.metrics("their", DOSE))
    for split in ("train", "test"):
        assert numbers[split]["amplitude"]["mae"] > 0 and numbers[split]["deviance_ratio"] > 1
        assert np.isfinite(read_reconstruction(layout.reconstruction("their", DOSE, split)).deviance).all()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_model_that_is_saved_predicts_what_the_checkpoint_does(study, checkpoint):
    import_checkpoint.run(study, "their", DOSE)
    dataset = RawDataFile(layout.dataset(DOSE, "test"))
    counts = counts_of(dataset.all_patterns(), 1e5)
    found, expected = (
        predict_patches(network, counts, mean_photons=1e5)
        for network in (
            load_model(layout.model("their", DOSE) / "model.keras"),
            load_legacy_weights(checkpoint, 64),
        )
    )
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(np.abs(found[:, 16:48, 16:48])) > 0.1


def test_a_checkpoint_that_is_missing_or_none_is_one_sentence(study, tmp_path):
    path = "data/inputs/runs/wts.h5.zip"
    with pytest.raises(UserError, match=f"^{path}: not found$"):
        import_checkpoint.run(study, "their", DOSE)
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"no zip at all")
    with pytest.raises(UserError, match=f"^{path}: not a complete zip file") as caught:
        import_checkpoint.run(study, "their", DOSE)
    assert "\n" not in str(caught.value)
    assert not layout.model("their", DOSE).exists()


def test_nothing_of_a_checkpoint_but_its_variables_is_read(study, checkpoint):
    """A pickle beside the variables, as legacy runs have them, is not even opened."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        archive.writestr("wts.h5_diffraction_to_obj/custom_objects.dill", b"cos\nsystem\n(S'exit 1'\ntR.")
    import_checkpoint.run(study, "their", DOSE)
    assert (layout.model("their", DOSE) / "model.keras").exists()


@pytest.mark.slow
def test_a_legacy_study_taken_over_with_its_checkpoint_gives_its_recorded_predictions(
    tiny_params, legacy_run, checkpoint, tmp_path
):
    """Files, units and network together: patterns 1024 to 1087 as the legacy pipeline saw them."""
    (tmp_path / "data" / "inputs" / "data_p1e5.npz").symlink_to(legacy_run / "data_p1e5.npz")
    files = {
        "simulate.source": "files",
        "simulate.files.path": "data_p{dose}.npz",
        "simulate.interpolation": "nearest",
        "simulate.splits": {"train": 1024, "test": 512, "unseen": 0},
    }
    params = tiny_params(STUDY | files)
    simulate.run(params, DOSE)
    for stage in (import_checkpoint, infer, evaluate):
        stage.run(params, "their", DOSE)

    dataset = RawDataFile(layout.dataset(DOSE, "test"))
    mean_photons = read_json(dataset.path.with_suffix(".json"))["dose"]["mean_photons"]
    network = load_model(layout.model("their", DOSE) / "model.keras")
    counts = counts_of(next(dataset.patterns(64)), 1e5)
    with np.load(recorded(legacy_run, "pred_patches_test_first64.npz")) as archive:
        expected = archive["obj"][..., 0]
    found = predict_patches(network, counts, mean_photons=mean_photons)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)

    # The whole object is about as good as the legacy pipeline found, which cut and aligned it otherwise.
    numbers = read_json(layout.metrics("their", DOSE))["test"]["amplitude"]
    legacy = json.loads(recorded(legacy_run, "metrics.json").read_text())["subpix"]
    assert numbers["scale_factor"] == pytest.approx(legacy["scale"], rel=0.03)
    assert numbers["psnr"] == pytest.approx(legacy["psnr_range"], abs=0.5)
    assert numbers["mae"] == pytest.approx(legacy["mae"], rel=0.05)
