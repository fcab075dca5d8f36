"""The objective of the fits: its value is half the deviance, its gradient the true one, on any threads."""

from dataclasses import replace

import numpy as np
import pytest

from ptychodose.metrics.photons import poisson_deviance
from ptychodose.physics import likelihood as module
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.likelihood import BACKGROUND_PHOTONS, Measurement, PoissonLikelihood, gradient_prior

BOTH = pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
DOSE = 1e4


def rates_of(measurement, obj):
    patches = cut_patches(
        obj, measurement.x, measurement.y, len(measurement.probe), measurement.interpolation
    )
    return measurement.gain_squared * diffraction_intensity(exit_waves(measurement.probe, patches))


@pytest.fixture
def measure(rough_object, rough_probe, every_place):
    """Photons of the rough object, at a dose, with or without their noise."""

    def at(interpolation="bilinear", dose=DOSE, noise=True, seed=7):
        x, y = every_place
        scan = Measurement(np.zeros(0), rough_probe, x, y, rough_object.shape, 1.0, dose, interpolation)
        rates = rates_of(scan, rough_object)
        gain_squared = dose / rates.sum(axis=(1, 2)).mean()
        rates = rates * gain_squared
        counts = np.random.default_rng(seed).poisson(rates) if noise else rates
        return replace(scan, counts=counts, gain_squared=gain_squared)

    return at


@pytest.fixture
def elsewhere(rough_object):
    """An object near the true one, and a direction."""
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(2, 2, *rough_object.shape))
    return rough_object + 0.3 * (noise[0, 0] + 1j * noise[0, 1]), noise[1, 0] + 1j * noise[1, 1]


def slope(function, obj, direction, step):
    return (function(obj + step * direction) - function(obj - step * direction)) / (2 * step)


# --- the value --------------------------------------------------------------------------------------------


@BOTH
def test_the_value_is_half_the_deviance_per_expected_photon(measure, elsewhere, interpolation):
    measurement = measure(interpolation)
    value, _ = PoissonLikelihood(measurement).value_and_gradient(elsewhere[0])
    rates = rates_of(measurement, elsewhere[0]) + BACKGROUND_PHOTONS
    deviance = poisson_deviance(measurement.counts, rates, rate_floor=1e-9)
    assert value == pytest.approx(deviance.sum() / 2 / DOSE / len(measurement), rel=1e-5)


def test_the_value_keeps_its_digits_where_rates_and_counts_nearly_agree(measure, rough_object):
    """At 10^10 photons the deviance is a millionth of the log-likelihood."""
    measurement = measure(dose=1e10)
    value, _ = PoissonLikelihood(measurement).value_and_gradient(rough_object)
    deviance = poisson_deviance(measurement.counts, rates_of(measurement, rough_object), rate_floor=1e-9)
    assert value == pytest.approx(deviance.sum() / 2 / 1e10 / len(measurement), rel=0.01)


def test_the_true_object_has_the_loss_of_the_noise_and_no_noise_no_loss(measure, rough_object, rough_probe):
    noisy, _ = PoissonLikelihood(measure(dose=1e6)).value_and_gradient(rough_object)
    assert noisy == pytest.approx(rough_probe.size / (2 * 1e6), rel=0.05)
    value, gradient = PoissonLikelihood(measure(dose=1e6, noise=False)).value_and_gradient(rough_object)
    assert value < 1e-3 * noisy
    _, of_noise = PoissonLikelihood(measure(dose=1e6)).value_and_gradient(rough_object)
    assert np.linalg.norm(gradient) < 1e-3 * np.linalg.norm(of_noise)


@pytest.mark.parametrize("factor", [1e-1, 1e3])
def test_the_dose_drops_out(measure, elsewhere, monkeypatch, factor):
    """Counts, gain and dose times one number: the same loss, the same gradient."""
    monkeypatch.setattr(module, "BACKGROUND_PHOTONS", 1e-7)
    measurement = measure(dose=1e5)
    scaled = replace(
        measurement,
        counts=measurement.counts * factor,
        gain_squared=measurement.gain_squared * factor,
        dose_photons=measurement.dose_photons * factor,
    )
    value, gradient = PoissonLikelihood(measurement).value_and_gradient(elsewhere[0])
    other, other_gradient = PoissonLikelihood(scaled).value_and_gradient(elsewhere[0])
    assert other == pytest.approx(value, rel=1e-5)
    assert np.linalg.norm(other_gradient - gradient) < 1e-3 * np.linalg.norm(gradient)


def test_photons_where_none_are_expected_cost_much_and_not_infinitely_much(measure):
    measurement = measure()
    value, gradient = PoissonLikelihood(measurement).value_and_gradient(
        np.zeros(measurement.object_shape, complex)
    )
    assert 1 < value < 100
    assert np.isfinite(gradient).all()


# --- the gradient -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dose", [1e3, 1e6])
def test_the_gradient_is_that_of_finite_differences(measure, elsewhere, monkeypatch, interpolation, dose):
    # So much background that no rate is near zero, where the logarithm bends within any step.
    monkeypatch.setattr(module, "BACKGROUND_PHOTONS", 1e-4 * dose)
    obj, direction = elsewhere
    objective = PoissonLikelihood(measure(interpolation, dose)).value_and_gradient
    _, gradient = objective(obj)
    # A step long enough for single precision; two of them, to take out the third derivative.
    one, two = (slope(lambda o: objective(o)[0], obj, direction, step) for step in (2e-3, 4e-3))
    assert np.vdot(gradient, direction).real == pytest.approx((4 * one - two) / 3, rel=2e-3)


def test_the_gradient_of_the_prior_is_that_of_finite_differences(elsewhere):
    obj, direction = elsewhere
    value, gradient = gradient_prior(obj)
    steps = [np.abs(np.diff(obj, axis=axis)) ** 2 for axis in (0, 1)]
    assert value == pytest.approx(sum(step.sum() for step in steps))
    expected = slope(lambda o: gradient_prior(o)[0], obj, direction, 1e-3)
    assert np.vdot(gradient, direction).real == pytest.approx(expected, rel=1e-9)
    assert gradient_prior(np.full((4, 5), 3 - 2j)) == (0, pytest.approx(np.zeros((4, 5))))


@BOTH
def test_gradients_are_taken_back_by_the_adjoint_of_the_cut(measure, elsewhere, interpolation):
    """<A o, w> = <o, A* w> for the cut A of the fits, which cuts as the simulation does."""
    measurement, (obj, _) = measure(interpolation), elsewhere
    likelihood = PoissonLikelihood(measurement)
    rows, n = np.arange(len(measurement)), len(measurement.probe)
    rng = np.random.default_rng(9)
    waves = (rng.normal(size=(len(rows), n, n)) + 1j * rng.normal(size=(len(rows), n, n))).astype(
        np.complex64
    )
    padded = np.pad(obj.astype(np.complex64), ((0, 1), (0, 1)))
    patches = likelihood._cut(padded, rows)
    np.testing.assert_allclose(
        patches, cut_patches(obj, measurement.x, measurement.y, n, interpolation), atol=1e-5
    )
    back = np.zeros_like(padded)
    likelihood._add_back(waves, rows, back)
    # What falls on the margin has weight zero.
    assert not back[-1].any() and not back[:, -1].any()
    assert np.vdot(back, padded) == pytest.approx(np.vdot(waves, patches), rel=1e-5)


def test_the_illumination_is_the_photons_a_transparent_object_passes(measure):
    measurement = measure("nearest")
    expected = np.zeros(measurement.object_shape)
    energy = measurement.gain_squared * np.abs(measurement.probe) ** 2
    tops, lefts = np.rint(measurement.y).astype(int) - 8, np.rint(measurement.x).astype(int) - 8
    for top, left in zip(tops, lefts, strict=True):
        expected[top : top + 16, left : left + 16] += energy
    np.testing.assert_allclose(PoissonLikelihood(measurement).illumination(), expected, rtol=1e-5, atol=1e-3)
    between = measure("bilinear")
    energy = between.gain_squared * np.sum(np.abs(between.probe) ** 2)
    total = PoissonLikelihood(between).illumination().sum()
    assert total == pytest.approx(len(between) * energy, rel=1e-5)


# --- work -------------------------------------------------------------------------------------------------


@BOTH
def test_threads_change_no_bit(measure, elsewhere, interpolation):
    measurement = measure(interpolation)
    value, gradient = PoissonLikelihood(measurement, workers=1).value_and_gradient(elsewhere[0])
    for workers in (2, 3, 64):
        other = PoissonLikelihood(measurement, workers=workers).value_and_gradient(elsewhere[0])
        assert other[0] == value
        assert np.array_equal(other[1], gradient)


def test_the_size_of_the_chunks_changes_nothing_but_rounding(measure, elsewhere, monkeypatch):
    value, gradient = PoissonLikelihood(measure()).value_and_gradient(elsewhere[0])
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    other, other_gradient = PoissonLikelihood(measure()).value_and_gradient(elsewhere[0])
    assert other == pytest.approx(value, rel=1e-7)
    np.testing.assert_allclose(other_gradient, gradient, atol=1e-6 * np.abs(gradient).max())


def test_a_part_of_a_measurement_is_its_patterns(measure, elsewhere):
    measurement = measure()
    parts = [measurement.part(np.arange(start, len(measurement), 2)) for start in (0, 1)]
    values = [PoissonLikelihood(part).value_and_gradient(elsewhere[0])[0] * len(part) for part in parts]
    whole, _ = PoissonLikelihood(measurement).value_and_gradient(elsewhere[0])
    assert sum(values) == pytest.approx(whole * len(measurement), rel=1e-6)
    losses = PoissonLikelihood(measurement).losses(elsewhere[0])
    assert losses.shape == (len(measurement),) and losses.sum() == whole
