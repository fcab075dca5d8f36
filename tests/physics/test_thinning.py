"""Thinning: exact counts back from files, two independent Poisson measurements out of one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.physics.randomness import philox_key
from ptychodose.physics.thinning import SEEN_SHARE, counts_of, input_scale, network_input, thin

KEY = philox_key("thinning", 1, 1e5, "train")
COUNTS = np.random.default_rng(0).poisson(np.random.default_rng(1).gamma(0.5, 50.0, size=(12, 16, 16)))
INDICES = np.arange(12)


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 2**22 - 4096), dose_photons=st.sampled_from([1e3, 2.5e4, 1e5, 1e7, 1e9, 3e9]))
def test_counts_below_four_million_come_back_exactly_from_float32_amplitudes(start, dose_photons):
    counts = start + np.arange(4096)
    patterns = np.sqrt(counts / dose_photons).astype(np.float32).reshape(1, 64, 64)
    assert np.array_equal(counts_of(patterns, dose_photons).ravel(), counts)


@settings(deadline=None, max_examples=40)
@given(start=st.integers(2**22, 10**9), dose_photons=st.sampled_from([1e7, 1e9]))
def test_larger_counts_come_back_to_the_last_bit_of_float32(start, dose_photons):
    counts = start + np.arange(4096)
    patterns = np.sqrt(counts / dose_photons).astype(np.float32).reshape(1, 64, 64)
    error = np.abs(counts_of(patterns, dose_photons).ravel() - counts)
    assert (error <= counts * 2.0**-23 + 0.5).all()
    # Below half a per cent of the Poisson error, up to a thousand million photons in one pixel.
    assert (error < 0.004 * np.sqrt(counts)).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 10.0, 1e6]))
def test_no_more_photons_are_seen_than_there_are(seed, scale):
    counts = np.random.default_rng(seed).poisson(scale, size=(3, 8, 8))
    seen, share = thin(counts, KEY, np.array([0, 5, 2]))
    assert seen.min() >= 0 and (counts - seen).min() >= 0
    assert share.shape == (3,) and seen.dtype == np.int64


@pytest.mark.parametrize("rate", [0.5, 6.0, 400.0])
def test_parts_of_poisson_counts_are_independent_poisson_counts_of_their_share(rate):
    """Given the share q of a pattern: seen ~ Poisson(q L), hidden ~ Poisson((1 - q) L), not correlated."""
    n_patterns, n_pixels = 32, 64 * 64
    counts = np.random.default_rng(2).poisson(rate, size=(n_patterns, 64, 64))
    seen, share = thin(counts, KEY, np.arange(n_patterns))
    hidden = counts - seen
    # In units of their expected scatter, so that patterns of different shares can be taken together.
    scaled = []
    for part, mean in ((seen, share * rate), (hidden, (1 - share) * rate)):
        deviation = (part - mean[:, None, None]) / np.sqrt(mean)[:, None, None]
        scaled.append(deviation.reshape(n_patterns, n_pixels))
        # Pattern by pattern: the mean is that of the pattern's own share.
        assert (np.abs(scaled[-1].mean(axis=1)) < 5 / math.sqrt(n_pixels)).all()
        scatter = math.sqrt(float(np.mean(2 + 1 / mean)) / deviation.size)
        assert abs(float(np.mean(deviation**2)) - 1) < 4 * scatter
    correlation = float(np.mean(scaled[0] * scaled[1]))
    assert abs(correlation) < 4 / math.sqrt(scaled[0].size)


def test_shares_are_uniform_between_half_and_nine_tenths():
    _, share = thin(np.zeros((2000, 1, 1), np.int64), KEY, np.arange(2000))
    low, high = SEEN_SHARE
    assert (low, high) == (0.5, 0.9)
    # Kolmogorov-Smirnov, one in ten thousand.
    empirical = (np.arange(2000) + 0.5) / 2000
    assert np.abs(np.sort(share) - low - (high - low) * empirical).max() / (high - low) < 2.23 / math.sqrt(
        2000
    )
    assert share.min() >= low and share.max() <= high


@given(order=st.permutations(range(12)))
def test_what_is_seen_depends_on_the_key_and_the_index_alone(order):
    order = np.array(order)
    whole, shares = thin(COUNTS, KEY, INDICES)
    permuted, permuted_shares = thin(COUNTS[order], KEY, order)
    assert np.array_equal(permuted, whole[order])
    assert np.array_equal(permuted_shares, shares[order])


def test_another_key_or_index_is_another_draw():
    whole, shares = thin(COUNTS, KEY, INDICES)
    for other, other_shares in (
        thin(COUNTS, KEY, INDICES + 12),
        thin(COUNTS, philox_key("thinning", 2), INDICES),
    ):
        assert ((other != whole) & (COUNTS > 5)).any(axis=(1, 2)).all()
        assert (shares != other_shares).all()


def test_the_network_input_has_the_power_its_scale_promises():
    scale = input_scale(float(COUNTS.sum(axis=(1, 2)).mean()), 16)
    inputs = network_input(COUNTS, scale)
    assert inputs.shape == (12, 16, 16, 1) and inputs.dtype == np.float32
    assert (inputs.astype(np.float64) ** 2).sum(axis=(1, 2, 3)).mean() == pytest.approx(8**2, rel=1e-6)
    np.testing.assert_allclose(inputs[..., 0], scale * np.sqrt(COUNTS), rtol=1e-7)
