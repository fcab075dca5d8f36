"""The fingerprint: the same however an array arrives, what its numbers say, and that it stands alone."""

import ast
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptychodose.parity import emitter
from ptychodose.parity.emitter import BUCKETS, PERCENTILES, Fingerprint, fingerprint, plain
from ptychodose.parity.schema import ArrayPrint, read_log

DTYPES = [np.float32, np.float64, ">f4", np.complex64, np.complex128, np.int64, np.int32, np.uint16]


def in_pieces(array, ends):
    found, start = Fingerprint(), 0
    for end in [*sorted(ends), len(array)]:
        if end > start:
            found.update(array[start:end])
            start = end
    return found.result()


def assert_same(found, expected):
    """Integers, text and hashes equal; sums equal up to the order of the additions."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key in ("mean", "std", "sum_of_squares", "projection", "thumbnail"):
            scale = max(abs(expected.get("min", 0)), abs(expected.get("max", 0)), 1e-300)
            size = {"sum_of_squares": scale**2 * expected["n"], "projection": scale * expected["n"]}.get(
                key, scale
            )
            tolerance = 1e-6 if key == "std" else 1e-12  # of a square root of a difference
            np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance * size)
        else:
            assert found[key] == value, key


def truncated(value):
    """A float32 with all but 12 significant bits cleared: the rule of docs/parity.md, bit by bit."""
    mantissa, exponent = math.frexp(float(np.float32(value)))
    return math.ldexp(math.trunc(mantissa * 2**12) / 2**12, exponent)


@st.composite
def arrays_and_cuts(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(size=shape) * rng.choice([0, 1], shape) * 100
    if dtype.kind == "c":
        values = values + 1j * rng.normal(size=shape)
    if dtype.kind == "u":
        values = np.abs(values)
    cuts = draw(st.lists(st.integers(1, shape[0]), max_size=4))
    return values.astype(dtype), cuts


@settings(max_examples=60, deadline=None)
@given(arrays_and_cuts())
def test_pieces_give_the_fingerprint_of_the_whole(drawn):
    array, cuts = drawn
    whole = Fingerprint()
    whole.update(array)
    assert_same(in_pieces(array, cuts), whole.result())


def test_pieces_longer_than_a_block_and_than_the_period_of_the_signs(monkeypatch):
    monkeypatch.setattr(emitter, "PERIOD", 2**12)
    monkeypatch.setattr(Fingerprint, "SIGNS", np.tile(Fingerprint.SIGNS[: 2**12], 2 * 2**17 // 2**12))
    array = np.random.default_rng(1).normal(size=(300, 31, 33)).astype(np.float32)
    assert_same(in_pieces(array, [7, 8, 201]), fingerprint(array))


def test_the_statistics_are_those_of_numpy():
    array = np.random.default_rng(2).normal(3, 2, (9, 20, 18))
    array[0, :3] = 0
    found = fingerprint(array)
    assert (found["shape"], found["dtype"], found["n"]) == ([9, 20, 18], "float64", array.size)
    assert (found["n_finite"], found["n_zero"]) == (array.size, 54)
    assert (found["min"], found["max"]) == (array.min(), array.max())
    for key, value in (("mean", array.mean()), ("std", array.std()), ("sum_of_squares", np.sum(array**2))):
        assert found[key] == pytest.approx(value, rel=1e-12)
    tiles = [[array[:, a, b].mean() for b in _spans(18)] for a in _spans(20)]
    np.testing.assert_allclose(found["thumbnail"], tiles)


def _spans(side):
    edges = [i * side // 16 for i in range(17)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def test_a_complex_array_is_described_by_its_modulus_and_projected_by_its_parts():
    rng = np.random.default_rng(3)
    array = rng.normal(size=(5, 8)) + 1j * rng.normal(size=(5, 8))
    found = fingerprint(array)
    assert found["mean"] == pytest.approx(np.abs(array).mean())
    assert found["sum_of_squares"] == pytest.approx(np.sum(np.abs(array) ** 2))
    parts = array.reshape(-1).view(float)
    np.testing.assert_allclose(found["projection"], fingerprint(parts)["projection"])


def test_the_hash_is_of_the_little_endian_c_order_bytes():
    array = np.random.default_rng(4).normal(size=(6, 7))
    known = fingerprint(array)["sha256"]
    assert fingerprint(array.astype(">f8"))["sha256"] == known
    assert fingerprint(np.asfortranarray(array))["sha256"] == known
    assert fingerprint(array.T)["sha256"] != known


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 300),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
    )
)
def test_percentiles_are_the_nearest_rank_of_values_of_12_bits(array):
    array = array + np.float32(0)  # no negative zero: it is no other number
    ordered = np.sort([truncated(value) for value in array])
    found = fingerprint(array)["percentiles"]
    for p in PERCENTILES:
        assert found[str(p)] == ordered[max(math.ceil(p / 100 * len(ordered)), 1) - 1]


def test_what_is_not_finite_is_counted_and_left_out():
    array = np.random.default_rng(5).normal(size=(4, 32, 32)).astype(np.float32)
    spoiled = array.copy()
    spoiled[0, 0, :3] = np.nan, np.inf, -np.inf
    array[0, 0, :3] = 0
    found, clean = fingerprint(spoiled), fingerprint(array)
    assert (found["n"], found["n_finite"]) == (4096, 4093)
    assert found["n_zero"] == clean["n_zero"] - 3
    for key in ("min", "max", "sum_of_squares"):
        assert found[key] == clean[key]
    np.testing.assert_array_equal(found["projection"], clean["projection"])
    ArrayPrint.model_validate(plain(found))


def test_an_array_of_nothing_but_nan_has_no_statistics():
    found = fingerprint(np.full(5, np.nan))
    assert (found["n"], found["n_finite"]) == (5, 0)
    assert "mean" not in found and "percentiles" not in found
    ArrayPrint.model_validate(plain(found))


def test_projections_of_two_arrays_tell_how_far_apart_they_are():
    """Each estimate has a relative standard deviation of sqrt(2/61) in its square, half that in itself."""
    rng = np.random.default_rng(6)
    ratios = []
    for _ in range(100):
        array = rng.uniform(size=6100)
        change = rng.normal(size=6100) * 1e-3
        first, second = (np.asarray(fingerprint(a)["projection"]) for a in (array, array + change))
        ratios.append(np.linalg.norm(second - first) / np.linalg.norm(change))
    squares = np.square(ratios)
    assert np.mean(squares) == pytest.approx(1, abs=4 * math.sqrt(2 / BUCKETS / 100))
    assert np.std(squares) == pytest.approx(math.sqrt(2 / BUCKETS), rel=0.25)
    assert np.std(ratios) == pytest.approx(0.09, abs=0.02)


def test_the_projection_sees_two_patterns_change_places():
    array = np.random.default_rng(7).uniform(size=(10, 16, 16))
    swapped = array[[0, 2, 1, *range(3, 10)]]
    first, second = (np.asarray(fingerprint(a)["projection"]) for a in (array, swapped))
    error = np.linalg.norm(swapped - array)
    assert np.linalg.norm(second - first) == pytest.approx(error, rel=0.4)


@given(st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_everything_scales_with_the_array(factor):
    array = np.random.default_rng(8).uniform(size=(3, 17, 19))
    found, scaled = fingerprint(array), fingerprint(array * factor)
    for key in ("min", "max", "mean", "std", "projection", "thumbnail"):
        np.testing.assert_allclose(scaled[key], np.asarray(found[key]) * factor, rtol=1e-9, atol=1e-9)
    assert scaled["sum_of_squares"] == pytest.approx(found["sum_of_squares"] * factor**2)


def test_the_signs_are_those_of_their_definition():
    x, expected = 1, []
    for _ in range(1000):
        expected.append(1 if x < 2**30 else -1)
        x = 16807 * x % (2**31 - 1)
    assert emitter.signs()[:1000].tolist() == expected
    assert len(emitter.signs()) == emitter.PERIOD


def test_the_file_imports_nothing_but_numpy_and_the_standard_library():
    names = set()
    for node in ast.walk(ast.parse(Path(emitter.__file__).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module.split(".")[0])
    assert names - {"numpy"} <= set(sys.stdlib_module_names)


def test_the_file_works_alone_where_it_is_copied_and_its_log_is_read_back(tmp_path):
    (tmp_path / "emitter.py").write_bytes(Path(emitter.__file__).read_bytes())
    script = tmp_path / "port.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, emitter\n"
        "patterns = np.ones((3, 16, 16), np.float32)\n"
        "part = emitter.entry('1e5/train', dose='1e5', model='mine',\n"
        "    boundaries={'raw.diff3d': patterns, 'dose': {'mean_photons': np.float64(1e5), 'x': np.nan}})\n"
        "emitter.write_log(sys.argv[1] + '/log.json', [part], scenario_id='MINE', emitter='my-port 1',\n"
        "    environment={'torch': '2'}, warnings=['none'])\n"
        "assert not [name for name in sys.modules if name.startswith('ptychodose')]\n"
    )
    subprocess.run([sys.executable, "-I", script, tmp_path], check=True, cwd=tmp_path)
    log = read_log(tmp_path / "log.json")
    (entry,) = log.datasets
    assert (log.scenario_id, log.emitter, log.environment) == ("MINE", "my-port 1", {"torch": "2"})
    assert (log.warnings, entry.name, entry.dose, entry.model) == (["none"], "1e5/train", "1e5", "mine")
    diff3d, dose = entry.boundaries
    assert (
        diff3d.array.model_dump()
        == ArrayPrint.model_validate(plain(fingerprint(np.ones((3, 16, 16), np.float32)))).model_dump()
    )
    assert dose.values == {"mean_photons": 1e5, "x": None}
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != "") == [
        "emitter.py",
        "log.json",
        "port.py",
    ]
