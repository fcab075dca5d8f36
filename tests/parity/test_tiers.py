"""Tiers: exact, close and statistical, from fingerprints of arrays that are known here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.parity import prints
from ptychodose.parity.boundaries import BOUNDARIES
from ptychodose.parity.emitter import entry, fingerprint, plain
from ptychodose.parity.pairs import Pair
from ptychodose.parity.schema import ArrayPrint, Entry
from ptychodose.parity.tiers import RULES, judge
from ptychodose.parity.verdict import Tier

NAMES = ("raw.diff3d", "raw.xcoords", "normalized", "probe", "rates", "stitched", "grouped.neighbours", "own")


def pair(a, b, name="raw.xcoords", dose="1e5", definitions=(None, None)):
    sides = []
    for what, definition in zip((a, b), definitions, strict=True):
        tree = plain(entry("set", dose=dose, boundaries={name: what}))
        tree["boundaries"][0]["definition"] = definition
        sides.append(Entry.model_validate(tree))
    return Pair(*sides)


def judged(a, b, name="raw.xcoords", **rest):
    return judge(pair(a, b, name, **rest), name)


def printed(array):
    return ArrayPrint.model_validate(plain(fingerprint(array)))


def drawn(seed, shape, kind=float):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if kind is complex else values


@given(st.integers(0, 1000), st.sampled_from([(7,), (40, 3), (5, 17, 17)]), st.sampled_from([float, complex]))
@settings(max_examples=12, deadline=None)
def test_an_array_is_exactly_itself(seed, shape, kind):
    values = drawn(seed, shape, kind)
    assert {judged(values, values.copy(), name).tier for name in NAMES[::3]} == {Tier.EXACT}


@given(st.integers(0, 1000), st.floats(-9, 0), st.sampled_from(NAMES))
@settings(max_examples=12, deadline=None)
def test_the_tier_does_not_depend_on_who_is_the_reference(seed, exponent, name):
    a = drawn(seed, (6, 17, 17))
    b = a + 10**exponent * drawn(seed + 1, a.shape)
    forth, back = judged(a, b, name), judged(b, a, name)
    assert forth.tier == back.tier
    assert forth.relative_error == pytest.approx(back.relative_error, rel=1e-9)


@given(st.integers(0, 10_000), st.floats(-5, 0), st.sampled_from([float, complex]))
@settings(max_examples=25, deadline=None)
def test_the_error_is_estimated_within_five_of_its_standard_deviations(seed, exponent, kind):
    a = drawn(seed, (3, 40, 40), kind)
    difference = 10**exponent * drawn(seed + 1, a.shape, kind)
    a, b = a.astype(np.complex128 if kind is complex else np.float64), a + difference
    true = np.linalg.norm(difference) / max(np.linalg.norm(a), np.linalg.norm(b))
    # 1 / sqrt(2 * 61) is 9 %.
    assert prints.relative_error(printed(a), printed(b)) == pytest.approx(true, rel=5 * 0.0905)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_one_factor_is_found_to_nine_digits(factor, seed):
    a = drawn(seed, (3, 20, 20))
    found, left = prints.factor(printed(a), printed(factor * a))
    assert found == pytest.approx(factor, rel=1e-7)
    assert left < 1e-7


def test_rounding_is_close_and_named_with_its_error():
    a = drawn(1, (4, 20, 20))
    verdict = judged(a, a.astype(np.float32))
    assert verdict.tier is Tier.CLOSE
    assert verdict.note == "float64 against float32"
    assert 1e-8 < verdict.relative_error < 1e-7


def test_whole_numbers_are_never_close():
    rows = np.arange(70_000).reshape(-1, 7)
    other = rows.copy()
    other[5, [2, 3]] = other[5, [3, 2]]
    assert judged(rows, other, "grouped.neighbours").tier is Tier.DIFFERENT
    assert judged(rows, rows.astype(np.int32), "grouped.neighbours").tier is Tier.CLOSE


@pytest.mark.parametrize(
    "other, note",
    [
        (drawn(1, (3, 20, 21)), "shape (3, 20, 20) against (3, 20, 21)"),
        (drawn(1, (3, 20, 20), complex), "float64 against complex128"),
        (np.where(np.arange(1200).reshape(3, 20, 20) == 7, np.nan, drawn(1, (3, 20, 20))), "1200 finite"),
    ],
)
def test_shape_kind_and_finiteness_are_told(other, note):
    verdict = judged(drawn(1, (3, 20, 20)), other)
    assert verdict.tier is Tier.DIFFERENT
    assert note in verdict.note


def test_without_projections_the_statistics_count_and_it_is_said():
    a = drawn(1, (4, 20, 20))
    both = pair(a, a + 1e-9)
    array = both.b.boundaries[0].array.model_copy(update={"projection": None, "sha256": None})
    bare = both.b.boundaries[0].model_copy(update={"array": array})
    verdict = judge(Pair(both.a, both.b.model_copy(update={"boundaries": [bare]})), "raw.xcoords")
    assert verdict.tier is Tier.CLOSE
    assert "by its statistics only" in verdict.note
    shape = bare.model_copy(update={"array": ArrayPrint(shape=array.shape, dtype=array.dtype)})
    verdict = judge(Pair(both.a, both.b.model_copy(update={"boundaries": [shape]})), "raw.xcoords")
    assert (verdict.tier, verdict.note) == (Tier.MISSING, "one side knows no more than the shape")


def test_what_is_defined_otherwise_is_not_called_different():
    a = drawn(1, (4, 20, 20))
    verdict = judged(a, 2 * a, definitions=(None, "in mm"))
    assert verdict.tier is Tier.MISSING
    assert verdict.note == "not defined alike: A: as in docs/parity.md; B: in mm"
    assert judged(a, a, definitions=(None, "in mm")).tier is Tier.EXACT


def test_numbers_are_compared_leaf_by_leaf():
    a = {"layer": {"l2_norm": 2.0, "mean": 1e-6, "shape": [100], "sha256": "a"}, "only A": 1}
    b = {"layer": {"l2_norm": 2.00001, "mean": 3e-6, "shape": [100], "sha256": "b"}}
    assert judged(a, a, "train.weights").tier is Tier.EXACT
    # The mean of weights of rms 0.2 is zero but for rounding.
    assert judged(a, b, "train.weights").tier is Tier.CLOSE
    other = {"layer": b["layer"] | {"shape": [10, 10]}}
    assert judged(a, other, "train.initial_weights").note == "layer.shape: [100] against [10, 10]"
    assert judged({"x": 1}, {"y": 1}, "own").tier is Tier.MISSING


def counts(rates, seed):
    return np.random.default_rng(seed).poisson(rates)


@pytest.mark.parametrize("dose", [1e2, 1e3, 1e5, 1e9])
def test_photon_noise_is_statistical_at_every_dose_and_ten_seeds(dose):
    rates = np.exp(-np.linspace(0, 8, 400)).reshape(20, 20) * np.ones((50, 1, 1))
    rates *= dose / rates.sum(axis=(1, 2)).mean()
    reference = np.sqrt(counts(rates, 0) / dose).astype(np.float32)
    for seed in range(1, 11):
        other = np.sqrt(counts(rates, seed) / dose).astype(np.float32)
        for name in ("raw.diff3d", "normalized", "input"):
            verdict = judged(reference, other, name, dose=f"{dose:g}")
            assert verdict.tier is Tier.STATISTICAL, verdict
        sums = [np.rint(np.square(x.astype(float)) * dose).sum(axis=(1, 2)) for x in (reference, other)]
        assert judged(*sums, "raw.photons", dose=f"{dose:g}").tier is Tier.STATISTICAL


@pytest.mark.parametrize(
    "fault, note",
    [
        (lambda c: c * 1.01, "sums of squares differ"),
        (lambda c: np.roll(c, 1, 1), "the mean patterns differ"),
        # Of pixels with one photon, an eighth is dark and an eighth has two.
        (lambda c: np.where(c == 1, [[[n]] for n in [0, 2, *6 * [1]] * 50], c), "dark pixels"),
    ],
)
def test_what_is_more_than_photon_noise_is_told(fault, note):
    rates = np.exp(-np.linspace(0, 8, 400)).reshape(20, 20) * np.full((400, 1, 1), 200.0)
    dose = rates.sum(axis=(1, 2)).mean()
    a, b = np.sqrt(counts(rates, 1) / dose), np.sqrt(fault(counts(rates, 2)) / dose)
    verdict = judged(a, b, "raw.diff3d", dose=f"{dose}")
    assert verdict.tier is Tier.DIFFERENT
    assert note in verdict.note


def test_the_same_counts_altered_are_no_noise():
    rates = np.full((20, 16, 16), 40.0)
    a = np.sqrt(counts(rates, 1) / 10240)
    verdict = judged(a, a.astype(np.float16), "raw.diff3d", dose="10240")
    assert verdict.tier is Tier.DIFFERENT
    assert "the same counts, altered" in verdict.note


def test_every_statistical_boundary_has_a_rule():
    assert {kind.name for kind in BOUNDARIES.values() if kind.statistical} <= RULES.keys()
