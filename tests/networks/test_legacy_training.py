"""Legacy scale, loss and callbacks, against NumPy, recorded runs and Keras' own callbacks."""

import dataclasses
import json
import pickletools

import keras
import numpy as np
import pytest
from scipy.special import xlogy

from ptychodose.networks.legacy_training import (
    LegacyPoissonNLL,
    PlateauSchedule,
    intensity_scale,
    legacy_probe,
)
from ptychodose.physics.probes import gaussian


@pytest.fixture
def rng():
    return np.random.default_rng(9)


def test_the_probe_of_a_run_is_reproduced(legacy_run):
    """params.dill is a pickle: its one large byte string is taken, nothing of it is executed."""
    dill = next(legacy_run.rglob("pinn_run/params.dill")).read_bytes()
    (content,) = (argument for code, argument, _ in pickletools.genops(dill) if code.name == "BINBYTES")
    used = np.frombuffer(content, "<c8").reshape(64, 64)
    with np.load(legacy_run / "data_p1e5.npz") as data:
        scaled = legacy_probe(data["probeGuess"])
    np.testing.assert_allclose(used, scaled, rtol=1e-6, atol=1e-6)


def test_legacy_probe_does_not_depend_on_the_scale_it_is_given_in():
    probe = gaussian(64, fwhm_px=20.0) * np.exp(1j)
    scaled = legacy_probe(probe)
    np.testing.assert_allclose(legacy_probe(7.5 * probe), scaled, rtol=1e-12)
    y, x = np.indices((64, 64)) - 31.5
    assert np.abs(scaled)[x**2 + y**2 < 16**2].sum() == pytest.approx(64**2 / 4)
    np.testing.assert_allclose(legacy_probe(probe, probe_scale=8.0), scaled / 2, rtol=1e-12)


def test_intensity_scale_of_recorded_runs():
    assert intensity_scale(1e9, 64) == pytest.approx(988.2117)
    assert intensity_scale(1e5, 64) == pytest.approx(9.882117)


@pytest.fixture
def squares(rng):
    """X^2 with dark pixels, and |FFT2|^2."""
    return (
        rng.poisson(1.5, (3, 8, 8, 1)) / intensity_scale(1e4, 8) ** 2,
        rng.uniform(0.01, 4, (3, 8, 8, 1)) / intensity_scale(1e4, 8) ** 2,
    )


def nll(true, predicted, dose=1e4):
    """The definition in declared counts, without the data's constant."""
    counts, rates = (intensity_scale(dose, 8) ** 2 * array for array in (true, predicted))
    return np.mean(np.sum(rates - counts * np.log(rates), axis=(1, 2, 3)))


def test_loss_is_the_likelihood_in_declared_counts_up_to_the_datas_constant(squares):
    true, predicted = squares
    for dose in (1e4, 1e9):
        counts = intensity_scale(dose, 8) ** 2 * true
        constant = np.mean(np.sum(xlogy(counts, counts) - counts, axis=(1, 2, 3)))
        loss = float(LegacyPoissonNLL(dose, 8)(*(array.astype(np.float32) for array in squares)))
        assert loss == pytest.approx(nll(true, predicted, dose) + constant, rel=1e-5)


def test_loss_is_zero_at_the_counts_and_finite_in_the_dark(squares):
    true = squares[0].astype(np.float32)
    loss = LegacyPoissonNLL(1e4, 8)
    assert float(loss(true, true)) == pytest.approx(0, abs=1e-4)
    assert np.isfinite(float(loss(true, np.zeros_like(true))))


def test_gradient_of_the_loss_agrees_with_finite_differences(squares):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses TensorFlow's gradient tape")
    true, predicted = squares
    variable = tf.Variable(predicted.astype(np.float32))
    with tf.GradientTape() as tape:
        value = LegacyPoissonNLL(1e4, 8)(true.astype(np.float32), variable)
    gradient = tape.gradient(value, variable).numpy()
    for index in [(0, 0, 0, 0), (1, 3, 4, 0), (2, 7, 7, 0), (0, 5, 2, 0)]:
        step = 1e-5 * predicted[index]
        up, down = predicted.copy(), predicted.copy()
        up[index] += step
        down[index] -= step
        expected = (nll(true, up) - nll(true, down)) / (2 * step)
        assert gradient[index] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_loss_survives_serialisation():
    loss = LegacyPoissonNLL(1e9, 64, floor_photons=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


def test_schedule_halves_the_rate_on_a_plateau_and_stops():
    schedule = PlateauSchedule()
    rates = []
    for loss, val_loss in [(9, 5), (8, 5), (8, 5), (7, 5), (7, 5), (7, 5), (7, 4)]:
        schedule = schedule.after_epoch(loss, val_loss)
        rates.append(schedule.learning_rate)
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4, 2.5e-4]
    assert schedule.stop
    assert (
        PlateauSchedule(learning_rate=1.5e-4, best_val_loss=1.0, epochs_without_val_loss=1)
        .after_epoch(1.0, 1.0)
        .learning_rate
        == 1e-4
    )


def test_without_validation_the_rate_stays():
    schedule = PlateauSchedule()
    for _ in range(4):
        schedule = schedule.after_epoch(1.0, None)
    assert (schedule.learning_rate, schedule.stop) == (1e-3, True)


@pytest.mark.parametrize("seed", range(4))
def test_schedule_is_keras_two_callbacks(seed):
    rng = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    callbacks = [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2, min_lr=1e-4),
        keras.callbacks.EarlyStopping("loss", patience=3),
    ]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    model.stop_training = False
    schedule, losses = PlateauSchedule(), 100.0 + np.cumsum(rng.normal(-0.3, 1.0, (40, 2)), axis=0).round(1)
    for epoch, (loss, val_loss) in enumerate(losses.tolist()):
        # As after a kill: the state goes through JSON.
        schedule = PlateauSchedule(**json.loads(json.dumps(dataclasses.asdict(schedule))))
        schedule = schedule.after_epoch(loss, val_loss)
        for callback in callbacks:
            callback.on_epoch_end(epoch, {"loss": loss, "val_loss": val_loss})
        assert schedule.learning_rate == pytest.approx(float(model.optimizer.learning_rate), rel=1e-6)
        assert schedule.stop == model.stop_training
        if schedule.stop:
            break


def test_schedule_does_what_a_recorded_run_did(legacy_run):
    folder = next(legacy_run.rglob("pinn_run"))
    history = json.loads((folder / "history.json").read_text())["history"]
    schedule = PlateauSchedule()
    for loss, val_loss, rate in zip(history["loss"], history["val_loss"], history["lr"], strict=True):
        assert schedule.learning_rate == pytest.approx(rate)
        assert not schedule.stop
        schedule = schedule.after_epoch(loss, val_loss)
