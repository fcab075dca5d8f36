"""Fits of a small scene: exact without noise, weighed by photons kept out, blind to the truth."""

import inspect

import numpy as np
import pytest

from ptychodose.physics import reconstruction
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.likelihood import Measurement, PoissonLikelihood
from ptychodose.physics.objects import lines_phase
from ptychodose.physics.randomness import philox_key
from ptychodose.physics.reconstruction import (
    choose_weight,
    fit_object,
    split_held_out,
    stitched_start,
    uniform_start,
)
from ptychodose.physics.stitching import Stitched

KEY = philox_key("held out", 1)
LIMITS = {"max_iterations": 200, "tolerance": 1e-5}
BOTH = pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
SEEN = (slice(14, 34), slice(14, 34))


@pytest.fixture(scope="module")
def scene():
    """A 48 px object, and 144 overlapping positions of a soft 16 px probe with curved phase."""
    rng = np.random.default_rng(4)
    obj = lines_phase(48, n_lines=60, max_amplitude=1.0, max_phase_rad=0.8, rng=rng)
    y, x = np.mgrid[-8:8, -8:8]
    probe = np.exp(-(y**2 + x**2) / 40 + 0.05j * (y**2 + x**2))
    steps = np.linspace(8, 39, 12)
    row, column = (g.ravel() + rng.uniform(-0.8, 0.8, g.size) for g in np.meshgrid(steps, steps))
    return obj, probe, *(np.clip(p, 8, 40) for p in (column, row))


@pytest.fixture(scope="module")
def measure(scene):
    """Photons of the scene at a dose."""
    obj, probe, x, y = scene

    def at(dose, interpolation="bilinear", noise=True):
        patches = cut_patches(obj, x, y, len(probe), interpolation)
        rates = diffraction_intensity(exit_waves(probe, patches))
        gain_squared = dose / rates.sum(axis=(1, 2)).mean()
        rates *= gain_squared
        counts = np.random.default_rng(5).poisson(rates) if noise else rates
        return Measurement(counts, probe, x, y, obj.shape, gain_squared, dose, interpolation)

    return at


def error(found, truth):
    """RMS of the difference in the scanned middle, less the global phase that nothing fixes."""
    found, truth = found[SEEN], truth[SEEN]
    turn = np.exp(1j * np.angle(np.vdot(found, truth)))
    return float(np.sqrt(np.mean(np.abs(found * turn - truth) ** 2)))


# --- fits -------------------------------------------------------------------------------------------------


@BOTH
def test_without_noise_the_object_comes_back(scene, measure, interpolation):
    measurement = measure(1e6, interpolation, noise=False)
    start = uniform_start(measurement)
    fit = fit_object(measurement, start, max_iterations=500, tolerance=1e-9)
    assert error(start, scene[0]) > 0.1
    assert error(fit.obj, scene[0]) < 2e-3
    # Absolute: no scale was given away.
    assert np.abs(fit.obj[SEEN]).mean() == pytest.approx(np.abs(scene[0][SEEN]).mean(), rel=1e-3)


def test_more_photons_a_better_object(scene, measure):
    errors = []
    for dose in (1e3, 1e5, 1e7):
        measurement = measure(dose)
        errors.append(error(fit_object(measurement, uniform_start(measurement), **LIMITS).obj, scene[0]))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_maximum_likelihood_fits_better_than_the_truth_and_the_prior_makes_it_smoother(scene, measure):
    measurement = measure(1e3)
    likelihood = PoissonLikelihood(measurement)
    plain = fit_object(measurement, uniform_start(measurement), **LIMITS)
    smooth = fit_object(measurement, uniform_start(measurement), weight_photons=100.0, **LIMITS)
    assert plain.minimum < likelihood.value_and_gradient(scene[0])[0]
    assert error(smooth.obj, scene[0]) < error(plain.obj, scene[0])
    # The minimum that is told is that of the loss, the prior's share included.
    assert plain.minimum == pytest.approx(likelihood.value_and_gradient(plain.obj)[0], rel=1e-5)
    assert smooth.minimum > likelihood.value_and_gradient(smooth.obj)[0]


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_iterations_are_told_as_they_come_and_never_go_up(measure, weight):
    measurement = measure(1e4)
    told = []
    fit = fit_object(
        measurement,
        uniform_start(measurement),
        weight_photons=weight,
        on_iteration=lambda *what: told.append(what),
        **LIMITS,
    )
    minima = [minimum for _, minimum, _ in told]
    assert sum(evaluations for *_, evaluations in told) == fit.evaluations
    assert len(told) == fit.iterations <= fit.evaluations
    assert list(minima) == sorted(minima, reverse=True)
    assert minima[-1] == fit.minimum
    assert np.array_equal(told[-1][0], fit.obj)
    assert fit.converged
    short = fit_object(measurement, uniform_start(measurement), max_iterations=3, tolerance=1e-9)
    assert short.iterations == 3 and not short.converged


def test_a_start_that_is_the_end_stays_there(measure):
    measurement = measure(1e4)
    found = fit_object(measurement, uniform_start(measurement), weight_photons=30.0, **LIMITS)
    again = fit_object(measurement, found.obj, weight_photons=30.0, **LIMITS)
    assert again.iterations < found.iterations / 3
    assert error(again.obj, found.obj) < 0.01


# --- the weight -------------------------------------------------------------------------------------------


def test_the_weight_is_chosen_by_the_photons_and_falls_against_them_as_they_get_more(scene, measure):
    """In photons the prior is the object's; in shares of the dose it must fall."""
    share = []
    for dose in (1e2, 1e4, 1e6):
        measurement = measure(dose)
        start = uniform_start(measurement)
        choice = choose_weight(
            measurement, start, [1.0, 10.0, 100.0, 1000.0], held_out_fraction=0.1, key=KEY, **LIMITS
        )
        share.append(choice.weight_photons / dose)
        # It helps, or where photons are many it does no harm.
        fit = fit_object(measurement, choice.obj, weight_photons=choice.weight_photons, **LIMITS)
        assert error(fit.obj, scene[0]) < 1.05 * error(fit_object(measurement, start, **LIMITS).obj, scene[0])
    assert share[0] > share[1] > share[2]


def test_the_walk_ends_where_the_held_out_loss_no_longer_falls_by_more_than_chance(measure):
    measurement = measure(1e3)
    weights = [1e-2, 1e4, 1.0, 1e2]
    choice = choose_weight(
        measurement, uniform_start(measurement), weights, held_out_fraction=0.1, key=KEY, **LIMITS
    )
    tried = [trial.weight_photons for trial in choice.trials]
    assert tried == sorted(weights, reverse=True)[: len(tried)]
    first, *others, last = choice.trials
    assert first.gain is None and first.gain_standard_error is None
    assert all(trial.gain > trial.gain_standard_error for trial in others)
    assert last.gain <= last.gain_standard_error
    assert choice.weight_photons == choice.trials[-2].weight_photons
    for before, after in zip(choice.trials, choice.trials[1:], strict=False):
        assert after.gain == pytest.approx(before.held_out_loss - after.held_out_loss)


def test_a_single_weight_is_taken_and_two_patterns_suffice(measure):
    measurement = measure(1e3).part(np.arange(2))
    start = uniform_start(measurement)
    for weights in ([10.0], [100.0, 10.0]):
        choice = choose_weight(measurement, start, weights, held_out_fraction=0.05, key=KEY, **LIMITS)
        assert choice.weight_photons in weights
        assert np.isfinite(choice.obj).all()


@pytest.mark.parametrize(("n", "fraction", "expected"), [(100, 0.05, 5), (2, 0.05, 1), (10, 0.0, 1)])
def test_patterns_are_held_out_by_the_key(n, fraction, expected):
    fitted, held_out = split_held_out(n, fraction, KEY)
    assert len(held_out) == expected
    assert sorted([*fitted, *held_out]) == list(range(n))
    assert np.array_equal(split_held_out(n, fraction, KEY)[1], held_out)
    if n == 100:
        assert not np.array_equal(split_held_out(n, fraction, philox_key("another"))[1], held_out)


def test_no_function_takes_a_truth():
    for _, function in inspect.getmembers(reconstruction, inspect.isfunction):
        assert not {name for name in inspect.signature(function).parameters if "tru" in name}
    assert "tru" not in "".join(Measurement.__dataclass_fields__)


# --- starts -----------------------------------------------------------------------------------------------


def test_the_uniform_start_passes_as_many_photons_as_were_counted(measure):
    measurement = measure(1e4)
    start = uniform_start(measurement)
    patches = cut_patches(start, measurement.x, measurement.y, 16, "bilinear")
    rates = measurement.gain_squared * diffraction_intensity(exit_waves(measurement.probe, patches))
    assert rates.sum() == pytest.approx(measurement.counts.sum())


def test_a_prediction_starts_where_it_lies_and_its_mean_beyond(scene, measure):
    prediction = scene[0][10:30, 12:40]
    weight = np.ones(prediction.shape)
    weight[0, :3] = 0
    stitched = Stitched(np.where(weight > 0, prediction, 0), weight, (110, 212))
    start = stitched_start(stitched, measure(1e4), (100, 200))
    mean = prediction[weight > 0].mean()
    np.testing.assert_array_equal(start[11:30, 12:40], prediction[1:])
    np.testing.assert_array_equal(start[10, 15:40], prediction[0, 3:])
    assert start[0, 0] == start[10, 12] == start[47, 47] == pytest.approx(mean)
