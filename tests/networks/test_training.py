"""What a training sees depends on seed and epoch alone; a network starts from the uniform object."""

import keras
import numpy as np
import pytest

from ptychodose.formats.checkpoints import load_model, save_model
from ptychodose.networks.pinn import build_pinn, rate_model
from ptychodose.networks.prediction import predict_patches
from ptychodose.networks.training import (
    PhotonHalves,
    compile_for_training,
    train_epoch,
    validation_loss,
)
from ptychodose.physics.photons import draw_counts
from ptychodose.physics.probes import gaussian
from ptychodose.physics.randomness import philox_key

DOSE = 1e4


@pytest.fixture(scope="module")
def patterns():
    rates = np.random.default_rng(1).uniform(0, 2 * DOSE / 64**2, (24, 64, 64))
    return np.sqrt(draw_counts(rates, philox_key("test"), 0) / DOSE).astype(np.float32)


def halves(patterns, **changes):
    return PhotonHalves(
        patterns, **{"dose_photons": DOSE, "mean_photons": DOSE, "batch_size": 8, "seed": 3} | changes
    )


def epoch_of(dataset, epoch=0):
    return [dataset.batch(epoch, step) for step in range(dataset.steps)]


def test_input_is_normalised_and_target_is_the_other_half(patterns):
    seen, target = map(np.concatenate, zip(*epoch_of(halves(patterns)), strict=True))
    assert np.mean(np.sum(seen**2, axis=(1, 2, 3))) == pytest.approx(32**2, rel=0.02)
    assert np.mean(np.sum(target, axis=(1, 2, 3))) == pytest.approx(1, rel=0.02)


def test_halves_of_a_batch_add_up_to_whole_patterns(patterns):
    seen, target = halves(patterns, batch_size=24).batch(0, 0)
    scale = 32 / np.sqrt(DOSE / 2)
    total = np.rint((seen / scale) ** 2) + np.rint(target * DOSE / 2)
    counts = np.rint(patterns.astype(np.float64) ** 2 * DOSE)
    np.testing.assert_array_equal(np.sort(total.sum(axis=(1, 2, 3))), np.sort(counts.sum(axis=(1, 2))))


def test_every_pattern_is_seen_once_an_epoch_and_epochs_differ(patterns):
    dataset = halves(patterns, batch_size=6)
    first, second = epoch_of(dataset, 0), epoch_of(dataset, 1)
    assert len(first) == 4
    totals = [np.sort(np.concatenate([t for _, t in epoch]).sum(axis=(1, 2, 3))) for epoch in (first, second)]
    assert not np.array_equal(totals[0], totals[1])
    assert not np.array_equal(first[0][0], second[0][0])


def test_training_in_one_go_and_epoch_by_epoch_gives_the_same_weights(patterns):
    def trained():
        keras.utils.set_random_seed(0)
        network = build_pinn(64, width=2, stages=1)
        network.get_layer("probe").set_probe(gaussian(64, fwhm_px=20.0), mean_exit_energy=2.0)
        model = rate_model(network)
        compile_for_training(
            model, dose_photons=DOSE, learning_rate=1e-3, warmup_fraction=0.1, clip_norm=1.0, total_steps=6
        )
        losses = [train_epoch(model, halves(patterns), epoch, lambda _: None) for epoch in range(2)]
        return losses, validation_loss(model, halves(patterns)), network.get_weights()

    first, second = trained(), trained()
    assert first[:2] == second[:2]
    for a, b in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(patterns):
    network = build_pinn(64, width=2, stages=1)
    network.get_layer("probe").set_probe(gaussian(64, fwhm_px=20.0), mean_exit_energy=2.0)
    model = rate_model(network)
    compile_for_training(
        model, dose_photons=DOSE, learning_rate=1e-30, warmup_fraction=0, clip_norm=1.0, total_steps=9
    )
    dataset = halves(patterns)
    mean = np.mean([float(model.loss(y, model.predict_on_batch(x))) for x, y in epoch_of(dataset)])
    assert train_epoch(model, dataset, 0, lambda _: None) == pytest.approx(mean, rel=1e-5)
    assert validation_loss(model, dataset) == pytest.approx(mean, rel=1e-5)


def test_untrained_network_predicts_the_uniform_object_and_the_whole_dose(patterns):
    network = build_pinn(64, width=4, stages=1)
    probe = gaussian(64, fwhm_px=20.0)
    network.get_layer("probe").set_probe(probe, mean_exit_energy=2.0)
    seen, _ = halves(patterns).batch(0, 0)
    obj = network.predict_on_batch(seen)
    uniform = np.sqrt(2.0 / np.sum(np.abs(probe) ** 2))
    assert obj[..., 0] == pytest.approx(uniform, rel=0.05)
    rates = rate_model(network).predict_on_batch(seen)
    assert np.sum(rates, axis=(1, 2, 3)) == pytest.approx(1, rel=0.05)


def test_prediction_does_not_depend_on_the_batch(patterns):
    network = build_pinn(64, width=4, stages=1)
    network.get_layer("probe").set_probe(gaussian(64, fwhm_px=20.0), mean_exit_energy=2.0)
    counts = np.rint(patterns.astype(np.float64) ** 2 * DOSE).astype(np.int64)
    settings = {"mean_photons": DOSE, "key": philox_key("test")}
    whole = predict_patches(network, counts[:6], first_index=0, **settings)
    parts = [predict_patches(network, counts[i : i + 2], first_index=i, **settings) for i in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_every_size_builds_and_trains_a_step(size_px):
    rng = np.random.default_rng(2)
    network = build_pinn(size_px, width=2, stages=2)
    network.get_layer("probe").set_probe(gaussian(size_px, fwhm_px=size_px / 3), mean_exit_energy=1.0)
    rates = rate_model(network)
    compile_for_training(
        rates, dose_photons=1e5, learning_rate=1e-3, warmup_fraction=0, clip_norm=1.0, total_steps=10
    )
    x = rng.uniform(0, 1, (2, size_px, size_px, 1)).astype(np.float32)
    before = network.get_weights()
    loss = rates.train_on_batch(x, x**2 / np.sum(x**2, axis=(1, 2), keepdims=True))
    assert np.isfinite(loss)
    assert any(not np.array_equal(old, new) for old, new in zip(before, network.get_weights(), strict=True))


def test_checkpoint_gives_the_same_predictions_and_the_same_bytes_twice(tmp_path, patterns):
    keras.utils.set_random_seed(0)
    network = build_pinn(64, width=4, stages=2)
    network.get_layer("probe").set_probe(gaussian(64, fwhm_px=20.0), mean_exit_energy=2.0)
    for name in ("a", "b"):
        save_model(network, tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    seen, _ = halves(patterns).batch(0, 0)
    np.testing.assert_array_equal(
        load_model(tmp_path / "a.keras").predict_on_batch(seen), network.predict_on_batch(seen)
    )
