"""Halves of the photons: exact counts back from files, two independent Poisson measurements out of one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.physics.halving import counts_of, halve, input_scale, network_input
from ptychodose.physics.randomness import philox_key

KEY = philox_key("halves", 1, 1e5, "train")
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
def test_the_halves_add_up_and_none_is_negative(seed, scale):
    counts = np.random.default_rng(seed).poisson(scale, size=(3, 8, 8))
    first, second = halve(counts, KEY, np.array([0, 5, 2]))
    assert np.array_equal(first + second, counts)
    assert first.min() >= 0 and second.min() >= 0


@pytest.mark.parametrize("rate", [0.5, 6.0, 400.0])
def test_the_halves_of_poisson_counts_are_independent_poisson_counts_of_half_the_rate(rate):
    n = 16 * 64 * 64
    counts = np.random.default_rng(2).poisson(rate, size=(16, 64, 64))
    first, second = (half.ravel().astype(np.float64) for half in halve(counts, KEY, np.arange(16)))
    for half in (first, second):
        assert abs(half.mean() - rate / 2) < 4 * math.sqrt(rate / 2 / n)
        assert abs(half.var(ddof=1) - rate / 2) < 4 * math.sqrt((rate / 2 + rate**2 / 2) / n)
    covariance = ((first - first.mean()) * (second - second.mean())).mean()
    assert abs(covariance) < 4 * (rate / 2) / math.sqrt(n)


@given(order=st.permutations(range(12)))
def test_a_half_depends_on_the_key_and_the_index_alone(order):
    order = np.array(order)
    whole, _ = halve(COUNTS, KEY, INDICES)
    permuted, _ = halve(COUNTS[order], KEY, order)
    assert np.array_equal(permuted, whole[order])


def test_another_key_or_index_is_another_half():
    whole, _ = halve(COUNTS, KEY, INDICES)
    for other, _ in (halve(COUNTS, KEY, INDICES + 12), halve(COUNTS, philox_key("halves", 2), INDICES)):
        assert ((other != whole) & (COUNTS > 5)).any(axis=(1, 2)).all()


def test_the_network_input_has_the_power_its_scale_promises():
    scale = input_scale(float(COUNTS.sum(axis=(1, 2)).mean()), 16)
    inputs = network_input(COUNTS, scale)
    assert inputs.shape == (12, 16, 16, 1) and inputs.dtype == np.float32
    assert (inputs.astype(np.float64) ** 2).sum(axis=(1, 2, 3)).mean() == pytest.approx(8**2, rel=1e-6)
    np.testing.assert_allclose(inputs[..., 0], scale * np.sqrt(COUNTS), rtol=1e-7)
