"""The legacy network predicts what the legacy pipeline recorded."""

from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats.checkpoints import load_model, save_model
from ptychodose.formats.legacy_checkpoint import load_legacy_weights
from ptychodose.networks.legacy import build_pinn_legacy, network_of_variables
from ptychodose.networks.legacy_training import intensity_scale, legacy_probe
from ptychodose.networks.pinn import rate_model

PATH = Path("wts.h5.zip")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build_pinn_legacy(64, n_filters_scale=1)


@pytest.fixture
def variables(network):
    """The weights of a network under the names of a checkpoint, found by their distance from the output."""
    return variables_of(network)


def variables_of(network):
    names = [f"encoder_{level}{ab}" for level in "12345" for ab in "ab"]
    steps = [f"{level}{ab}" for level in "1234" for ab in "ab"] + ["frame_a", "frame_b", "frame", "centre"]
    names += [f"{part}_{step}" for step in steps for part in ("amplitude", "phase")]
    present = {layer.name for layer in network.layers}
    layers = [network.get_layer(name) for name in names if name in present]
    return {
        f"layer_with_weights-{i}/{kind}": array
        for i, layer in enumerate(layers)
        for kind, array in zip(("kernel", "bias"), layer.get_weights(), strict=True)
    }


def patterns(size_px=64, n=2):
    return np.random.default_rng(3).exponential(0.3, (n, size_px, size_px, 1)).astype(np.float32)


def legacy_folder(legacy_run):
    return legacy_run / "results_p1e5" / "train_1024" / "trial_1" / "pinn_run"


@pytest.fixture
def legacy_test_input(legacy_run):
    """The first 64 of the 512 patterns of the test set, normalised over all 512."""
    with np.load(legacy_run / "data_p1e5.npz") as data:
        diff3d = data["diff3d"][1024:].astype(np.float64)
    scale = 32 / np.sqrt(np.mean(np.sum(diff3d**2, axis=(1, 2))))
    return (diff3d[:64] * scale).astype(np.float32)[..., None]


def test_recorded_predictions_are_reproduced(legacy_run, legacy_test_input, tmp_path):
    network = load_legacy_weights(legacy_folder(legacy_run) / "wts_variables_only.h5.zip", 64)
    with np.load(legacy_folder(legacy_run) / "pred_patches_test_first64.npz") as recorded:
        expected = recorded["obj"][..., 0]
    found = network.predict_on_batch(legacy_test_input)
    assert found.dtype == np.float32
    complex_found = found[..., 0] * np.exp(1j * found[..., 1])
    np.testing.assert_allclose(complex_found, expected, rtol=0, atol=1e-5)

    save_model(network, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(legacy_test_input), found)


def test_recorded_loss_is_that_of_the_legacy_probe_scale(legacy_run, legacy_test_input):
    """Legacy losses are Poisson likelihoods with log n!; the test patterns are as likely as validation's."""
    from scipy.special import gammaln

    network = load_legacy_weights(legacy_folder(legacy_run) / "wts_variables_only.h5.zip", 64)
    with np.load(legacy_run / "data_p1e5.npz") as data:
        network.get_layer("probe").set_probe(legacy_probe(data["probeGuess"]), mean_exit_energy=1.0)
    photons = intensity_scale(1e5, 64) ** 2
    rates = photons * rate_model(network).predict_on_batch(legacy_test_input).astype(np.float64)
    counts = photons * legacy_test_input.astype(np.float64) ** 2
    loss = np.mean(np.sum(rates - counts * np.log(rates) + gammaln(counts + 1), axis=(1, 2, 3)))
    assert loss == pytest.approx(9328.05, rel=0.05)  # val_loss of the last epoch in history.json


def test_a_saved_network_predicts_the_same(network, tmp_path):
    network.get_layer("probe").set_probe(np.full((64, 64), 1 + 2j), mean_exit_energy=1.0)
    save_model(network, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    x = patterns()
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))
    np.testing.assert_array_equal(
        rate_model(again).predict_on_batch(x), rate_model(network).predict_on_batch(x)
    )


@pytest.mark.parametrize(
    ("size_px", "encoder", "decoder"),
    [
        (64, [32, 64, 128], [64, 32]),
        (128, [16, 32, 64, 128], [64, 32, 16]),
        (256, [8, 16, 32, 64, 128], [64, 32, 16, 8]),
    ],
)
def test_filters_and_output_of_every_size(size_px, encoder, decoder):
    network = build_pinn_legacy(size_px, n_filters_scale=2)
    for part, filters in (("encoder", encoder), ("amplitude", decoder), ("phase", decoder)):
        for level, n in enumerate(filters, start=1):
            for ab in "ab":
                assert network.get_layer(f"{part}_{level}{ab}").filters == 2 * n
    output = network.predict_on_batch(patterns(size_px, 1))
    assert output.shape == (1, size_px, size_px, 2)
    quarter = size_px // 4
    centre = output[0, quarter:-quarter, quarter:-quarter]
    assert 0 < centre[..., 0].min() and centre[..., 0].max() < 1
    assert np.abs(centre[..., 1]).max() < np.pi
    assert network.layers[-1].name == "object"


def test_centre_and_frame_come_from_their_own_branches():
    network = build_pinn_legacy(64, n_filters_scale=1)
    for layer in network.layers:
        if layer.name.endswith(("_centre", "_frame")):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    for name, value in (("amplitude_centre", 1.0), ("phase_centre", 0.5), ("amplitude_frame", -1.0)):
        kernel, bias = network.get_layer(name).get_weights()
        network.get_layer(name).set_weights([kernel, bias + value])
    output = network.predict_on_batch(patterns())
    expected = np.zeros((64, 64, 2))
    expected[..., 0] = -1 / (1 + np.e)  # SiLU of -1
    expected[16:48, 16:48] = 1 / (1 + np.exp(-1)), np.pi * np.tanh(0.5)
    np.testing.assert_allclose(output, np.stack([expected, expected]), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_output_is_float32_under_any_precision(dtype):
    keras.config.set_dtype_policy(keras.DTypePolicy(f"mixed_{dtype}" if dtype != "float32" else dtype))
    try:
        network = build_pinn_legacy(64, n_filters_scale=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.output.dtype == "float32"


@pytest.mark.parametrize(("size_px", "n_filters_scale"), [(64, 2), (128, 1), (256, 1)])
def test_size_and_scale_are_recovered_from_variables(size_px, n_filters_scale):
    keras.utils.set_random_seed(1)
    network = build_pinn_legacy(size_px, n_filters_scale=n_filters_scale)
    again = network_of_variables(variables_of(network), size_px, PATH)
    x = patterns(size_px, 1)
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))


def test_decoders_that_are_not_documented_are_taken_from_the_variables():
    variables = {}
    chain = [1, 16, 16, 32, 32, 64, 64, 128, 128]
    shapes = list(pairwise(chain))
    decoder = [128, 128, 128, 64, 64, 32, 32]
    steps = [*pairwise(decoder), (4, 32), (32, 32), (32, 1), (28, 1)]
    shapes += [step for step in steps for _ in range(2)]
    for i, (n_in, n_out) in enumerate(shapes):
        variables[f"layer_with_weights-{i}/kernel"] = np.zeros((3, 3, n_in, n_out), np.float32)
        variables[f"layer_with_weights-{i}/bias"] = np.zeros(n_out, np.float32)
    network = network_of_variables(variables, 128, PATH)
    assert [network.get_layer(f"phase_{level}b").filters for level in (1, 2, 3)] == [128, 64, 32]


def refusal(variables, size_px=64):
    with pytest.raises(UserError) as caught:
        network_of_variables(variables, size_px, PATH)
    assert str(caught.value).startswith("wts.h5.zip: ")
    return str(caught.value)


def test_missing_and_foreign_variables_are_refused(variables):
    extra = np.zeros(3, np.float32)
    assert "optimizer/lr: not a variable" in refusal(variables | {"optimizer/lr": extra})
    assert "layer_with_weights-22/kernel: not a" in refusal(
        variables | {"layer_with_weights-22/kernel": extra}
    )
    assert "layer_with_weights-22/kernel: missing" in refusal(variables, size_px=128)
    del variables["layer_with_weights-21/bias"]
    assert "layer_with_weights-21/bias: missing" in refusal(variables)
    assert "layer_with_weights-0/kernel: missing" in refusal({})


@pytest.mark.parametrize("name", ["layer_with_weights-0/kernel", "layer_with_weights-21/bias"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 3, 1, 5)])
def test_a_wrong_shape_is_refused_with_both_shapes(variables, name, shape):
    expected = variables[name].shape
    message = refusal(variables | {name: np.zeros(shape, np.float32)})
    assert f"{name}: shape {shape}" in message
    assert str(expected) in message


def test_a_bias_that_claims_a_huge_network_is_refused_before_it_is_built(variables):
    many = np.zeros(32 * 10**5, np.float32)
    assert "layer_with_weights-0/kernel: shape" in refusal(variables | {"layer_with_weights-0/bias": many})


def test_an_unknown_size_or_scale_is_refused(variables):
    with pytest.raises(UserError, match="size_px is 96"):
        build_pinn_legacy(96, n_filters_scale=1)
    with pytest.raises(UserError, match="n_filters_scale is 0"):
        build_pinn_legacy(64, n_filters_scale=0)
    with pytest.raises(UserError, match="size_px is 32"):
        network_of_variables(variables, 32, PATH)
