"""The spread of metrics over repeated trainings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptychodose.metrics.spread import spread

numbers = st.floats(-1e6, 1e6)


def test_values_median_and_range_of_a_nested_metric():
    trainings = [{"amplitude": {"psnr": psnr}} for psnr in (29.0, 31.5, 30.0)]
    assert spread(trainings) == {
        "amplitude.psnr": {
            "values": [29.0, 31.5, 30.0],
            "median": 30.0,
            "min": 29.0,
            "max": 31.5,
            "range": 2.5,
        }
    }


def test_the_median_of_two_is_their_mean():
    assert spread([{"ratio": 1.0}, {"ratio": 2.0}])["ratio"]["median"] == 1.5


@given(st.lists(numbers, min_size=1, max_size=7))
def test_the_median_lies_between_min_and_max_and_order_does_not_matter(values):
    found = spread([{"x": value} for value in values])["x"]
    turned = spread([{"x": value} for value in reversed(values)])["x"]
    assert found["min"] <= found["median"] <= found["max"]
    assert found["range"] == found["max"] - found["min"] >= 0
    assert {key: found[key] for key in ("median", "min", "max")} == {
        key: turned[key] for key in ("median", "min", "max")
    }


def test_metrics_at_any_depth_keep_their_path_as_name():
    training = {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert set(spread([training, training])) == {"a.b.c", "a.d", "e"}


def test_collapsed_is_counted():
    trainings = [{"collapsed": value} for value in (False, True, True)]
    assert spread(trainings) == {"collapsed": {"values": [False, True, True], "count": 2}}


@pytest.mark.parametrize("undefined", [None, math.nan, math.inf])
def test_a_metric_that_is_undefined_once_has_its_values_only(undefined):
    found = spread([{"psnr": 30.0}, {"psnr": undefined}])
    assert list(found["psnr"]) == ["values"]
    assert found["psnr"]["values"][0] == 30.0


def test_a_metric_that_one_training_lacks_has_its_values_only():
    assert spread([{"psnr": 30.0, "ssim": 0.9}, {"ssim": 0.8}])["psnr"] == {"values": [30.0, None]}


def test_a_group_that_one_training_lacks_has_its_values_only():
    assert spread([{"phase": {"psnr": 30.0}}, {}])["phase"] == {"values": [{"psnr": 30.0}, None]}


def test_trainings_with_no_metrics_have_no_spread():
    assert spread([{}, {}]) == {}
