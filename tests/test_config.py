"""params.yaml: what is committed loads, and every mistake is answered with the file, the key and the rule."""

import re

import pytest

from ptychodose.config import load_params, parse_compare
from ptychodose.errors import UserError
from tests.conftest import TINY

LEGACY = {
    "kind": "legacy",
    "filters_scale": 1,
    "declared_dose": None,
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
}


@pytest.fixture
def with_line(tmp_path, committed_params):
    """Write the committed params.yaml with the text behind one key replaced, as a user types it."""

    def write(key, text):
        pattern = rf"(?m)^( *{key}:).*$"
        old = committed_params.read_text()
        assert len(re.findall(pattern, old)) == 1
        path = tmp_path / "params.yaml"
        path.write_text(re.sub(pattern, lambda match: f"{match[1]} {text}", old))
        return path

    return write


def refusal(path):
    with pytest.raises(UserError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_the_committed_parameters_load(committed_params):
    params = load_params(committed_params)
    assert params.splits() == ("train", "test", "unseen")
    assert all(float(dose) > 0 for dose in params.doses)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("seed", True),
        ("seed", 1.5),
        # Random keys are made of float64: 2**53 + 1 would draw what 2**53 draws, and 10**400 overflow.
        ("seed", 2**53 + 1),
        ("seed", 10**400),
        ("scenario", "../elsewhere"),
        ("ladder", []),
        ("ladder", "pinn"),
        ("models", ["pinn"]),
        ("models.pinn", {"kind": "pinn3"}),
        ("models.pinn", {"kind": None}),
        ("models.pinn.epochs", 20.0),
        ("models.pinn.gridsize", 3),
        ("models.pinn.learning_rate", "1e-3"),
        ("models.supervised.filters_scale", 0.0),
        ("models.supervised.batch_size", 0),
        ("models.legacy.filters_scale", 0.5),
        ("models.legacy.declared_dose", "much"),
        ("models.legacy.declared_dose", 1e9),
        ("extra", ["pinn-1e3"]),
        ("extra.pinn-gs2-1e4.dose", 1e4),
        ("imported", {"legacy-1e3": {"model": "legacy", "dose": "1e3", "checkpoint": None}}),
        ("replicates.seeds", [1, 0]),
        ("replicates.models", ["../pinn"]),
        ("simulate.size_px", 65),
        ("simulate.size_px", "64"),
        ("simulate.interpolation", "cubic"),
        ("simulate.splits.train", 0),
        ("simulate.splits.test", "yes"),
        ("simulate.geometry.wavelength_m", 0.0),
        ("simulate.geometry.detector_distance_m", float("inf")),
        ("simulate.object.n_lines", 400.0),
        ("simulate.object.max_phase_rad", float("nan")),
        ("simulate.probe.central_stop_fraction", 1.0),
        ("simulate.probe.defocus_m", float("nan")),
        ("simulate.scan.jitter_fraction", float("nan")),
        ("simulate.scan.kind", "spiral"),
        ("train.validation_fraction", 1.0),
        ("train.clip_norm", 0.0),
        ("train.precision", "float64"),
        ("train.devices", 0),
        ("infer.batch_size", 0),
        ("fit.max_iterations", 0),
        ("fit.tolerance", -1e-5),
        ("fit.held_out_fraction", 1.0),
        ("fit.weights", []),
        ("fit.weights", [1e-4, 0.0]),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(write_params, key, value):
    assert f" {key}" in refusal(write_params({key: value}))


@pytest.mark.parametrize(
    "key", ["sed", "train.epochs", "simulate.scan.jiter_fraction", "models.pinn.widht", "models.legacy.width"]
)
def test_an_unknown_key_is_refused(write_params, key):
    assert f"{key}: unknown parameter" in refusal(write_params({key: 1}))


@pytest.mark.parametrize(
    "key",
    ["doses", "train", "simulate.object.n_lines", "infer.kept_px", "models.pinn.stages", "replicates.seeds"],
)
def test_a_missing_key_is_named(write_params, key):
    assert f"{key}: missing" in refusal(write_params({}, drop=[key]))


def test_every_mistake_is_named_at_once(write_params):
    message = refusal(write_params({"seed": -1, "models.pinn.epochs": 0}))
    assert "seed: " in message and "models.pinn.epochs: " in message


@pytest.mark.parametrize("dose", ["1e5", "100000", "1.5e+5"])
def test_an_unquoted_dose_is_answered_with_how_to_write_it(with_line, dose):
    assert 'doses.1: write the dose in quotes, like "1e5"' in refusal(with_line("doses", f'["1e3", {dose}]'))


@pytest.mark.parametrize(
    "dose",
    ["0", "0e5", "-1e3", "nan", "inf", "1e400", "1e-400", "1E5", "", " 1e5", "1e5\n", "../1e5", "1_000"],
)
def test_what_is_no_positive_number_of_photons_is_refused(write_params, dose):
    assert "doses.0: a dose" in refusal(write_params({"doses": [dose]}))


@pytest.mark.parametrize("pair", [["1e5", "1e5"], ["1e5", "100000"], ["1.0e3", "1e+3"]])
def test_the_same_dose_twice_is_refused_however_it_is_spelled(write_params, pair):
    assert "doses holds the same dose twice" in refusal(write_params({"doses": pair}))


# --- models and what is done with them ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ladder": ["pinn", "unet"]}, "ladder names 'unet', which is not among models ['legacy', 'pinn']"),
        (
            {"extra": {"unet-1e3": {"model": "unet", "dose": "1e3"}}},
            "extra.unet-1e3 names 'unet', which is not among models ['legacy', 'pinn']",
        ),
        (
            {"imported": {"their-1e3": {"model": "their", "dose": "1e3", "checkpoint": "wts.h5.zip"}}},
            "imported.their-1e3 names 'their', which is not among models ['legacy', 'pinn']",
        ),
        (
            {"replicates": {"models": ["unet"], "doses": [], "seeds": []}},
            "replicates.models names 'unet', which is not among models ['legacy', 'pinn']",
        ),
        (
            {"extra": {"legacy-1e4": {"model": "legacy", "dose": "1e4"}}},
            "extra.legacy-1e4 asks for dose '1e4', which is not among doses ['1e3', '1e9']",
        ),
        (
            {"imported": {"legacy-1e4": {"model": "legacy", "dose": "1e4", "checkpoint": "wts.h5.zip"}}},
            "imported.legacy-1e4 asks for dose '1e4', which is not among doses ['1e3', '1e9']",
        ),
        (
            {"replicates": {"models": ["pinn"], "doses": ["1000"], "seeds": [1]}},
            "replicates.doses asks for dose '1000', which is not among doses ['1e3', '1e9']",
        ),
        (
            {"extra": {"legacy": {"model": "legacy", "dose": "1e3"}}},
            "extra.legacy must be called <model>-<dose>, here legacy-1e3",
        ),
        (
            {"imported": {"legacy-1e9": {"model": "legacy", "dose": "1e3", "checkpoint": "wts.h5.zip"}}},
            "imported.legacy-1e9 must be called <model>-<dose>, here legacy-1e3",
        ),
        (
            {"imported": {"pinn-1e3": {"model": "pinn", "dose": "1e3", "checkpoint": "wts.h5.zip"}}},
            "imported.pinn-1e3: only models of kind legacy can be imported",
        ),
        (
            {"extra": {"pinn-1e3": {"model": "pinn", "dose": "1e3"}}},
            "pinn at 1e3 is listed twice among ladder, extra and imported",
        ),
        ({"ladder": ["pinn", "pinn"]}, "pinn at 1e3 is listed twice among ladder, extra and imported"),
        (
            {
                "extra": {"legacy-1e3": {"model": "legacy", "dose": "1e3"}},
                "imported": {"legacy-1e3": {"model": "legacy", "dose": "1e3", "checkpoint": "wts.h5.zip"}},
            },
            "legacy at 1e3 is listed twice among ladder, extra and imported",
        ),
        (
            {
                "extra": {"legacy-1e3": {"model": "legacy", "dose": "1e3"}},
                "replicates": {"models": ["legacy"], "doses": ["1e3", "1e9"], "seeds": [1]},
            },
            "replicates: legacy is not trained at 1e9",
        ),
        (
            # What is imported is trained already, by somebody else.
            {
                "imported": {"legacy-1e3": {"model": "legacy", "dose": "1e3", "checkpoint": "wts.h5.zip"}},
                "replicates": {"models": ["legacy"], "doses": ["1e3"], "seeds": [1]},
            },
            "replicates: legacy is not trained at 1e3",
        ),
        (
            {"models.map": LEGACY, "models.ml": LEGACY},
            "models: map, ml: this name belongs to a fit; take another",
        ),
        ({"ladder": ["legacy"]}, "ladder must hold 'pinn', from whose predictions the refinement starts"),
    ],
)
def test_models_doses_and_runs_must_fit_together(write_params, values, message):
    assert refusal(write_params(TINY | {"models.legacy": LEGACY} | values)).endswith(message)


def test_runs_are_those_the_parameters_list(write_params):
    values = {
        "models.legacy": LEGACY,
        "models.their": LEGACY,
        "extra": {"legacy-1e9": {"model": "legacy", "dose": "1e9"}},
        "imported": {"their-1e3": {"model": "their", "dose": "1e3", "checkpoint": "wts.h5.zip"}},
        "replicates": {"models": ["pinn"], "doses": ["1e9"], "seeds": [1, 2]},
    }
    params = load_params(write_params(TINY | values))
    trained = [("pinn", "1e3"), ("pinn", "1e9"), ("legacy", "1e9")]
    assert params.trained_runs() == trained
    assert params.network_runs() == [*trained, ("their", "1e3")]
    fits = [(fit, dose) for fit in ("ml", "map", "pinn-refine") for dose in ("1e3", "1e9")]
    assert params.measured_runs() == [*trained, ("their", "1e3"), *fits]
    assert params.replicated_runs() == [("pinn", "1e9")]


def test_a_model_without_a_run_is_allowed(write_params):
    assert "legacy" in load_params(write_params(TINY | {"models.legacy": LEGACY})).models


# --- inference and datasets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_px", [21, 66])
def test_an_odd_or_too_large_kept_centre_is_refused(write_params, kept_px):
    assert "infer.kept_px must be even and at most" in refusal(write_params({"infer.kept_px": kept_px}))


@pytest.mark.parametrize(("size_px", "kept_px"), [(64, 20), (128, 40), (256, 80)])
def test_the_kept_centre_grows_with_the_patch(write_params, size_px, kept_px):
    params = load_params(write_params({"simulate.size_px": size_px, "infer.kept_px": None}))
    assert params.infer.kept(params.simulate.size_px) == kept_px


@pytest.mark.parametrize("section", ["object", "probe", "scan"])
def test_a_kind_file_without_a_path_is_refused(write_params, section):
    message = refusal(write_params({f"simulate.{section}.kind": "file"}))
    assert f"simulate: {section}.kind is file, so {section}.path must name one" in message


def test_an_object_file_needs_a_second_file_for_the_unseen_split(write_params):
    values = {"simulate.object.kind": "file", "simulate.object.path": "object.npz"}
    assert "object.unseen_path" in refusal(write_params(values))
    assert load_params(write_params({**values, "simulate.splits.unseen": 0})).splits() == ("train", "test")


def test_patterns_of_others_need_a_path_and_have_no_unseen_object(write_params):
    assert "files.path" in refusal(write_params({"simulate.source": "files"}))
    values = {"simulate.source": "files", "simulate.files.path": "{dose}.npz"}
    assert "splits.unseen must be 0" in refusal(write_params(values))


def test_a_batch_larger_than_the_training_set_is_refused(write_params):
    message = refusal(write_params(TINY | {"models.pinn.batch_size": 13}))
    assert "models.pinn.batch_size must not exceed simulate.splits.train" in message


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_a_number_reads_as_a_number_with_or_without_a_point(with_line, text):
    assert load_params(with_line("clip_norm", text)).train.clip_norm == 0.001


@pytest.mark.parametrize(
    "content",
    [b"", b"- 1\n", b"seed: [1\n", b"seed: 1\nseed: 2\n", b"a: \xff\xfe\n", b"seed: !!python/tuple [1]\n"],
)
def test_what_is_no_parameter_tree_is_refused(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    refusal(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    assert "not found; run from the top of the repository" in refusal(tmp_path / "params.yaml")


def test_parameters_cannot_be_changed_after_loading(committed_params):
    params = load_params(committed_params)
    with pytest.raises(ValueError, match="frozen"):
        params.train.devices = 2


# --- how far apart two studies may be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("compare.seed_ranges", -1.0, "compare.seed_ranges: input should be greater than or equal to 0"),
        ("compare.least", {"psn": 0.1}, "compare.least.psn: no such metric to compare; there are ms_ssim, "),
        (
            "compare.least",
            {"psnr": -0.1},
            "compare.least.psnr: a tolerance is a number from 0 on, or a share",
        ),
        ("compare.least", {"psnr": "1 %"}, "like \"1%\" (got '1 %')"),
        ("compare.least", {"psnr": True}, 'like "1%" (got True)'),
        ("compare.least", {"psnr": float("nan")}, 'like "1%" (got nan)'),
        ("compare.overrides", {"pinn": {"psnr": 1.0}}, 'write model/dose, model/* or */*, like "pinn/1e9"'),
        ("compare.overrides", {"*/1e5": {"psnr": 1.0}}, 'write model/dose, model/* or */*, like "pinn/1e9"'),
        (
            "compare.overrides",
            {"pin/1e9": {"psnr": 1.0}},
            "compare.overrides names 'pin', which is not among",
        ),
    ],
)
def test_a_wrong_tolerance_is_refused(write_params, key, value, message):
    assert message in refusal(write_params({key: value}))


def test_tolerances_are_numbers_or_shares_of_metrics_in_full_or_of_both_parts(write_params):
    amounts = {"psnr": 1, "amplitude.psnr": 0.5, "control": "1e-4%", "control.ssim": 0.0}
    overrides = {"pinn/1e9": amounts, "ml/*": amounts, "*/*": {}}
    compare = load_params(write_params({"compare.least": amounts, "compare.overrides": overrides})).compare
    assert compare.least == amounts and compare.overrides == overrides


def test_the_tolerances_of_another_study_are_read_whatever_else_its_version_has():
    section = b"compare: {seed_ranges: 1.0, least: {mse: 2%}, overrides: {}}\nrenamed: 1\n"
    found = parse_compare(section, "old: params.yaml")
    assert found is not None and found.least == {"mse": "2%"}
    assert parse_compare(b"seed: 1\n", "old: params.yaml") is None
    with pytest.raises(UserError, match=r"^old: params.yaml: compare.least: missing"):
        parse_compare(b"compare: {seed_ranges: 1.0, overrides: {}}", "old: params.yaml")
