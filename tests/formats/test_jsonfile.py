"""JSON files: no NaN, no last bits, errors that name the file."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import read_json, rounded, write_json

FINITE = st.floats(-1e300, 1e300)


def test_a_tree_comes_back_with_its_keys_in_their_order(tmp_path):
    tree = {"b": [1, 2.5, None], "a": {"µ": "photons", "yes": True}}
    write_json(tmp_path / "a.json", tree)
    found = read_json(tmp_path / "a.json")
    assert found == tree
    assert list(found) == ["b", "a"]
    assert "µ" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_nan_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": [1.0, value]})
    assert read_json(path) == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@given(value=FINITE)
def test_a_rounded_number_is_right_to_ten_digits_and_does_not_round_again(value):
    once = rounded(value)
    assert once == pytest.approx(value, rel=0.5e-9, abs=5e-324)
    assert rounded(once) == once
    assert float(json.dumps(once)) == once


def test_numbers_that_differ_in_the_last_bits_are_one_number_in_the_file(tmp_path):
    values = [1 / 3, 2e9 / 7, 1e-30 * math.pi]
    for name, factor in (("a", 1.0), ("b", 1 + 2**-50)):
        write_json(tmp_path / name, {"values": [value * factor for value in values], "n": 123456789012345})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a")["n"] == 123456789012345


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": 1}}', b"\xff\xfe", b"a: 1\n"])
def test_what_is_no_json_is_refused_by_the_name_of_the_file(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json: not found"):
        read_json(tmp_path / "a.json")
