"""The supervised baseline sees patterns alone, and its error counts where the probe shines."""

import keras
import numpy as np
import pytest
from keras import ops

from ptychodose.formats.checkpoints import load_model, save_model
from ptychodose.networks.supervised import IlluminatedError, build_supervised
from ptychodose.networks.training import FixedPairs, train_epoch
from ptychodose.physics.probes import gaussian


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    return build_supervised(64, filters_scale=1 / 16)


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_patterns_of_every_size_give_amplitude_and_phase(size_px, rng):
    network = build_supervised(size_px, filters_scale=1 / 16)
    assert network.output_shape == (None, size_px, size_px, 2)
    assert network.output.dtype == "float32"


@pytest.mark.parametrize(("scale", "filters"), [(1.0, [32, 64, 128]), (0.5, [16, 32, 64])])
def test_the_scale_multiplies_the_filters(scale, filters):
    layers = [layer for layer in build_supervised(64, filters_scale=scale).layers if "conv2d" in layer.name]
    widths = [layer.filters for layer in layers]
    assert widths[:6] == [count for count in filters for _ in range(2)]
    assert set(widths) == {*filters, 1} and widths.count(1) == 2


def test_the_output_is_not_bounded(network, rng):
    """Amplitudes of a gain that is estimated may exceed 1, and the baseline knows no scale of its own."""
    x = rng.exponential(0.5, (2, 64, 64, 1)).astype(np.float32)
    found = np.stack([network.predict_on_batch(scale * x) for scale in (1, 100)])
    assert np.abs(found[1]).max() > 10 * np.abs(found[0]).max()


def test_the_error_is_the_mean_over_the_illumination(rng):
    probe = gaussian(16, fwhm_px=5.0) * np.exp(1j * rng.uniform(-1, 1, (16, 16)))
    true, predicted = (rng.normal(size=(3, 16, 16, 2)) for _ in range(2))
    weight = np.abs(probe) / np.abs(probe).sum()
    expected = np.mean(np.sum(weight[..., None] * np.abs(true - predicted), axis=(1, 2, 3)))
    loss = IlluminatedError(probe)
    assert float(loss(true.astype(np.float32), predicted.astype(np.float32))) == pytest.approx(
        expected, rel=1e-5
    )
    # Amplitudes that are all wrong by 0.3 and phases by 0.2 have that error, whatever the probe's scale.
    off = (true + np.array([0.3, -0.2])).astype(np.float32)
    for scaled in (loss, IlluminatedError(7 * probe)):
        assert float(scaled(true.astype(np.float32), off)) == pytest.approx(0.5, rel=1e-5)


def test_an_error_in_the_dark_costs_nothing(rng):
    probe = np.zeros((16, 16), complex)
    probe[4:12, 4:12] = 1j
    true = rng.normal(size=(1, 16, 16, 2)).astype(np.float32)
    wrong = np.where(np.abs(probe)[None, ..., None] > 0, true, true + 5).astype(np.float32)
    assert float(IlluminatedError(probe)(true, wrong)) == 0


def test_it_learns(network, rng):
    probe = gaussian(64, fwhm_px=20.0)
    x = rng.exponential(0.5, (8, 64, 64, 1)).astype(np.float32)
    truth = np.broadcast_to(np.array([0.7, -0.4], np.float32), (8, 64, 64, 2))
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss=IlluminatedError(probe))
    losses = [train_epoch(network, FixedPairs(x, truth, 4, 0), epoch, lambda _: None) for epoch in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_saved_network_predicts_the_same(network, rng, tmp_path):
    x = ops.convert_to_numpy(rng.exponential(0.5, (2, 64, 64, 1))).astype(np.float32)
    save_model(network, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))
