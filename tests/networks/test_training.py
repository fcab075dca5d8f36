"""What a training sees depends on seed and epoch alone; a network starts from the uniform object."""

import keras
import numpy as np
import pytest

from ptychodose.formats.checkpoints import load_model, save_model
from ptychodose.networks.losses import PoissonNLL
from ptychodose.networks.pinn import build_pinn, rate_model
from ptychodose.networks.prediction import predict_patches
from ptychodose.networks.training import (
    FixedPairs,
    ThinnedPatterns,
    cosine_adam,
    shuffled_rows,
    train_epoch,
    validation_loss,
)
from ptychodose.physics.photons import draw_counts
from ptychodose.physics.probes import gaussian
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.thinning import SEEN_SHARE

DOSE = 1e4


@pytest.fixture(scope="module")
def patterns():
    rates = np.random.default_rng(1).uniform(0, 2 * DOSE / 64**2, (24, 64, 64))
    return np.sqrt(draw_counts(rates, philox_key("test"), 0) / DOSE).astype(np.float32)


def thinned(patterns, **changes):
    return ThinnedPatterns(
        patterns, **{"dose_photons": DOSE, "mean_photons": DOSE, "batch_size": 8, "seed": 3} | changes
    )


@pytest.fixture
def fixed():
    """24 pairs of one pixel; the input is the row, the target a hundred more."""
    rows = np.arange(24, dtype=np.float32).reshape(-1, 1, 1, 1)

    def of(n=24, batch_size=6, seed=3):
        return FixedPairs(rows[:n], rows[:n] + 100, batch_size, seed)

    return of


def epoch_of(batches, epoch=0):
    return [batches.batch(epoch, step) for step in range(batches.steps)]


def untrained(size_px=64, width=2, stages=1, mean_exit_energy=2.0):
    """A network and its rates, the same every time."""
    keras.utils.set_random_seed(0)
    network = build_pinn(size_px, width=width, stages=stages)
    network.get_layer("probe").set_probe(gaussian(size_px, fwhm_px=size_px / 3.2), mean_exit_energy)
    return network, rate_model(network)


# --- what a step sees -------------------------------------------------------------------------------------


def test_input_and_target_are_normalised_whatever_the_share(patterns):
    for batch in epoch_of(thinned(patterns, batch_size=1)):
        seen, hidden = batch
        assert seen.dtype == hidden.dtype == np.float32
        assert np.sum(seen**2) == pytest.approx(32**2, rel=0.06)
        assert np.sum(hidden) == pytest.approx(1, rel=0.15)


def test_seen_and_hidden_photons_of_a_pattern_add_up(patterns):
    """n = q a + (1 - q) b for one share q, where a and b are the parts as they are shown."""
    seen, hidden = thinned(patterns).batch(1, 2)
    rows = shuffled_rows(24, 8, 3, 1, 2)
    shares = []
    for row, x, y in zip(rows, seen[..., 0].astype(float), hidden[..., 0].astype(float), strict=True):
        counts = np.rint(patterns[row].astype(float) ** 2 * DOSE)
        a, b = x**2 * DOSE / 32**2, y * DOSE
        share = np.vdot(counts - b, a - b) / np.vdot(a - b, a - b)
        np.testing.assert_allclose(share * a + (1 - share) * b, counts, atol=1e-3)
        shares.append(share)
    low, high = SEEN_SHARE
    assert all(low <= share <= high for share in shares)
    assert len(set(np.round(shares, 4))) == 8


def test_batches_depend_on_seed_epoch_and_step_alone(patterns):
    first, again = thinned(patterns), thinned(patterns)
    for epoch, step in ((1, 2), (0, 1)):
        for one, two in zip(first.batch(epoch, step), again.batch(epoch, step), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.batch(0, 0)[0], thinned(patterns, seed=4).batch(0, 0)[0])


def test_photons_are_thinned_anew_in_every_epoch(patterns):
    inputs = [thinned(patterns[:1], batch_size=1).batch(epoch, 0)[0] for epoch in (0, 1)]
    assert not np.array_equal(*inputs)


def test_every_pair_is_seen_once_an_epoch_in_an_order_of_its_own(fixed):
    orders = []
    for epoch in (0, 1):
        inputs, targets = map(np.concatenate, zip(*epoch_of(fixed(), epoch), strict=True))
        np.testing.assert_array_equal(targets, inputs + 100)
        assert sorted(inputs.ravel()) == list(range(24))
        orders.append(inputs.ravel().tolist())
    assert orders[0] != orders[1]
    assert fixed(seed=4).batch(0, 0)[0].ravel().tolist() != orders[0][:6]


def test_only_whole_batches_are_shown_but_at_least_one(fixed, patterns):
    assert [len(batch[0]) for batch in epoch_of(fixed(n=23))] == [6, 6, 6]
    assert [len(batch[0]) for batch in epoch_of(fixed(n=4))] == [4]
    assert [len(batch[0]) for batch in epoch_of(thinned(patterns[:3]))] == [3]


# --- training ---------------------------------------------------------------------------------------------


def compiled(rates, learning_rate, total_steps, warmup_fraction=0.0):
    rates.compile(
        optimizer=cosine_adam(
            learning_rate=learning_rate,
            warmup_fraction=warmup_fraction,
            clip_norm=1.0,
            total_steps=total_steps,
        ),
        loss=PoissonNLL(DOSE),
    )
    return rates


def test_training_twice_gives_the_same_weights(patterns):
    def trained():
        network, rates = untrained()
        model = compiled(rates, 1e-3, total_steps=6, warmup_fraction=0.1)
        losses = [train_epoch(model, thinned(patterns), epoch, lambda _: None) for epoch in range(2)]
        return losses, validation_loss(model, thinned(patterns)), network.get_weights()

    first, second = trained(), trained()
    assert first[:2] == second[:2]
    for a, b in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(patterns):
    _, rates = untrained()
    model, batches = compiled(rates, 1e-30, total_steps=9), thinned(patterns)
    mean = np.mean([float(model.loss(y, model.predict_on_batch(x))) for x, y in epoch_of(batches)])
    assert train_epoch(model, batches, 0, lambda _: None) == pytest.approx(mean, rel=1e-5)
    assert validation_loss(model, batches) == pytest.approx(mean, rel=1e-5)


def test_validation_sees_the_same_photons_every_time_and_teaches_nothing(patterns):
    network, rates = untrained()
    model, before = compiled(rates, 1e-3, total_steps=9), network.get_weights()
    assert validation_loss(model, thinned(patterns)) == validation_loss(model, thinned(patterns))
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_learning_rate_warms_up_and_decays_to_zero():
    schedule = cosine_adam(learning_rate=1.0, warmup_fraction=0.1, clip_norm=1.0, total_steps=100)
    rates = [float(schedule._learning_rate(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.01) and rates[10] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5, abs=1e-6) and rates[100] == pytest.approx(0, abs=1e-6)
    without = cosine_adam(learning_rate=1.0, warmup_fraction=0.0, clip_norm=1.0, total_steps=100)
    assert float(without._learning_rate(0)) == pytest.approx(1.0)


def test_a_loss_or_a_weight_that_is_not_finite_stops_the_training(patterns):
    x = patterns[..., None]
    spoilt = np.where(np.arange(24)[:, None, None, None] == 5, np.nan, x).astype(np.float32)
    model = compiled(untrained()[1], 1e-3, total_steps=3)
    with pytest.raises(FloatingPointError, match="validation loss is not finite"):
        validation_loss(model, FixedPairs(x, spoilt, 24, 3))
    with pytest.raises(FloatingPointError, match="loss is not finite in epoch 1, step 1"):
        train_epoch(model, FixedPairs(x, spoilt, 24, 3), 0, lambda _: None)
    # Rectifiers turn what is not a number into zero: the loss of the last step may look well all the same.
    model = compiled(untrained()[1], 1e-3, total_steps=3)
    with pytest.raises(FloatingPointError, match="not finite"):
        train_epoch(model, FixedPairs(spoilt, x, 24, 3), 0, lambda _: None)


# --- the network ------------------------------------------------------------------------------------------


def test_untrained_network_predicts_the_uniform_object_and_the_whole_dose(patterns):
    network, rates = untrained(width=4)
    seen, _ = thinned(patterns).batch(0, 0)
    obj = network.predict_on_batch(seen)
    uniform = np.sqrt(2.0 / np.sum(np.abs(gaussian(64, fwhm_px=20.0)) ** 2))
    assert obj[..., 0] == pytest.approx(uniform, rel=0.05)
    assert np.sum(rates.predict_on_batch(seen), axis=(1, 2, 3)) == pytest.approx(1, rel=0.05)


def loud(network):
    """The network with last convolutions so large that its object is far from uniform."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith("conv2d"):
            kernel, bias = layer.get_weights()
            if layer.filters == 8 and np.std(kernel) < 2e-3:
                layer.set_weights([300 * kernel, bias])
    return network


@pytest.mark.parametrize("size_px", [64, 128])
def test_the_object_stays_uniform_at_the_rim_and_nowhere_else(size_px):
    network = loud(untrained(size_px)[0])
    x = np.random.default_rng(2).exponential(0.5, (1, size_px, size_px, 1)).astype(np.float32)
    obj = network.predict_on_batch(x)[0]
    rim = size_px // 16
    inner = np.zeros((size_px, size_px), bool)
    inner[rim:-rim, rim:-rim] = True
    assert np.ptp(obj[~inner][:, 0]) < 1e-6 and np.abs(obj[~inner][:, 1]).max() < 1e-6
    assert np.ptp(obj[inner][:, 0]) > 0.01 and np.abs(obj[inner][:, 1]).max() > 0.01
    assert np.abs(obj[rim, :, 1]).max() > 0 and np.abs(obj[:, -rim - 1, 1]).max() > 0


def test_prediction_does_not_depend_on_the_batch(patterns):
    network = loud(untrained(width=4)[0])
    counts = np.rint(patterns.astype(np.float64) ** 2 * DOSE).astype(np.int64)
    whole = predict_patches(network, counts[:6], mean_photons=DOSE)
    assert whole.shape == (6, 64, 64) and whole.dtype == np.complex128
    parts = [predict_patches(network, counts[i : i + 2], mean_photons=DOSE) for i in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_a_prediction_sees_all_photons_in_units_of_the_mean(patterns):
    """Twice the photons in every pattern of a set are the same set at twice the flux."""
    network = loud(untrained(width=4)[0])
    counts = np.rint(patterns[:4].astype(np.float64) ** 2 * DOSE).astype(np.int64)
    once = predict_patches(network, counts, mean_photons=DOSE)
    np.testing.assert_allclose(predict_patches(network, 2 * counts, mean_photons=2 * DOSE), once, atol=1e-6)
    assert np.abs(predict_patches(network, counts, mean_photons=2 * DOSE) - once).max() > 1e-3


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_every_size_builds_and_trains_a_step(size_px):
    rng = np.random.default_rng(2)
    network, rates = untrained(size_px, stages=2)
    compiled(rates, 1e-3, total_steps=10)
    x = rng.uniform(0, 1, (2, size_px, size_px, 1)).astype(np.float32)
    before = network.get_weights()
    loss = rates.train_on_batch(x, x**2 / np.sum(x**2, axis=(1, 2), keepdims=True))
    assert np.isfinite(loss)
    assert any(not np.array_equal(old, new) for old, new in zip(before, network.get_weights(), strict=True))


def test_checkpoint_gives_the_same_predictions_and_the_same_bytes_twice(tmp_path, patterns):
    network, _ = untrained(width=4, stages=2)
    for name in ("a", "b"):
        save_model(network, tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    seen, _ = thinned(patterns).batch(0, 0)
    np.testing.assert_array_equal(
        load_model(tmp_path / "a.keras").predict_on_batch(seen), network.predict_on_batch(seen)
    )
