"""Photon counts: their statistics, the dose they add up to, and what a draw depends on."""

import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_wave_energy, exit_waves
from ptychodose.physics.photons import (
    draw_counts,
    gain_squared,
    mean_exit_energy,
    measured_dose,
    simulate_patterns,
)
from ptychodose.physics.randomness import philox_key

KEY = philox_key("photons", 20261122, 1e5, "train")
RATES = np.random.default_rng(0).gamma(0.5, 200.0, size=(12, 16, 16))
COUNTS = draw_counts(RATES, KEY, 0)


@pytest.mark.parametrize("rate", [0.003, 0.7, 9.5, 30.0, 1e4, 1e8])
def test_counts_have_the_mean_and_the_variance_of_a_poisson_law(rate):
    counts = draw_counts(np.full((16, 64, 64), rate), KEY, 0).astype(np.float64)
    mean_error = math.sqrt(rate / counts.size)
    variance_error = math.sqrt((rate + 2 * rate**2) / counts.size)
    assert abs(counts.mean() - rate) < 4 * mean_error
    assert abs(counts.var(ddof=1) - rate) < 4 * variance_error


def test_no_photon_falls_where_none_is_expected():
    assert not draw_counts(np.zeros((2, 64, 64)), KEY, 0).any()


@pytest.mark.parametrize("dose_photons", [1e3, 1e9])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_gain_gives_the_dose_as_the_mean_over_the_scan(
    rough_object, rough_probe, every_place, dose_photons, interpolation
):
    energy = exit_wave_energy(rough_object, rough_probe, *every_place, interpolation)
    gain2 = gain_squared(dose_photons, energy)
    waves = exit_waves(rough_probe, cut_patches(rough_object, *every_place, 16, interpolation))
    expected_photons = gain2 * diffraction_intensity(waves).sum(axis=(1, 2))
    assert expected_photons.mean() == pytest.approx(dose_photons, rel=1e-12)
    assert mean_exit_energy(dose_photons, gain2) == pytest.approx(energy.mean(), rel=1e-14)


def test_the_gain_does_not_depend_on_the_order_of_the_positions():
    energy = np.random.default_rng(0).lognormal(sigma=5, size=1000)
    assert gain_squared(1e5, energy) == gain_squared(1e5, energy[::-1]) == gain_squared(1e5, np.sort(energy))


@given(cuts=st.sets(st.integers(1, 11)))
def test_the_size_of_the_chunks_changes_no_count(cuts):
    edges = [0, *sorted(cuts), 12]
    chunks = [draw_counts(RATES[a:b], KEY, a) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(chunks), COUNTS)


@given(order=st.permutations(range(12)))
def test_the_order_of_the_patterns_changes_no_count(order):
    for index in order:
        assert np.array_equal(draw_counts(RATES[index : index + 1], KEY, index)[0], COUNTS[index])


def test_threads_change_no_count():
    with ThreadPoolExecutor(4) as pool:
        drawn = pool.map(lambda index: draw_counts(RATES[index : index + 1], KEY, index)[0], range(12))
        assert np.array_equal(list(drawn), COUNTS)


def test_processes_change_no_count():
    context = get_context("forkserver")
    context.set_forkserver_preload(["ptychodose.physics.photons"])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        halves = list(pool.map(draw_counts, [RATES[:7], RATES[7:]], [KEY, KEY], [0, 7]))
    assert np.array_equal(np.concatenate(halves), COUNTS)


@pytest.mark.parametrize(
    "purpose",
    [
        ("photons", 20261123, 1e5, "train"),
        ("photons", 20261122, 1e6, "train"),
        ("photons", 20261122, 1e5, "test"),
        ("halves", 20261122, 1e5, "train"),
    ],
)
def test_another_seed_dose_split_or_purpose_is_another_draw(purpose):
    other = draw_counts(RATES, philox_key(*purpose), 0)
    differ = (other != COUNTS).mean(axis=(1, 2))
    assert (differ > 0.25).all()


def test_another_index_is_another_draw():
    same_rates = np.broadcast_to(RATES[0], RATES.shape)
    counts = draw_counts(same_rates, KEY, 0)
    assert len({pattern.tobytes() for pattern in counts}) == 12
    flat = (counts - RATES[0]).reshape(12, -1) / np.sqrt(RATES[0].ravel() + 1e-9)
    correlation = np.corrcoef(flat)[np.triu_indices(12, 1)]
    assert np.abs(correlation).max() < 5 / math.sqrt(256)


def test_a_dose_is_the_same_however_it_is_spelled():
    keys = [philox_key("photons", 1, float(dose), "train") for dose in ("1e5", "100000", "1.0e+5")]
    assert np.array_equal(keys[0], keys[1]) and np.array_equal(keys[0], keys[2])


@pytest.mark.parametrize("mean", [0.1, 100.0, 1e7])
def test_a_difference_in_the_last_bit_of_the_rates_changes_no_count(mean):
    rates = np.random.default_rng(1).exponential(mean, size=(8, 64, 64))
    counts = draw_counts(rates, KEY, 0)
    for other in (np.nextafter(rates, np.inf), np.nextafter(rates, 0)):
        assert np.array_equal(draw_counts(other, KEY, 0), counts)


@pytest.mark.parametrize("dose_photons", [1e3, 1e6])
def test_patterns_are_roots_of_counts_over_dose(rough_object, rough_probe, every_place, dose_photons):
    x, y = every_place
    gain2 = gain_squared(dose_photons, exit_wave_energy(rough_object, rough_probe, x, y, "bilinear"))
    patterns, photons = simulate_patterns(
        rough_object,
        rough_probe,
        x,
        y,
        dose_photons=dose_photons,
        gain_squared=gain2,
        interpolation="bilinear",
        key=KEY,
        first_index=0,
    )
    waves = exit_waves(rough_probe, cut_patches(rough_object, x, y, 16, "bilinear"))
    counts = draw_counts(gain2 * diffraction_intensity(waves), KEY, 0)
    assert patterns.dtype == np.float32
    assert np.array_equal(patterns, np.sqrt(counts / dose_photons).astype(np.float32))
    assert np.array_equal(photons, counts.sum(axis=(1, 2)))
    # The smallest amplitude there is belongs to a single photon.
    assert (counts == 1).any()
    assert patterns[patterns > 0].min() == np.float32(math.sqrt(1 / dose_photons))
    mean_error = math.sqrt(dose_photons / len(x))
    assert abs(photons.mean() - dose_photons) < 4 * mean_error


def test_the_measured_dose_is_counted_and_set_against_the_declared_one():
    dose = measured_dose(np.array([80.0, 100.0, 120.0, 140.0]), 100.0, whole_scan=False)
    assert (dose.declared_photons, dose.mean_photons) == (100.0, 110.0)
    assert (dose.min_photons, dose.max_photons) == (80.0, 140.0)
    assert dose.standard_error_photons == pytest.approx(math.sqrt(2000 / 3 / 4), rel=1e-12)
    assert dose.deviation_in_standard_errors == pytest.approx(10 / math.sqrt(2000 / 12), rel=1e-12)


@pytest.mark.parametrize("n", [1, 4])
def test_the_standard_error_is_never_below_that_of_photons(n):
    assert measured_dose(
        np.full(n, 90.0), 100.0, whole_scan=False
    ).deviation_in_standard_errors == pytest.approx(-math.sqrt(n), rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_measured_mean_does_not_depend_on_the_order(seed):
    photons = np.random.default_rng(seed).lognormal(sigma=5, size=300)
    assert measured_dose(photons, 1e3, whole_scan=True) == measured_dose(
        np.sort(photons), 1e3, whole_scan=True
    )
