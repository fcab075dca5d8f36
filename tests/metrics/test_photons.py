"""The deviance against its formula written out, its sign, and its value on Poisson data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.metrics.photons import deviance_ratio, poisson_deviance

FLOOR = 1e-9
SEEDS = st.integers(0, 2**32 - 1)


def test_deviance_by_hand():
    counts = np.array([[[0, 1], [4, 9]], [[0, 0], [0, 0]]])
    rates = np.array([[[0.5, 2.0], [4.0, 8.0]], [[0.0, 1.0], [2.0, 3.0]]])
    first = 2 * (0.5 + (math.log(0.5) + 1) + 0 + (9 * math.log(9 / 8) - 1))
    second = 2 * (FLOOR + 1 + 2 + 3)
    np.testing.assert_allclose(poisson_deviance(counts, rates, rate_floor=FLOOR), [first, second], rtol=1e-12)


def test_a_photon_where_none_was_expected_costs_what_the_floor_says():
    counts, rates = np.ones((1, 1, 1), np.int64), np.zeros((1, 1, 1))
    expected = 2 * (math.log(1 / 1e-4) - (1 - 1e-4))
    assert poisson_deviance(counts, rates, rate_floor=1e-4)[0] == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.1, 1e6), st.floats(1.001, 10))
def test_deviance_is_zero_at_the_counts_and_positive_elsewhere(seed, rate, factor):
    counts = np.random.default_rng(seed).poisson(rate, (3, 4, 4)) + 1
    exact = poisson_deviance(counts, counts, rate_floor=FLOOR)
    np.testing.assert_array_equal(exact, 0.0)
    for other in (counts * factor, counts / factor):
        assert np.all(poisson_deviance(counts, other, rate_floor=FLOOR) > 0)


def test_deviance_per_pixel_of_poisson_data_is_one_at_high_rate():
    rng = np.random.default_rng(1)
    rates = rng.uniform(200, 2000, (20, 64, 64))
    deviance = poisson_deviance(rng.poisson(rates), rates, rate_floor=FLOOR)
    assert deviance.shape == (20,)
    # A chi-squared variable of one degree has variance 2, and 20 · 64 · 64 pixels are averaged.
    assert deviance.sum() / rates.size == pytest.approx(1.0, abs=5 * math.sqrt(2 / rates.size) + 1e-3)


def test_deviance_ratio_is_above_one_for_a_wrong_rate_and_below_for_an_over_fit():
    rng = np.random.default_rng(2)
    rates = np.full((10, 32, 32), 100.0)
    counts = rng.poisson(rates)
    truth = poisson_deviance(counts, rates, rate_floor=FLOOR)
    too_high = poisson_deviance(counts, 1.1 * rates, rate_floor=FLOOR)
    over_fit = poisson_deviance(counts, (counts + rates) / 2, rate_floor=FLOOR)
    # A rate 10 % too high adds λ δ² = 1 to a deviance of 1 per pixel, to leading order in δ; halfway
    # between rate and count a quarter of the deviance is left.
    assert deviance_ratio(too_high, truth) == pytest.approx(2.0, abs=0.1)
    assert deviance_ratio(over_fit, truth) == pytest.approx(0.25, abs=0.02)
    assert deviance_ratio(truth, truth) == 1.0


def test_deviance_ratio_weighs_patterns_by_their_deviance():
    assert deviance_ratio(np.array([3.0, 1.0]), np.array([1.0, 3.0])) == 1.0


def test_float32_input_is_computed_in_float64():
    rng = np.random.default_rng(3)
    rates = rng.uniform(0, 1e4, (2, 32, 32)).astype(np.float32)
    counts = rng.poisson(rates).astype(np.float32)
    in_float64 = poisson_deviance(counts.astype(np.float64), rates.astype(np.float64), rate_floor=FLOOR)
    np.testing.assert_array_equal(poisson_deviance(counts, rates, rate_floor=FLOOR), in_float64)


@pytest.mark.parametrize(
    ("counts", "rates", "floor", "message"),
    [
        (-np.ones((1, 2, 2)), np.ones((1, 2, 2)), FLOOR, "count is negative"),
        (np.full((1, 2, 2), np.nan), np.ones((1, 2, 2)), FLOOR, "not finite"),
        (np.ones((1, 2, 2)), -np.ones((1, 2, 2)), FLOOR, "rate is negative"),
        (np.ones((2, 2)), np.ones((2, 2)), FLOOR, r"\(n, N, N\)"),
        (np.ones((1, 2, 2)), np.ones((3, 2, 2)), FLOOR, "shapes differ"),
        (np.ones((1, 2, 2)), np.ones((1, 2, 2)), 0.0, "rate_floor"),
    ],
)
def test_wrong_input_is_refused(counts, rates, floor, message):
    with pytest.raises(ValueError, match=message):
        poisson_deviance(counts, rates, rate_floor=floor)
