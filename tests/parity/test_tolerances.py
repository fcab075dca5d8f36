"""The tolerance of a number: what the seeds say, never below the least, and where it comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptychodose.config import CompareParams
from ptychodose.parity.tolerances import Tolerance, Tolerances

LEAST = {"psnr": 0.1, "deviance_ratio": "1%", "control": "0.0001%"}
DOSES = st.sampled_from(["1e3", "1e4", "1e5", "1e7", "1e9"])


def spread(width, median=30.0):
    return {"values": [], "median": median, "min": 0.0, "max": 0.0, "range": width}


def rule(floors=None, overrides=None, seed_ranges=2.5):
    """Tolerances of floors written as {(model, dose): range of the amplitude's PSNR in the test split}."""
    compare = CompareParams(seed_ranges=seed_ranges, least=LEAST, overrides=overrides or {})
    spreads = {run: {"test": {"amplitude.psnr": spread(width)}} for run, width in (floors or {}).items()}
    return Tolerances(compare, spreads)


def psnr(tolerances, model="pinn", dose="1e5"):
    found = tolerances.of("amplitude.psnr", model, dose, 30.0)
    return pytest.approx(found.value), found.origin


def test_where_there_are_seeds_it_is_a_multiple_of_their_range():
    assert psnr(rule({("pinn", "1e5"): 0.2, ("pinn", "1e3"): 9.0})) == (0.5, "floor: pinn 1e5")


@pytest.mark.parametrize(
    ("dose", "expected"),
    [
        ("1e2", (1.0, "floor: pinn 1e3")),
        ("1e4", (2.0, "floor: pinn 1e5")),
        ("1e6", (2.0, "floor: pinn 1e5")),
        ("1e10", (0.5, "floor: pinn 1e9")),
        ("1000", (1.0, "floor: pinn 1e3")),
    ],
)
def test_a_dose_without_seeds_takes_the_larger_range_of_its_neighbours(dose, expected):
    floors = {("pinn", "1e5"): 0.8, ("pinn", "1e9"): 0.2, ("pinn", "1e3"): 0.4}
    assert psnr(rule(floors), dose=dose) == expected


def test_a_model_without_seeds_takes_the_larger_range_of_those_that_have_some():
    floors = {("pinn", "1e5"): 0.4, ("unet", "1e4"): 0.8, ("unet", "1e9"): 0.2}
    assert psnr(rule(floors), model="supervised") == (2.0, "floor: unet 1e4")


@pytest.mark.parametrize("model", ["ml", "map", "pinn-refine"])
def test_a_fit_is_not_seeded(model):
    assert psnr(rule({("pinn", "1e5"): 9.0}), model=model) == (0.1, "least: 0.1")


def test_the_largest_range_over_the_splits_counts():
    splits = {"train": {"amplitude.psnr": spread(0.4)}, "test": {"amplitude.psnr": spread(0.2)}, "unseen": {}}
    compare = CompareParams(seed_ranges=2.5, least=LEAST, overrides={})
    assert psnr(Tolerances(compare, {("pinn", "1e5"): splits})) == (1.0, "floor: pinn 1e5")


def test_a_number_that_was_undefined_for_a_seed_has_no_range():
    tolerances = Tolerances(
        rule().compare, {("pinn", "1e5"): {"test": {"amplitude.psnr": {"values": [None]}}}}
    )
    assert psnr(tolerances) == (0.1, "least: 0.1")


def test_a_share_is_taken_of_the_value_of_the_reference():
    assert rule().of("deviance_ratio", "ml", "1e5", -250.0) == Tolerance(2.5, "least: 1%")
    assert rule().of("control.ms_ssim", "pinn", "1e5", 0.5).value == pytest.approx(5e-7)


def test_a_range_of_what_spans_decades_is_carried_to_another_dose_as_a_share():
    # A deviance of 100 ± 10 where photons abound says nothing of ± 10 where the ratio is 2.
    floors = {("pinn", "1e9"): {"test": {"deviance_ratio": spread(10.0, median=100.0)}}}
    tolerances = Tolerances(rule().compare, floors)
    assert tolerances.of("deviance_ratio", "pinn", "1e9", 90.0).value == pytest.approx(25.0)
    assert tolerances.of("deviance_ratio", "pinn", "1e7", 2.0).value == pytest.approx(0.5)


def test_a_metric_without_any_rule_must_be_equal():
    assert rule().of("amplitude.novel", "pinn", "1e5", 1.0) == Tolerance(0.0, "exact")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"*/*": {"psnr": 7.0}}, (7.0, "override: */*")),
        ({"*/*": {"psnr": 7.0}, "pinn/*": {"psnr": "10%"}}, (3.0, "override: pinn/*")),
        ({"pinn/*": {"psnr": 7.0}, "pinn/1e5": {"amplitude.psnr": 0.01}}, (0.01, "override: pinn/1e5")),
        ({"pinn/1e5": {"psnr": 7.0, "amplitude.psnr": 0.0}}, (0.0, "override: pinn/1e5")),
        ({"pinn/1e5": {"phase.psnr": 7.0}, "map/*": {"psnr": 7.0}}, (0.5, "floor: pinn 1e5")),
    ],
)
def test_the_most_particular_override_replaces_the_rule(overrides, expected):
    assert psnr(rule({("pinn", "1e5"): 0.2}, overrides)) == expected


floors_of_pinn = st.dictionaries(st.tuples(st.sampled_from(["pinn", "unet"]), DOSES), st.floats(0, 1e3))


@given(floors_of_pinn, st.sampled_from(["pinn", "supervised", "ml"]), DOSES)
def test_no_tolerance_is_below_the_least(floors, model, dose):
    value = rule(floors).of("amplitude.psnr", model, dose, 30.0).value
    assert value >= 0.1


@given(floors_of_pinn, st.sampled_from(["pinn", "supervised"]), DOSES, st.floats(1, 100))
def test_seeds_that_lie_further_apart_never_make_it_stricter(floors, model, dose, factor):
    wider = {run: width * factor for run, width in floors.items()}
    narrow, wide = (rule(found).of("amplitude.psnr", model, dose, 30.0).value for found in (floors, wider))
    assert narrow <= wide
