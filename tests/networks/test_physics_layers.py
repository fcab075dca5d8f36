"""The Keras forward model is the NumPy forward model, and its gradient is the likelihood's."""

import keras
import numpy as np
import pytest
from keras import ops

from ptychodose.metrics.photons import poisson_deviance
from ptychodose.networks.losses import PoissonNLL
from ptychodose.networks.physics_layers import FarField, ModulusCorrection, Probe, Rate, Transmission
from ptychodose.networks.unet import DepthToSpace, SpaceToDepth
from ptychodose.physics.diffraction import diffraction_intensity, exit_waves
from ptychodose.physics.probes import gaussian

SIZE = 16


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def probe_array(rng):
    return gaussian(SIZE, fwhm_px=6.0) * np.exp(1j * rng.uniform(-1, 1, (SIZE, SIZE)))


@pytest.fixture
def probe(probe_array):
    layer = Probe(SIZE)
    layer(np.zeros((1, SIZE, SIZE, 1)))
    layer.set_probe(probe_array, mean_exit_energy=4.0)
    return layer(np.zeros((1, SIZE, SIZE, 1)))


@pytest.fixture
def obj(rng):
    """Amplitude and phase of three patches."""
    return np.stack([rng.uniform(0.3, 1, (3, SIZE, SIZE)), rng.uniform(-2, 2, (3, SIZE, SIZE))], axis=-1)


def as_complex(amplitude_and_phase):
    return amplitude_and_phase[..., 0] * np.exp(1j * amplitude_and_phase[..., 1])


def test_rates_are_the_numpy_forward_model_in_fractions_of_the_dose(probe, probe_array, obj):
    rates = ops.convert_to_numpy(Rate()(FarField()(obj, probe)))[..., 0]
    expected = diffraction_intensity(exit_waves(probe_array, as_complex(obj))) / 4.0
    np.testing.assert_allclose(rates, expected, rtol=2e-4, atol=1e-7)


def test_zero_fields_pass_exactly_the_whole_dose(probe):
    uniform = Transmission()(np.zeros((1, SIZE, SIZE, 2)), probe)
    rates = Rate()(FarField()(uniform, probe))
    assert float(ops.sum(rates)) == pytest.approx(1, rel=1e-5)


def test_modulus_correction_vanishes_at_the_truth(probe, obj):
    far_field = FarField()(obj, probe)
    patterns = ops.convert_to_numpy(ops.sqrt(Rate()(far_field))) * (SIZE / 2)
    correction = ops.convert_to_numpy(ModulusCorrection()(patterns, far_field, probe))
    assert np.abs(correction).max() < 1e-3


def test_modulus_correction_is_the_textbook_step(probe, probe_array, obj, rng):
    """conj(P) (psi' - psi) / (|P|^2 + 0.02 max|P|^2), psi' having the measured modulus, in NumPy."""
    patterns = rng.uniform(0, 2, (3, SIZE, SIZE, 1)).astype(np.float32)
    correction = ops.convert_to_numpy(ModulusCorrection()(patterns, FarField()(obj, probe), probe))
    scaled = probe_array / 2.0
    waves = scaled * as_complex(obj)
    far = np.fft.fftshift(np.fft.fft2(waves, norm="ortho"), axes=(1, 2))
    replaced = patterns[..., 0] * (2 / SIZE) * far / np.abs(far)
    new_waves = np.fft.ifft2(np.fft.ifftshift(replaced, axes=(1, 2)), norm="ortho")
    intensity = np.abs(scaled) ** 2
    step = scaled.conj() * (new_waves - waves) / (intensity + 0.02 * intensity.max())
    step *= np.sqrt(intensity.sum())  # in units of the uniform object
    np.testing.assert_allclose(correction[..., 0] + 1j * correction[..., 1], step, rtol=1e-3, atol=2e-4)


def test_gradient_of_the_loss_agrees_with_finite_differences(probe_array, obj, rng):
    """Forward model and likelihood in float64 NumPy, gradient by the Keras backend."""
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses TensorFlow's gradient tape")
    layer = Probe(SIZE)
    layer(np.zeros((1, SIZE, SIZE, 1)))
    layer.set_probe(probe_array, mean_exit_energy=4.0)
    probe = layer(np.zeros((1, SIZE, SIZE, 1)))
    target = rng.poisson(20.0, (3, SIZE, SIZE, 1)) / 5000
    loss = PoissonNLL(dose_photons=5000)
    variable = tf.Variable(obj.astype(np.float32))
    with tf.GradientTape() as tape:
        value = loss(target.astype(np.float32), Rate()(FarField()(variable, probe)))
    gradient = tape.gradient(value, variable).numpy()

    def exact(at):
        rates = diffraction_intensity(exit_waves(probe_array, as_complex(at))) / 4.0
        return np.mean(np.sum(rates - target[..., 0] * np.log(np.maximum(rates, 1e-3 / 5000)), axis=(1, 2)))

    step = 1e-5
    for index in [(0, 8, 8, 0), (1, 5, 9, 1), (2, 10, 7, 0), (0, 7, 6, 1)]:
        up, down = obj.copy(), obj.copy()
        up[index] += step
        down[index] -= step
        assert gradient[index] == pytest.approx((exact(up) - exact(down)) / (2 * step), rel=2e-3, abs=1e-6)


def test_loss_is_the_poisson_likelihood_per_photon(rng):
    """Minimal at the true rates, and independent of the dose in size."""
    rates = rng.uniform(1e-4, 1e-3, (2, 8, 8, 1)).astype(np.float32)
    expected = np.mean(np.sum(1.1 * rates - rates + rates * np.log(1 / 1.1), axis=(1, 2, 3)))
    assert float(PoissonNLL(1e5)(rates, rates)) == 0
    assert float(PoissonNLL(1e5)(rates, 1.1 * rates)) == pytest.approx(expected, rel=1e-4)
    assert float(PoissonNLL(1e9)(rates, 1.1 * rates)) == pytest.approx(expected, rel=1e-4)
    assert float(PoissonNLL(1e5)(rates, 0.9 * rates)) > 0


def test_loss_is_half_the_deviance_per_photon(rng):
    counts = rng.poisson(3.0, (4, 8, 8)).astype(np.float64)
    rates = rng.uniform(1, 5, (4, 8, 8))
    dose = 64 * 3.0
    fractions = [(array / dose).astype(np.float32)[..., None] for array in (counts, rates)]
    half = np.mean(poisson_deviance(counts, rates, rate_floor=1e-3)) / (2 * dose)
    assert float(PoissonNLL(dose)(*fractions)) == pytest.approx(half, rel=1e-4)


def test_a_photon_where_none_was_expected_costs_much_but_not_infinitely_much():
    one_photon = np.zeros((1, 4, 4, 1), np.float32)
    one_photon[0, 1, 1] = 1 / 1000
    value = float(PoissonNLL(1000)(one_photon, np.zeros_like(one_photon)))
    assert value == pytest.approx((np.log(1e-3 / 1e-6) - 1) / 1000)


def test_space_to_depth_loses_nothing(rng):
    image = rng.normal(size=(2, 8, 12, 3)).astype(np.float32)
    blocks = SpaceToDepth()(image)
    assert blocks.shape == (2, 4, 6, 12)
    np.testing.assert_array_equal(ops.convert_to_numpy(DepthToSpace()(blocks)), image)
