"""The Fourier ring correlation on signals whose correlation is known ring by ring."""

import numpy as np
import pytest

from ptychodose.metrics.rings import Rings, first_crossing, ring_correlation


def noise(rng, shape, kind):
    real = rng.normal(size=shape)
    return real + 1j * rng.normal(size=shape) if kind is complex else real


def high_pass(image, cycles_per_pixel):
    """Return the part of a real image at and above a spatial frequency."""
    rows, columns = image.shape
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None, :])
    return np.fft.ifft2(np.fft.fft2(image) * (frequency >= cycles_per_pixel)).real


@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (40, 100)])
@pytest.mark.parametrize("kind", [float, complex])
def test_identical_images_correlate_on_every_ring(shape, kind):
    image = noise(np.random.default_rng(0), shape, kind)
    rings = ring_correlation(image, image)
    assert rings.nyquist_ring == min(shape) // 2
    assert rings.correlation.shape == (min(shape) // 2 + 1,)
    np.testing.assert_allclose(rings.correlation, 1.0, atol=1e-12)
    crossing = first_crossing(rings, 0.5)
    assert (crossing.ring, crossing.fraction_of_nyquist, crossing.reached) == (rings.nyquist_ring, 1.0, False)


def test_a_scale_and_an_offset_change_nothing_and_a_sign_changes_the_sign():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(48, 48))
    prediction = truth + rng.normal(size=(48, 48))
    reference = ring_correlation(prediction, truth).correlation
    np.testing.assert_allclose(ring_correlation(5 * prediction + 7, truth).correlation, reference, atol=1e-12)
    np.testing.assert_allclose(ring_correlation(-prediction, truth).correlation, -reference, atol=1e-12)


def test_complex_images_give_the_real_part():
    rng = np.random.default_rng(2)
    image = noise(rng, (48, 48), complex)
    turned = ring_correlation(image * np.exp(1j * np.pi / 3), image)
    np.testing.assert_allclose(turned.correlation, 0.5, atol=1e-12)


@pytest.mark.parametrize(("kind", "independent"), [(float, 1.0), (complex, 2.0)])
def test_independent_noise_is_uncorrelated_within_one_over_root_n(kind, independent):
    """Σ F G* over n coefficients scatters by 1/sqrt(n) (real image) or 1/sqrt(2n) (complex, real part).

    The Hann window ties neighbouring coefficients, with correlation 2/3 and 1/6 at distance 1 and 2, which
    widens the scatter by at most 1 + 2(4/9 + 1/36) = 1.94: the variance by its square, in two dimensions.
    """
    rng, side, repeats = np.random.default_rng(3), 64, 100
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]) * side
    n = np.bincount(np.rint(radius).astype(int).ravel())[: side // 2 + 1]
    draws = np.array(
        [
            ring_correlation(noise(rng, (side, side), kind), noise(rng, (side, side), kind)).correlation
            for _ in range(repeats)
        ]
    )
    scaled = (draws * np.sqrt(n * independent))[:, 4:]
    assert np.all(np.abs(scaled.mean(axis=0)) < 5 * 1.94 / np.sqrt(repeats))
    assert 1.0 < np.sqrt(np.mean(scaled**2)) < 1.94


def test_noise_of_a_known_strength_gives_the_known_correlation():
    """Truth + white noise at signal-to-noise power S: sqrt(S / (1 + S)) on each ring, up to its scatter."""
    rng, s = np.random.default_rng(4), 0.5
    truth = rng.normal(size=(256, 256))
    rings = ring_correlation(truth + rng.normal(size=truth.shape) / np.sqrt(s), truth)
    n = 2 * np.pi * np.arange(40, 129)
    assert np.all(np.abs(rings.correlation[40:] - np.sqrt(s / (1 + s))) < 5 * 1.94 / np.sqrt(n))
    assert rings.correlation[40:].mean() == pytest.approx(np.sqrt(s / (1 + s)), abs=0.02)


@pytest.mark.parametrize("shape", [(256, 256), (192, 400), (400, 193)])
@pytest.mark.parametrize("threshold", [0.5, 1 / 7])
def test_band_limited_noise_crosses_at_its_band(shape, threshold):
    """Signal below 0.25 cycles per pixel, strong noise above: ring k is k / min(H, W) cycles per pixel.

    So the crossing is half Nyquist on every shape, within 1.5 rings (the Hann window mixes neighbours).
    """
    rng = np.random.default_rng(5)
    truth = rng.normal(size=shape)
    prediction = truth + 20 * high_pass(rng.normal(size=shape), 0.25)
    crossing = first_crossing(ring_correlation(prediction, truth), threshold)
    assert crossing.reached
    assert abs(crossing.ring - 0.25 * min(shape)) <= 1.5
    assert crossing.fraction_of_nyquist == crossing.ring / (min(shape) // 2)


def test_the_window_keeps_the_jump_between_opposite_edges_out():
    """Two independent noises on one steep ramp: without apodisation the ramp's jump fills the axes."""
    rng = np.random.default_rng(6)
    ramp = 40 * np.linspace(-1, 1, 128)[None, :] * np.ones((128, 1))
    rings = ring_correlation(ramp + rng.normal(size=ramp.shape), ramp + rng.normal(size=ramp.shape))
    assert rings.correlation[1] > 0.9
    assert np.abs(rings.correlation[32:]).max() < 0.4


def test_first_crossing_is_the_first_and_skips_ring_zero():
    rings = Rings(np.array([0.1, 0.9, 0.8, 0.4, 0.9, 0.1]), nyquist_ring=5)
    assert first_crossing(rings, 0.5).ring == 3
    assert first_crossing(rings, 1 / 7).ring == 5
    assert first_crossing(rings, 1 / 7).reached
    assert first_crossing(rings, 0.4).ring == 5, "0.4 is not below 0.4"


def test_a_ring_without_power_does_not_agree():
    """Structure only where the window is exactly zero, its first row and column: no power, 0 and not NaN."""
    image = np.zeros((8, 8))
    image[0, 0::2], image[0, 1::2] = 1.0, -1.0
    np.testing.assert_array_equal(ring_correlation(image, image).correlation, 0.0)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, np.nan])
def test_threshold_must_be_a_correlation(threshold):
    with pytest.raises(ValueError, match="threshold"):
        first_crossing(Rings(np.ones(4), 3), threshold)
