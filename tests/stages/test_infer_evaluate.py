"""From patches to numbers: the chain adds nothing of its own, keeps amplitudes, says what it cannot say."""

import json

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json, write_json
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.formats.reconstruction import read_reconstruction, write_reconstruction
from ptychodose.metrics.definitions import DEFINITIONS
from ptychodose.physics.diffraction import cut_patches
from ptychodose.physics.thinning import counts_of
from ptychodose.stages import evaluate, fit, infer, layout, report, simulate, train

DOSE = "1e5"
SMALL = {
    "doses": [DOSE],
    "simulate.scan.kind": "raster",
    "simulate.splits": {"train": 16, "test": 6, "unseen": 6},
    "infer.batch_size": 4,
    "infer.kept_px": 40,
}
NO_UNSEEN = {"simulate.splits": {"train": 16, "test": 6, "unseen": 0}}
REAL_SIZE = {
    "simulate.object.size_px": 232,
    "simulate.object.n_lines": 400,
    "simulate.splits": {"train": 256, "test": 256, "unseen": 0},
    "infer.kept_px": None,
    "infer.batch_size": 32,
}
# Reported for one of the two quantities, or for the pair of them.
NOT_OF_BOTH = {"rms_rad", "amplitude_bias", "deviance_ratio"}


@pytest.fixture
def study(tiny_params):
    """Parameters of a small study whose datasets lie in the working directory."""

    def load(values=None):
        params = tiny_params(SMALL | (values or {}))
        for dose in params.doses:
            simulate.run(params, dose)
        return params

    return load


def pretend_to_infer(params, patches_of, dose=DOSE, object_unit=1.0):
    """Stitch and write what ``patches_of(dataset, rows)`` returns, as if a network had predicted it."""
    for split in params.splits():
        dataset = RawDataFile(layout.dataset(dose, split))
        write_reconstruction(
            layout.reconstruction("pinn", dose, split),
            infer.reconstruct(
                dataset.scan,
                predictions_of(dataset, patches_of, dose, params.infer.batch_size),
                title="truth",
                gain_squared=facts_of(split, dose)["gain_squared"],
                object_unit=object_unit,
                kept_px=params.infer.kept(dataset.scan.size_px),
            ),
        )


def predictions_of(dataset, patches_of, dose=DOSE, batch_size=4):
    """Rows, counts and patches of the patterns, a few at a time."""
    first = 0
    for patterns in dataset.patterns(batch_size):
        rows = np.arange(first, first + len(patterns))
        yield rows, counts_of(patterns, float(dose)), patches_of(dataset, rows)
        first += len(patterns)


def true_patches(dataset, rows):
    scan = dataset.scan
    return cut_patches(scan.obj, scan.x[rows], scan.y[rows], scan.size_px, "bilinear")


def facts_of(split, dose=DOSE):
    return read_json(layout.dataset(dose, split).with_suffix(".json"))


def reconstructed(split, dose=DOSE):
    return read_reconstruction(layout.reconstruction("pinn", dose, split))


def metrics_of(dose=DOSE):
    """The metrics and their record, refusing what is no JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} in a JSON file")

    return tuple(
        json.loads(path("pinn", dose).read_text(), parse_constant=refuse)
        for path in (layout.metrics, layout.record)
    )


def nulls_without_reason(numbers, record):
    """Names of metrics that are null although the record of their quantity gives no reason.

    A reason may stand under the first word of several names: frc for frc50, shift_px for shift_y_px.
    """
    reasons = {reason.removesuffix("_px") for reason in record["undefined"]}
    return [
        name
        for name, value in numbers.items()
        if value is None and not any(name.startswith(reason) for reason in reasons)
    ]


# --- the true patches: what the chain itself does ---------------------------------------------------------


def test_true_patches_come_out_as_the_truth_at_the_noise_limit(study):
    """The control of the whole chain: stitching, region, alignment and metrics on a scene of real size."""
    params = study(REAL_SIZE)
    pretend_to_infer(params, true_patches)
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    for split in ("train", "test"):
        found = numbers[split]
        assert found["amplitude"]["ms_ssim"] >= 0.999
        assert found["phase"]["ms_ssim"] >= 0.999
        assert found["phase"]["rms_rad"] < 0.02
        assert abs(found["amplitude"]["shift_y_px"]) < 0.1 and abs(found["amplitude"]["shift_x_px"]) < 0.1
        assert abs(found["amplitude_bias"]) < 1e-3
        assert found["deviance_ratio"] == pytest.approx(1, abs=1e-9)
        assert not found["collapsed"]
        # The control that is recorded beside every reconstruction is this very one.
        for name, value in found["control"].items():
            assert value == pytest.approx(found["amplitude"][name], abs=1e-6)
        assert record["splits"][split]["region"]["share_of_covered"] > 0.8


def test_patches_one_pixel_off_are_seen_as_a_shift_and_explain_the_photons_worse(study):
    params = study(REAL_SIZE)
    pretend_to_infer(params, lambda dataset, rows: np.roll(true_patches(dataset, rows), 1, axis=1))
    evaluate.run(params, "pinn", DOSE)
    numbers, _ = metrics_of()
    assert numbers["train"]["amplitude"]["shift_y_px"] == pytest.approx(-1, abs=0.1)
    assert numbers["train"]["amplitude"]["shift_x_px"] == pytest.approx(0, abs=0.1)
    assert numbers["train"]["deviance_ratio"] > 1.1
    assert abs(numbers["train"]["control"]["shift_y_px"]) < 0.1


def test_the_amplitude_bias_is_the_one_put_in_and_leaves_the_scaled_metrics_alone(study):
    params = study(NO_UNSEEN)
    found = []
    for factor in (1.0, 0.9):
        pretend_to_infer(params, lambda dataset, rows, factor=factor: factor * true_patches(dataset, rows))
        evaluate.run(params, "pinn", DOSE)
        found.append(metrics_of()[0]["train"])
    assert found[1]["amplitude_bias"] - found[0]["amplitude_bias"] == pytest.approx(-0.1, abs=1e-3)
    assert found[1]["amplitude"]["psnr"] == pytest.approx(found[0]["amplitude"]["psnr"], abs=1e-3)
    assert found[1]["deviance_ratio"] > 1.1


def test_patches_in_units_of_their_own_explain_the_photons_all_the_same(study):
    """A legacy network's amplitudes are those of its probe: twice the probe, half the object."""
    params = study(NO_UNSEEN)
    found = []
    for unit in (1.0, 2.0):
        pretend_to_infer(
            params, lambda dataset, rows, unit=unit: true_patches(dataset, rows) / unit, object_unit=unit
        )
        evaluate.run(params, "pinn", DOSE)
        found.append(metrics_of()[0]["train"])
    assert found[1]["deviance_ratio"] == pytest.approx(1, abs=1e-9)
    # The object itself is shown as it was predicted: its bias is the unit.
    assert found[1]["amplitude_bias"] == pytest.approx((1 + found[0]["amplitude_bias"]) / 2 - 1, abs=1e-3)
    assert found[1]["amplitude"]["psnr"] == pytest.approx(found[0]["amplitude"]["psnr"], abs=1e-3)


def test_a_pattern_that_is_predicted_twice_has_the_mean_deviance(study):
    """As networks of groups do: every pattern comes in several groups, in any order."""
    study(NO_UNSEEN)
    dataset = RawDataFile(layout.dataset(DOSE, "train"))

    def deviance(*predictors):
        predictions = [
            prediction for patches_of in predictors for prediction in predictions_of(dataset, patches_of)
        ]
        return infer.reconstruct(
            dataset.scan,
            reversed(predictions),
            title="twice",
            gain_squared=facts_of("train")["gain_squared"],
            object_unit=1.0,
            kept_px=20,
        )

    def flat(dataset, rows):
        return np.full_like(true_patches(dataset, rows), 0.5)

    once, other, both = deviance(true_patches), deviance(flat), deviance(true_patches, flat)
    np.testing.assert_allclose(both.deviance, (once.deviance + other.deviance) / 2, rtol=1e-12)
    np.testing.assert_allclose(both.stitched.obj, (once.stitched.obj + other.stitched.obj) / 2, atol=1e-12)


def test_a_flat_reconstruction_is_called_collapsed(study):
    params = study(NO_UNSEEN)
    pretend_to_infer(params, lambda dataset, rows: np.full_like(true_patches(dataset, rows), 0.5))
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    assert numbers["train"]["collapsed"] is True
    assert nulls_without_reason(numbers["train"]["amplitude"], record["splits"]["train"]["amplitude"]) == []


# --- a trained network ------------------------------------------------------------------------------------


def uniform_objects(tmp_path, transmission, unseen):
    """Input files of two uniform objects, with a phase that must not matter."""
    folder = tmp_path / "data" / "inputs"
    folder.mkdir(parents=True)
    for name, value in (("seen", transmission), ("unseen", unseen)):
        np.savez(folder / f"{name}.npz", objectGuess=np.full((80, 80), value, dtype=complex))
    return {
        "simulate.object.kind": "file",
        "simulate.object.path": "seen.npz",
        "simulate.object.unseen_path": "unseen.npz",
    }


@pytest.mark.parametrize(("transmission", "unseen"), [(0.5, 0.8), (0.9, 0.3)])
def test_absolute_amplitudes_hold_for_a_set_of_another_flux(study, tmp_path, transmission, unseen):
    """An untrained network predicts the uniform object of the flux it sees, which is exact for uniform
    objects: what is left to go wrong is the scale between two sets.
    """
    params = study(uniform_objects(tmp_path, transmission, unseen) | {"models.pinn.learning_rate": 1e-12})
    train.run(params, "pinn", DOSE)
    infer.run(params, "pinn", DOSE)
    for split, truth in (("train", transmission), ("test", transmission), ("unseen", unseen)):
        stitched = reconstructed(split).stitched
        amplitude = np.abs(stitched.obj[stitched.weight > 0])
        assert amplitude.mean() == pytest.approx(truth, rel=0.01), split
        scale = read_json(layout.reconstruction("pinn", DOSE, split).with_suffix(".json"))["amplitude_scale"]
        assert scale == pytest.approx(truth / transmission, rel=0.01)
    # Uniform objects have nothing to compare: all the same the numbers are there, or null with a reason.
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    for split in params.splits():
        assert numbers[split]["amplitude_bias"] == pytest.approx(0, abs=0.01)
        assert numbers[split]["amplitude"]["psnr"] is None
        assert numbers[split]["collapsed"] is True
        for quantity in ("amplitude", "phase"):
            assert nulls_without_reason(numbers[split][quantity], record["splits"][split][quantity]) == []


def test_the_batch_size_of_inference_changes_nothing(study):
    params = study()
    train.run(params, "pinn", DOSE)
    found = []
    for batch_size in (1, 4, 5, 32):
        infer.run(
            params.model_copy(update={"infer": params.infer.model_copy(update={"batch_size": batch_size})}),
            "pinn",
            DOSE,
        )
        found.append({split: reconstructed(split) for split in params.splits()})
    for other in found[1:]:
        for split in params.splits():
            first, second = found[0][split], other[split]
            assert np.abs(first.stitched.obj - second.stitched.obj).max() < 1e-6
            np.testing.assert_array_equal(first.stitched.weight, second.stitched.weight)
            np.testing.assert_allclose(first.deviance, second.deviance, rtol=1e-5)


def test_every_metric_of_the_table_is_reported_for_every_split_or_null_with_a_reason(study):
    params = study({"simulate.object.size_px": 120, "infer.kept_px": 20})
    train.run(params, "pinn", DOSE)
    infer.run(params, "pinn", DOSE)
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    assert list(numbers) == ["train", "test", "unseen"]
    assert set(record["definitions"]) == set(DEFINITIONS)
    for split, found in numbers.items():
        for quantity in ("amplitude", "phase"):
            assert set(DEFINITIONS) - NOT_OF_BOTH <= set(found[quantity])
            assert nulls_without_reason(found[quantity], record["splits"][split][quantity]) == []
            assert record["splits"][split][quantity]["alignment"]
            assert record["splits"][split][quantity]["data_range"] > 0
        assert {"rms_rad"} <= set(found["phase"])
        assert found["amplitude_bias"] is not None and found["deviance_ratio"] > 0
        assert found["collapsed"] in (True, False)
        assert (layout.figures("pinn", DOSE) / f"{split}.png").stat().st_size > 0
    # The same stages again: the same bytes.
    before = [path("pinn", DOSE).read_bytes() for path in (layout.metrics, layout.record)]
    evaluate.run(params, "pinn", DOSE)
    assert [path("pinn", DOSE).read_bytes() for path in (layout.metrics, layout.record)] == before


# --- what cannot be said ----------------------------------------------------------------------------------


def test_a_phase_that_is_constant_gives_null_with_a_reason(study):
    params = study({"simulate.object.kind": "lines"} | NO_UNSEEN)
    noise = np.random.default_rng(3)

    def slightly_wrong(dataset, rows):
        patches = true_patches(dataset, rows)
        return patches * np.exp(0.1j * noise.normal(size=patches.shape))

    pretend_to_infer(params, slightly_wrong)
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    for split in ("train", "test"):
        phase, reasons = numbers[split]["phase"], record["splits"][split]["phase"]["undefined"]
        for name in ("psnr", "ssim", "ms_ssim", "pearson"):
            assert phase[name] is None
            assert "constant" in reasons[name]
        assert phase["frc50"] is None and "constant" in reasons["frc50"]
        # An error of a constant is still an error.
        assert phase["rms_rad"] > 0 and phase["mae"] > 0
        assert numbers[split]["amplitude"]["pearson"] > 0.9


def test_an_estimated_gain_leaves_the_amplitude_bias_undefined(study):
    params = study(NO_UNSEEN)
    for split in params.splits():
        write_json(
            layout.dataset(DOSE, split).with_suffix(".json"),
            facts_of(split) | {"gain_origin": "estimated: as if the object were transparent"},
        )
    pretend_to_infer(params, true_patches)
    evaluate.run(params, "pinn", DOSE)
    numbers, record = metrics_of()
    for split in params.splits():
        assert numbers[split]["amplitude_bias"] is None
        assert "estimated" in record["splits"][split]["amplitude"]["undefined"]["amplitude_bias"]
        assert numbers[split]["amplitude"]["pearson"] > 0.9


def test_patterns_without_a_truth_go_all_the_way_with_no_image_metrics_and_a_reason(tiny_params, tmp_path):
    """An experiment: files of another writer, no objectGuess, gain estimated."""
    made = tiny_params(SMALL | {"simulate.splits.train": 22})
    simulate.run(made, DOSE)
    with np.load(layout.dataset(DOSE, "train")) as archive:
        members = {key: archive[key] for key in archive.files if key != "objectGuess"}
    folder = tmp_path / "data" / "inputs"
    folder.mkdir(parents=True)
    np.savez(folder / "experiment.npz", **members)
    files = {
        "simulate.source": "files",
        "simulate.files.path": "experiment.npz",
        "fit.max_iterations": 2,
        "fit.weights": [1e-4],
    }
    params = tiny_params(SMALL | files | NO_UNSEEN)
    simulate.run(params, DOSE)
    assert facts_of("train")["gain_origin"].startswith("estimated")
    for stage in (train, infer, evaluate):
        stage.run(params, "pinn", DOSE)
    for name in params.fits:
        for stage in (fit, evaluate):
            stage.run(params, name, DOSE)
    report.run(params)
    numbers, record = metrics_of()
    for split in ("train", "test"):
        assert not numbers[split].get("amplitude") and numbers[split].get("amplitude_bias") is None
        assert "holds no objectGuess" in record["splits"][split]["undefined"]["all"]
        assert np.isfinite(reconstructed(split).stitched.obj).all()
        assert (layout.figures("pinn", DOSE) / f"{split}.png").exists()
        curve = (layout.CURVES / f"pinn-{split}.csv").read_text().splitlines()
        assert len(curve) == 2 and curve[1].strip(",") == "5.0"


def test_a_reconstruction_that_is_not_finite_is_refused_in_one_sentence(study, monkeypatch, tmp_path):
    params = study(NO_UNSEEN)
    train.run(params, "pinn", DOSE)

    def nothing(_network, counts, **_):
        return np.full(counts.shape, np.nan, dtype=complex)

    monkeypatch.setattr(infer, "predict_patches", nothing)
    with pytest.raises(UserError, match="finite"):
        infer.run(params, "pinn", DOSE)
    assert not layout.reconstruction("pinn", DOSE, "train").parent.exists()
    assert not list(tmp_path.rglob("*.partial"))
