"""A data set's entry: every boundary from the file to the network's input, without a pass too many."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats import npz
from ptychodose.formats.rawdata import Scan, write_rawdata
from ptychodose.parity.boundaries import BOUNDARIES
from ptychodose.parity.dataset_log import log_dataset
from ptychodose.parity.emitter import fingerprint, plain
from ptychodose.parity.neighbours import nearest_rows
from ptychodose.parity.schema import Entry
from ptychodose.physics.thinning import counts_of, network_input

DATA = [name for name, kind in BOUNDARIES.items() if kind.stage in ("raw", "grouped", "normalized")]


def logged(path, dose="200", **options):
    entry = Entry.model_validate(log_dataset(path, name="scan", dose=dose, **options))
    return entry, {part.name: part for part in entry.boundaries}


def same(part, array):
    """Whether a boundary holds the fingerprint of an array."""
    return part.array.model_dump(exclude_unset=True) == plain(fingerprint(array))


def test_every_boundary_of_a_data_set_is_there_in_the_order_of_the_data(save, members):
    path = save(members)
    entry, found = logged(path)
    assert list(found) == DATA
    assert (entry.name, entry.dose, entry.model, entry.problem) == ("scan", "200", None, None)
    assert entry.file.size_bytes == path.stat().st_size
    assert entry.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_arrays_are_fingerprinted_as_they_are_stored(save, members):
    members["diff3d"] = members["diff3d"].astype(np.float64)
    members["probeGuess"] = members["probeGuess"].astype(np.complex64)
    members["xcoords"] = members["xcoords"].astype(np.float32)
    _, found = logged(save(members))
    for key in ("probeGuess", "objectGuess", "xcoords", "ycoords", "scan_index", "diff3d"):
        assert found[f"raw.{key}"].array.sha256 == fingerprint(members[key])["sha256"]
        assert found[f"raw.{key}"].array.dtype == members[key].dtype.name
        assert found[f"raw.{key}"].definition is None


def test_a_file_written_here_and_one_written_by_numpy_differ_in_their_bytes_only(tmp_path, save, members):
    path = tmp_path / "ours.npz"
    scan = Scan(*(members[key] for key in ("probeGuess", "xcoords", "ycoords", "xcoords_start",
                                           "ycoords_start", "scan_index", "objectGuess")))  # fmt: skip
    write_rawdata(path, [members["diff3d"][:5], members["diff3d"][5:]], scan)
    ours, theirs = (log_dataset(one, name="scan", dose="200") for one in (path, save(members)))
    assert ours["boundaries"] == theirs["boundaries"]
    assert ours["file"]["sha256"] != theirs["file"]["sha256"]


def test_the_old_axes_become_diff3d_and_the_entry_says_so(save, members):
    _, expected = logged(save(members, "new.npz"))
    members["diffraction"] = np.moveaxis(members.pop("diff3d"), 0, -1)
    _, found = logged(save(members, "old.npz"))
    assert found["raw.diff3d"].array == expected["raw.diff3d"].array
    assert "diffraction (N, N, n)" in found["raw.diff3d"].definition


def test_photons_are_counted_pattern_by_pattern_against_the_dose(save, members):
    photons = counts_of(members["diff3d"], 200).sum(axis=(1, 2))
    _, found = logged(save(members))
    assert same(found["raw.photons"], photons)
    dose = found["dose"].values
    assert dose["declared_dose_photons"] == 200
    assert (dose["mean_photons"], dose["min_photons"]) == (pytest.approx(photons.mean()), photons.min())
    assert dose["max_photons"] == photons.max()
    error = max(photons.std(ddof=1), 200**0.5) / 24**0.5
    assert dose["standard_error_photons"] == pytest.approx(error)
    assert dose["deviation_standard_errors"] == pytest.approx((photons.mean() - 200) / error)
    assert dose["intensity_scale"] == pytest.approx(200**0.5 / 8)
    assert (dose["n_patterns"], dose["size_px"]) == (24, 16)


def test_without_a_dose_no_photons_are_claimed(save, members):
    entry, found = logged(save(members), dose=None)
    assert entry.dose is None
    assert same(found["raw.photons"], np.square(members["diff3d"], dtype=float).sum(axis=(1, 2)))
    assert "photons cannot be counted" in found["raw.photons"].definition
    dose = found["dose"].values
    unknown = ("declared_dose_photons", "mean_photons", "standard_error_photons",
               "deviation_standard_errors", "intensity_scale")  # fmt: skip
    assert all(dose[key] is None for key in unknown)
    assert dose["normalization"] > 0


def test_normalized_is_the_network_input(save, members):
    energy = np.square(members["diff3d"], dtype=float).sum(axis=(1, 2)).mean()
    normalized = network_input(np.square(members["diff3d"], dtype=float), 8 / energy**0.5)[..., 0]
    _, found = logged(save(members))
    assert found["dose"].values["normalization"] == pytest.approx(8 / energy**0.5)
    assert found["dose"].values["mean_sum_squares"] == pytest.approx(energy)
    assert "derived" in found["normalized"].definition
    array, expected = found["normalized"].array, fingerprint(normalized)
    assert (array.shape, array.dtype, array.sha256) == (expected["shape"], "float32", None)
    assert (array.n, array.n_zero) == (expected["n"], expected["n_zero"])
    assert array.sum_of_squares / 24 == pytest.approx(8**2)
    for key in ("min", "max", "mean", "std", "sum_of_squares"):
        assert getattr(array, key) == pytest.approx(expected[key], rel=1e-6)
    np.testing.assert_allclose(array.projection, expected["projection"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(array.thumbnail, expected["thumbnail"], rtol=1e-6)
    for p, value in expected["percentiles"].items():
        assert array.percentiles[p] == pytest.approx(value, rel=2**-10)  # rounded to 12 bits elsewhere


def test_the_amplitude_scale_is_what_the_object_was_multiplied_with(save, members):
    norm = np.linalg.norm(members["probeGuess"])
    _, found = logged(save(members))
    scale = found["dose"].values["amplitude_scale"]
    assert scale**2 * norm**2 == pytest.approx(found["dose"].values["mean_sum_squares"])
    assert found["dose"].values["probe_l2_norm"] == pytest.approx(norm)


def test_scans_and_groups(save, members):
    _, found = logged(save(members))
    means = members["diff3d"].mean(axis=(1, 2), dtype=float)
    scans = found["grouped.scans"].values
    assert scans["4"] == {"n_patterns": 12, "mean_amplitude": pytest.approx(means[:12].mean())}
    assert list(scans) == ["4", "7"]
    points = np.column_stack([members["ycoords"], members["xcoords"]])
    rows = nearest_rows(points, 7)
    assert same(found["grouped.neighbours"], rows)
    assert found["grouped.neighbours"].array.dtype == "int64"
    offsets = points[rows] - points[rows].mean(axis=1, keepdims=True)
    assert same(found["grouped.offsets_px"], offsets)
    assert found["grouped.amplitude"].array.mean == pytest.approx(means[rows].mean())


def test_on_a_raster_ties_go_to_the_lower_row_however_positions_are_rounded(members):
    points = np.column_stack([members["ycoords"], members["xcoords"]])
    rows = nearest_rows(points, 7)
    # Row 8 is inside: itself, its four neighbours, then the first two of four equally far diagonals.
    assert rows[8].tolist() == [8, 2, 7, 9, 14, 1, 3]
    rng = np.random.default_rng(0)
    assert np.array_equal(nearest_rows(points + rng.normal(size=points.shape) * 1e-12, 7), rows)


@pytest.mark.parametrize("sites", [1, 2, 40])
def test_positions_that_coincide_are_still_each_their_own_first(sites):
    rng = np.random.default_rng(1)
    points = rng.integers(0, 6, (sites, 2)).astype(float)[rng.integers(0, sites, 300)]
    rows = nearest_rows(points, 7)
    assert rows[:, 0].tolist() == list(range(300))
    for row in range(300):  # against all distances, sorted
        others = np.delete(np.arange(300), row)
        distance = np.linalg.norm(points[others] - points[row], axis=1).round(6)
        assert rows[row, 1:].tolist() == others[np.lexsort((others, distance))][:6].tolist()


def test_too_few_positions_have_no_groups(save, members):
    few = {
        key: array[:6] if key not in ("probeGuess", "objectGuess") else array
        for key, array in members.items()
    }
    del few["objectGuess"]
    _, found = logged(save(few))
    assert [name for name in DATA if name not in found] == [
        "raw.objectGuess", "grouped.neighbours", "grouped.offsets_px", "grouped.amplitude"
    ]  # fmt: skip


def test_patterns_without_a_photon_have_no_normalization(save, members):
    members["diff3d"][:] = 0
    entry, found = logged(save(members))
    assert entry.problem is None
    assert "normalized" not in found
    assert found["dose"].values["normalization"] is None


@pytest.mark.parametrize("key", ["diff3d", "xcoords", "probeGuess"])
def test_a_broken_contract_is_the_entry_s_problem(save, members, key):
    members[key][-1] = np.nan
    path = save(members)
    entry, found = logged(path, legacy_statistics=True)
    assert entry.problem.startswith(f"{path}: {key}: must ") and "finite" in entry.problem
    assert found == {}
    assert entry.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_damage_that_shows_late_and_a_missing_file_are_problems_too(tmp_path, save, members):
    path = save(members)
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a complete NPZ" in logged(path)[0].problem
    assert logged(tmp_path / "absent.npz")[0].problem.endswith("not found")


@pytest.mark.parametrize("dose", ["many", "-1", "0", "nan", "inf"])
def test_a_dose_that_is_none_is_refused(save, members, dose):
    with pytest.raises(UserError, match=r"dose: .* is not a number of photons above 0"):
        log_dataset(save(members), name="scan", dose=dose)


def test_patterns_are_read_once_and_never_all_in_memory(tmp_path, monkeypatch, members):
    n, size_px = 4000, 64
    x, y = np.random.default_rng(2).uniform(20, 80, (2, n))
    path = tmp_path / "large.npz"
    vectors = {"xcoords": x, "ycoords": y, "xcoords_start": x, "ycoords_start": y}
    patterns = np.tile(members["diff3d"][:20], (n // 20, 4, 4))
    scan_index, probe = np.zeros(n, np.int64), np.ones((size_px, size_px), complex)
    np.savez(path, diff3d=patterns, probeGuess=probe, scan_index=scan_index, **vectors)
    opened = []
    chunks = npz.NpzReader.chunks
    monkeypatch.setattr(npz.NpzReader, "chunks", lambda *a: opened.append(a[1]) or chunks(*a))
    tracemalloc.start()
    entry = log_dataset(path, name="large", dose="200")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert entry["problem"] is None
    assert opened == ["diff3d"]
    assert peak < n * size_px**2 * 4 / 2
