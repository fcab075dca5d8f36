"""params.yaml: what is committed loads, and every mistake is answered with the file, the key and the rule."""

import re

import pytest

from ptychodose.config import load_params
from ptychodose.errors import UserError


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
        ("models", []),
        ("models", ["unet2"]),
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
        ("train.epochs", 20.0),
        ("train.learning_rate", "1e-3"),
        ("train.validation_fraction", 1.0),
        ("infer.batch_size", 0),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(write_params, key, value):
    assert f" {key}" in refusal(write_params({key: value}))


@pytest.mark.parametrize("key", ["sed", "train.epoch", "simulate.scan.jiter_fraction"])
def test_an_unknown_key_is_refused(write_params, key):
    assert f"{key}: unknown parameter" in refusal(write_params({key: 1}))


@pytest.mark.parametrize("key", ["doses", "train", "simulate.object.n_lines", "infer.kept_px"])
def test_a_missing_key_is_named(write_params, key):
    assert f"{key}: missing" in refusal(write_params({}, drop=[key]))


def test_every_mistake_is_named_at_once(write_params):
    message = refusal(write_params({"seed": -1, "train.epochs": 0}))
    assert "seed" in message and "train.epochs" in message


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
    message = refusal(write_params({"train.batch_size": 9, "simulate.splits.train": 8}))
    assert "train.batch_size must not exceed simulate.splits.train" in message


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_a_number_reads_as_a_number_with_or_without_a_point(with_line, text):
    assert load_params(with_line("learning_rate", text)).train.learning_rate == 0.001


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
        params.train.epochs = 1
