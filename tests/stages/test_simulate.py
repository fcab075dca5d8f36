"""Datasets: the same bytes however, wherever and whenever they are computed, and honest about their dose."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ptychodose.config import load_params
from ptychodose.errors import UserError
from ptychodose.formats.rawdata import RawDataFile
from ptychodose.physics.diffraction import cut_patches, diffraction_intensity, exit_waves
from ptychodose.physics.thinning import counts_of
from ptychodose.stages import simulate
from ptychodose.stages.scene import build_scene

GOLDEN = {
    "1e3/test.npz": "2111dfced8dc4789631803e3f2e5ef6a1e650fff02d9d693f2b8530150adcecd",
    "1e3/train.npz": "b31c86c87f302aedaa28bb74bc20df48a802fb9e5f744ec0c16d24776f6fa9ad",
    "1e3/unseen.npz": "6bb504c50c9a588428efd8152caee9961d7fd97317d5ea561cd5e2a7b932586f",
    "1e9/test.npz": "9bc011cfb942c2e40ad9f915e6285f0978ee5c575ecb24aec46472e0298f32f7",
    "1e9/train.npz": "cc1c910bafc4b52d36fbdf093efcf578f2b1e730e234f35218cb209f1b66ae94",
    "1e9/unseen.npz": "297c4a0083ef6292b64839f4d15739e4b1a23e009a15ff9cd216381cafbee0fb",
}
"""SHA-256 of the files of the study in tests/conftest.py.

These bytes are promised: every user's dataset is identified by such hashes. They may change only on purpose,
with a line in CHANGELOG.md and a new reference study. To renew them, run
``pytest -vv tests/stages/test_simulate.py -k golden`` and copy the hashes it found.
"""

RUN = """
import sys
from ptychodose.config import load_params
from ptychodose.stages import simulate
for dose in sys.argv[1:]:
    simulate.run(load_params(), dose)
"""


@pytest.fixture
def datasets(tmp_path):
    return tmp_path / "data" / "datasets"


@pytest.fixture
def elsewhere(tmp_path):
    """Start a process that simulates doses of the study in the working directory."""

    def start(*doses, **environment):
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *doses],
            cwd=tmp_path,
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def facts(datasets, dose, split):
    return json.loads((datasets / dose / f"{split}.json").read_text())


def refusal(params, dose):
    with pytest.raises(UserError) as caught:
        simulate.run(params, dose)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- the same bytes ---------------------------------------------------------------------------------------


def test_the_bytes_of_the_datasets_are_the_golden_ones(tiny_params, datasets, hashes):
    params = tiny_params()
    for dose in params.doses:
        simulate.run(params, dose)
    found = {name: digest for name, digest in hashes(datasets).items() if name.endswith(".npz")}
    assert found == GOLDEN


@pytest.mark.parametrize(("chunk", "workers"), [(1, 1), (7, 1), (100, 1), (1, 2), (7, 2), (5, 4)])
def test_chunks_and_workers_change_no_byte(tiny_params, datasets, hashes, chunk, workers):
    params = tiny_params()
    simulate.run(params, "1e9")
    expected = hashes(datasets)
    simulate.run(params, "1e9", chunk=chunk, workers=workers)
    assert hashes(datasets) == expected


@pytest.mark.parametrize("kind", ["raster", "uniform"])
def test_chunks_change_no_byte_of_a_random_scan_at_rounded_positions(tiny_params, datasets, hashes, kind):
    params = tiny_params({"simulate.scan.kind": kind, "simulate.interpolation": "nearest"})
    simulate.run(params, "1e3")
    expected = hashes(datasets)
    simulate.run(params, "1e3", chunk=5, workers=2)
    assert hashes(datasets) == expected


def test_processes_beside_each_other_write_the_same_bytes(tiny_params, datasets, hashes, elsewhere):
    params = tiny_params()
    for dose in params.doses:
        simulate.run(params, dose)
    expected = hashes(datasets)
    shutil.rmtree(datasets)
    for process in [elsewhere(dose) for dose in params.doses]:
        finish(process)
    assert hashes(datasets) == expected


def test_a_processor_with_fewer_instructions_writes_the_same_bytes(tiny_params, datasets, hashes, elsewhere):
    from numpy._core import _multiarray_umath as core

    found = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    if not found:
        pytest.skip("NumPy uses no instructions here beyond its baseline")
    params = tiny_params()
    for dose in params.doses:
        simulate.run(params, dose)
    expected = hashes(datasets)
    shutil.rmtree(datasets)
    # The second variable does the same to exp, sin and log of the C library, where it is glibc.
    plain = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA,-FMA4",
    }
    finish(elsewhere(*params.doses, **plain))
    assert len(expected) == 12
    assert hashes(datasets) == expected


def test_the_spelling_of_a_dose_changes_no_pattern(tiny_params, datasets, hashes):
    for dose in ("1e3", "1000"):
        simulate.run(tiny_params({"doses": [dose]}), dose)
    found = hashes(datasets)
    for split in ("train", "test", "unseen"):
        assert found[f"1e3/{split}.npz"] == found[f"1000/{split}.npz"]


@pytest.mark.parametrize("values", [{"seed": 1}, {"simulate.interpolation": "nearest"}])
def test_another_seed_or_interpolation_is_another_dataset(tiny_params, datasets, hashes, values):
    found = []
    for changed in ({}, values):
        simulate.run(tiny_params(changed), "1e9")
        found.append(hashes(datasets)["1e9/train.npz"])
    assert found[0] != found[1]


# --- what is in a dataset ---------------------------------------------------------------------------------


def test_object_probe_and_positions_are_the_same_at_every_dose_and_the_photons_are_not(tiny_params, datasets):
    params = tiny_params({"doses": ["100000", "100001"]})
    for dose in params.doses:
        simulate.run(params, dose)
    for split in params.splits():
        low, high = (RawDataFile(datasets / dose / f"{split}.npz") for dose in params.doses)
        for field in ("obj", "probe", "x", "y", "x_start", "y_start", "scan_index"):
            assert np.array_equal(getattr(low.scan, field), getattr(high.scan, field))
        # One photon more in 100 000 is another draw: were it the same, nearly all counts would be equal.
        few, many = (counts_of(file.all_patterns(), dose) for file, dose in ((low, 100000), (high, 100001)))
        assert (few == many)[many > 50].mean() < 0.1


def test_the_splits_are_drawn_apart_even_where_they_share_positions(tiny_params, datasets):
    params = tiny_params({"doses": ["1e6"], "simulate.splits": {"train": 12, "test": 12, "unseen": 0}})
    simulate.run(params, "1e6")
    train, test = (
        counts_of(RawDataFile(datasets / "1e6" / f"{split}.npz").all_patterns(), 1e6)
        for split in ("train", "test")
    )
    assert (train == test)[train > 50].mean() < 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_counts_are_poisson_draws_around_the_model_with_the_recorded_gain(
    tiny_params, datasets, interpolation
):
    params = tiny_params({"doses": ["1e5"], "simulate.interpolation": interpolation})
    simulate.run(params, "1e5")
    for split in params.splits():
        scene = build_scene(params, split)
        gain2 = facts(datasets, "1e5", split)["gain_squared"]
        patches = cut_patches(scene.obj, scene.x, scene.y, 64, interpolation)
        rates = gain2 * diffraction_intensity(exit_waves(scene.probe, patches))
        assert rates.sum(axis=(1, 2)).mean() == pytest.approx(1e5, rel=1e-9)
        counts = counts_of(RawDataFile(datasets / "1e5" / f"{split}.npz").all_patterns(), 1e5)
        well_lit = rates > 5
        chi_squared = ((counts - rates) ** 2 / rates)[well_lit].sum()
        freedom = np.count_nonzero(well_lit)
        # The variance of chi squared of Poisson counts is 2 + 1 / rate for each.
        assert abs(chi_squared - freedom) < 4 * np.sqrt((2 + 1 / rates[well_lit]).sum())


def test_the_facts_state_the_dose_as_counted_and_what_follows_from_it(tiny_params, datasets):
    params = tiny_params()
    for dose in params.doses:
        simulate.run(params, dose)
        for split, n in (("train", 12), ("test", 5), ("unseen", 4)):
            file = RawDataFile(datasets / dose / f"{split}.npz")
            photons = (file.all_patterns().astype(np.float64) ** 2).sum(axis=(1, 2)) * float(dose)
            found = facts(datasets, dose, split)
            assert found["n_patterns"] == n and found["split"] == split
            measured = found["dose"]
            assert measured["declared_photons"] == float(dose)
            # float32 amplitudes hold a pattern's photons to 1e-7 of them, and to the photon at low dose.
            for key, value in (("mean", photons.mean()), ("min", photons.min()), ("max", photons.max())):
                assert measured[f"{key}_photons"] == pytest.approx(value, rel=1e-7)
            assert abs(measured["deviation_in_standard_errors"]) < 5
            assert found["intensity_scale"] == pytest.approx(np.sqrt(float(dose)) / 32, rel=1e-9)
            assert found["photons_per_resolution_element"] == pytest.approx(
                4 * found["photons_per_object_pixel"], rel=1e-9
            )
            diameter = found["probe_effective_diameter_px"]
            box = (np.ptp(file.scan.x) + diameter) * (np.ptp(file.scan.y) + diameter)
            assert found["photons_per_object_pixel"] == pytest.approx(photons.sum() / box, rel=1e-7)


def test_only_what_the_study_asks_for_is_written_and_leftovers_are_gone(tiny_params, datasets):
    simulate.run(tiny_params(), "1e3")
    simulate.run(tiny_params({"simulate.splits.unseen": 0}), "1e3")
    assert sorted(path.name for path in datasets.rglob("*")) == [
        "1e3", "test.json", "test.npz", "train.json", "train.npz",
    ]  # fmt: skip


def test_a_failing_simulation_leaves_the_old_dataset(tiny_params, datasets, hashes, monkeypatch):
    params = tiny_params()
    simulate.run(params, "1e3")
    before = hashes(datasets)

    def fail_late(*arguments, first_index, **keywords):
        if first_index > 0:
            raise MemoryError
        return simulate_patterns(*arguments, first_index=first_index, **keywords)

    simulate_patterns = simulate.simulate_patterns
    monkeypatch.setattr(simulate, "simulate_patterns", fail_late)
    with pytest.raises(MemoryError):
        simulate.run(params, "1e3", chunk=4, workers=2)
    assert hashes(datasets) == before


# --- refusals ---------------------------------------------------------------------------------------------


def test_a_dose_outside_the_study_is_refused(tiny_params):
    assert "'1e4' is not among ['1e3', '1e9']" in refusal(tiny_params(), "1e4")


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_simulation_whose_mean_is_off_its_dose_is_refused_and_not_written(
    tiny_params, datasets, monkeypatch, factor
):
    right = simulate.gain_squared
    monkeypatch.setattr(simulate, "gain_squared", lambda dose, energy: factor * right(dose, energy))
    message = refusal(tiny_params(), "1e9")
    assert "data/datasets/1e9/train.npz: refused: " in message
    assert "standard errors from the declared 1e9" in message
    assert not list(datasets.rglob("*.npz"))


# --- patterns of others -----------------------------------------------------------------------------------


@pytest.fixture
def taken_over(tiny_params, tmp_path):
    """Parameters of a study that takes 12 + 5 patterns over from data/inputs/<dose>.npz."""
    (tmp_path / "data" / "inputs").mkdir(parents=True)

    def load(**values):
        splits = {"train": 12, "test": 5, "unseen": 0}
        files = {"simulate.source": "files", "simulate.files.path": "{dose}.npz", "simulate.splits": splits}
        return tiny_params(files | values)

    return load


@pytest.fixture
def foreign(tiny_params, taken_over, tmp_path, datasets):
    """The members of a file of 20 patterns at 1e3 photons, and a way to put them where they are sought."""
    simulate.run(tiny_params({"simulate.splits.train": 20}), "1e3")
    with np.load(datasets / "1e3" / "train.npz") as archive:
        members = dict(archive)
    shutil.rmtree(datasets)

    def put(name="1e3.npz", **changed):
        np.savez(tmp_path / "data" / "inputs" / name, **members | changed)

    put()
    return members, put


def test_patterns_of_another_writer_are_taken_over_in_order(taken_over, foreign, datasets):
    members, _ = foreign
    simulate.run(taken_over(), "1e3")
    for split, rows in (("train", slice(0, 12)), ("test", slice(12, 17))):
        file = RawDataFile(datasets / "1e3" / f"{split}.npz")
        assert np.array_equal(file.all_patterns(), members["diff3d"][rows])
        assert np.array_equal(file.scan.x, members["xcoords"][rows])
        assert np.array_equal(file.scan.probe, members["probeGuess"])
        assert facts(datasets, "1e3", split)["gain_origin"] == "computed from objectGuess"
    assert not (datasets / "1e3" / "unseen.npz").exists()


def test_without_an_object_the_gain_is_said_to_be_estimated(taken_over, foreign, datasets, tmp_path):
    members, _ = foreign
    bare = {key: array for key, array in members.items() if key != "objectGuess"}
    np.savez(tmp_path / "data" / "inputs" / "1e3.npz", **bare)
    simulate.run(taken_over(), "1e3")
    found = facts(datasets, "1e3", "train")
    assert found["gain_origin"].startswith("estimated")
    assert found["gain_squared"] == pytest.approx(
        found["dose"]["mean_photons"] / (np.abs(members["probeGuess"]) ** 2).sum(), rel=1e-9
    )


@pytest.mark.parametrize("dose", ["1e2", "500", "1500", "2e3", "1e4", "1e6", "1e9"])
def test_patterns_labelled_with_a_wrong_dose_are_refused_since_photons_are_whole(
    taken_over, foreign, datasets, dose
):
    _, put = foreign
    put(f"{dose}.npz")
    message = refusal(taken_over(doses=[dose]), dose)
    assert message.startswith(f"data/inputs/{dose}.npz: diff3d: ")
    assert not datasets.exists() or not list(datasets.iterdir())


def test_patterns_brighter_than_their_dose_are_refused(taken_over, foreign):
    members, put = foreign
    counts = counts_of(members["diff3d"], 1e3)
    put(diff3d=np.sqrt((counts + np.roll(counts, 1, axis=0)) / 1e3))
    assert "standard errors from the declared 1e3" in refusal(taken_over(), "1e3")


@pytest.mark.parametrize("shift", [-20, 20])
def test_windows_outside_the_object_are_refused(taken_over, foreign, shift):
    members, put = foreign
    put(ycoords=members["ycoords"] + shift)
    message = refusal(taken_over(), "1e3")
    assert "1e3.npz: xcoords, ycoords: " in message and "positions lie outside the object" in message


def test_a_file_of_too_few_patterns_or_another_size_is_refused(taken_over, foreign):
    splits = {"simulate.splits": {"train": 16, "test": 5, "unseen": 0}}
    message = refusal(taken_over(**splits), "1e3")
    assert "1e3.npz: holds 20 patterns, but simulate.splits asks for 16 + 5" in message
    assert "1e3.npz: N is 64, but simulate.size_px is 128" in refusal(
        taken_over(**{"simulate.size_px": 128}), "1e3"
    )


@pytest.mark.parametrize("name", ["absent_{dose}.npz", "{doze}.npz", "{}.npz", "{.npz"])
def test_a_file_that_is_not_there_is_named_as_it_was_looked_for(taken_over, name):
    params = taken_over(**{"simulate.files.path": name})
    assert refusal(params, "1e3") == f"data/inputs/{name.replace('{dose}', '1e3')}: not found"


# --- the legacy ladder ------------------------------------------------------------------------------------


@pytest.fixture
def ladder(taken_over, legacy_run, tmp_path):
    """Parameters of a study that takes over the legacy data, patches at rounded positions."""
    (tmp_path / "data" / "inputs").rmdir()
    (tmp_path / "data" / "inputs").symlink_to(legacy_run)

    def load(**values):
        legacy = {"simulate.files.path": "data_p{dose}.npz", "simulate.interpolation": "nearest"}
        return taken_over(**legacy | values)

    return load


@pytest.mark.parametrize("dose", ["1e3", "1e5", "1e9"])
def test_legacy_data_are_taken_over_at_their_dose(ladder, datasets, dose):
    splits = {"train": 44, "test": 20, "unseen": 0}
    simulate.run(ladder(doses=[dose], **{"simulate.splits": splits}), dose)
    measured = facts(datasets, dose, "train")["dose"]
    assert measured["mean_photons"] == pytest.approx(float(dose), rel=0.05)


def test_legacy_data_are_poisson_draws_of_windows_at_rounded_positions(ladder, datasets):
    splits = {"train": 44, "test": 20, "unseen": 0}
    simulate.run(ladder(doses=["1e7"], **{"simulate.splits": splits}), "1e7")
    file = RawDataFile(datasets / "1e7" / "train.npz")
    counts = counts_of(file.all_patterns(), 1e7)
    deviation = {}
    for interpolation in ("nearest", "bilinear"):
        patches = cut_patches(file.scan.obj, file.scan.x, file.scan.y, 64, interpolation)
        rates = diffraction_intensity(exit_waves(file.scan.probe, patches))
        # The legacy gain is that of a longer scan, so it is estimated here.
        rates *= counts.sum() / rates.sum()
        well_lit = rates > 5
        chi_squared = ((counts - rates) ** 2 / rates)[well_lit].sum()
        scatter = np.sqrt((2 + 1 / rates[well_lit]).sum())
        deviation[interpolation] = abs(chi_squared - np.count_nonzero(well_lit)) / scatter
    assert deviation["nearest"] < 4
    assert deviation["bilinear"] > 100


@pytest.mark.parametrize("label", ["1e3", "1e4", "1e6", "1e9"])
def test_legacy_data_of_1e5_photons_under_another_label_are_refused(ladder, label):
    params = ladder(doses=[label], **{"simulate.files.path": "data_p1e5.npz"})
    message = refusal(params, label)
    assert message.startswith("data/inputs/data_p1e5.npz: diff3d: ")
    assert float(label) < 1e5 or "the file is of dose 100000" in message


@pytest.mark.parametrize("dose", ["1e3", "1e4", "1e5", "1e6", "1e7", "1e8", "1e9"])
def test_the_legacy_ladder_holds_roots_of_counts_over_dose_that_average_to_one(legacy_run, dose):
    patterns = RawDataFile(legacy_run / f"data_p{dose}.npz").all_patterns()[:64].astype(np.float64)
    energy = (patterns**2).sum(axis=(1, 2))
    standard_error = max(energy.std(ddof=1), float(dose) ** -0.5) / np.sqrt(len(energy))
    assert abs(energy.mean() - 1) < 4 * standard_error
    assert patterns[patterns > 0].min() ** 2 * float(dose) == pytest.approx(1, rel=1e-6)


def test_a_study_of_the_committed_kind_runs_from_its_own_file(tiny_params, tmp_path, datasets):
    tiny_params()
    simulate.run(load_params(tmp_path / "params.yaml"), "1e3")
    assert len(RawDataFile(datasets / "1e3" / "train.npz").scan) == 12
