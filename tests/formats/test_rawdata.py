"""The RawData contract: what is accepted comes back unchanged, what is not is refused by file and key."""

import zipfile

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats.rawdata import RawDataFile, Scan, write_rawdata

REQUIRED = ["diff3d", "probeGuess", "scan_index", "xcoords", "ycoords", "xcoords_start", "ycoords_start"]
VECTORS = ["scan_index", "xcoords", "ycoords", "xcoords_start", "ycoords_start"]


class Canary:
    """Pickles into a call that leaves a file behind."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def refusal(path):
    with pytest.raises(UserError) as caught:
        RawDataFile(path).all_patterns()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def scan_of(members):
    return Scan(
        members["probeGuess"],
        members["xcoords"],
        members["ycoords"],
        members["xcoords_start"],
        members["ycoords_start"],
        members["scan_index"],
        members.get("objectGuess"),
    )


def assert_holds(file, members):
    assert file.all_patterns().dtype == np.float32
    assert np.array_equal(file.all_patterns(), members["diff3d"])
    assert (file.scan.size_px, len(file.scan)) == (8, 5)
    for field, key in (
        ("probe", "probeGuess"),
        ("x", "xcoords"),
        ("y", "ycoords"),
        ("x_start", "xcoords_start"),
        ("y_start", "ycoords_start"),
        ("scan_index", "scan_index"),
        ("obj", "objectGuess"),
    ):
        assert np.array_equal(getattr(file.scan, field), members[key])


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_unchanged(save, members, writer):
    assert_holds(RawDataFile(save(members, writer)), members)


def test_what_is_written_is_read_back_unchanged_and_by_numpy_without_pickles(tmp_path, members):
    path = tmp_path / "scan.npz"
    write_rawdata(path, [members["diff3d"][:2], members["diff3d"][2:]], scan_of(members))
    assert_holds(RawDataFile(path), members)
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive) == sorted(members)
        for key, array in members.items():
            assert archive[key].dtype == array.dtype
            assert np.array_equal(archive[key], array)


def test_patterns_arrive_in_order_in_pieces_of_the_size_asked(save, members):
    pieces = list(RawDataFile(save(members)).patterns(2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert np.array_equal(np.concatenate(pieces), members["diff3d"])


def test_a_slice_of_a_scan_keeps_every_column_together(members):
    part = scan_of(members)[1:4]
    assert len(part) == 3
    assert np.array_equal(part.y_start, members["ycoords_start"][1:4])
    assert np.array_equal(part.scan_index, members["scan_index"][1:4])
    assert part.obj is members["objectGuess"]


def test_a_missing_object_is_no_fault(save, members):
    del members["objectGuess"]
    assert RawDataFile(save(members)).scan.obj is None


def test_further_keys_are_no_fault(save, members):
    members["ground_truth_patches"] = np.zeros((5, 8, 8, 1), np.complex64)
    assert "ground_truth_patches" in RawDataFile(save(members)).keys


def test_the_old_axes_of_the_key_diffraction_are_accepted_and_said(save, members):
    patterns = members.pop("diff3d")
    members["diffraction"] = np.moveaxis(patterns, 0, -1)
    file = RawDataFile(save(members))
    assert file.legacy_axes
    assert np.array_equal(file.all_patterns(), patterns)
    assert [len(piece) for piece in file.patterns(2)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("key", "dtype", "precision"),
    [
        ("diff3d", np.float64, np.float32),
        ("diff3d", ">f4", np.float32),
        ("diff3d", np.uint16, np.float32),
        ("probeGuess", np.complex64, np.complex64),
        ("probeGuess", ">c16", np.complex128),
        ("xcoords", np.float32, np.float32),
        ("scan_index", np.int32, np.int32),
    ],
)
def test_other_precisions_and_byte_orders_are_accepted(save, members, key, dtype, precision):
    changed = members | {key: members[key].astype(dtype)}
    members[key] = members[key].astype(dtype).astype(precision)
    assert_holds(RawDataFile(save(changed)), members)


@pytest.mark.parametrize("key", ["probeGuess", "objectGuess"])
def test_an_image_in_fortran_order_is_read_the_right_way_round(save, members, key):
    assert_holds(RawDataFile(save(members | {key: np.asfortranarray(members[key])})), members)


def test_patterns_in_fortran_order_are_refused_with_what_to_do(save, members):
    message = refusal(save(members | {"diff3d": np.asfortranarray(members["diff3d"])}))
    assert message.startswith("diff3d: ") and "np.ascontiguousarray" in message


@pytest.mark.parametrize("key", REQUIRED)
def test_each_required_key_is_missed(save, members, key):
    del members[key]
    assert refusal(save(members)).startswith(f"{key}: missing key")


@pytest.mark.parametrize("key", REQUIRED)
def test_a_wrong_rank_is_refused(save, members, key):
    assert refusal(save(members | {key: members[key][..., None]})).startswith(f"{key}: ")


@pytest.mark.parametrize("key", VECTORS)
def test_a_vector_of_another_length_than_the_scan_is_refused(save, members, key):
    message = refusal(save(members | {key: members[key][:-1]}))
    assert message.startswith(f"{key}: must have one value for each of the 5 patterns")


@pytest.mark.parametrize("key", [*REQUIRED[3:], "diff3d", "probeGuess", "objectGuess"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(save, members, key, value):
    members[key].flat[-1] = value
    message = refusal(save(members))
    assert message.startswith(f"{key}: ") and "finite" in message


def test_an_amplitude_that_float32_cannot_hold_is_refused(save, members):
    patterns = members["diff3d"].astype(np.float64)
    patterns[-1, -1, -1] = 1e300
    message = refusal(save(members | {"diff3d": patterns}))
    assert message.startswith("diff3d: ") and "finite" in message


def test_a_negative_amplitude_is_refused(save, members):
    members["diff3d"][-1, -1, -1] = -0.5
    assert "not negative (found -0.5)" in refusal(save(members))


def test_a_negative_amplitude_under_the_old_key_is_refused_by_that_key(save, members):
    members["diffraction"] = -np.moveaxis(members.pop("diff3d"), 0, -1)
    assert refusal(save(members)).startswith("diffraction: ")


@pytest.mark.parametrize(
    ("key", "dtype"),
    [
        ("diff3d", complex),
        ("diff3d", bool),
        ("diff3d", "U4"),
        ("probeGuess", float),
        ("objectGuess", float),
        ("xcoords", complex),
        ("xcoords", "U8"),
        ("scan_index", float),
    ],
)
def test_a_wrong_type_is_refused(save, members, key, dtype):
    array = members[key].real if dtype is float else members[key]
    assert refusal(save(members | {key: array.astype(dtype)})).startswith(f"{key}: ")


def test_a_probe_of_another_size_than_the_patterns_is_refused(save, members):
    message = refusal(save(members | {"probeGuess": members["probeGuess"][:6, :6]}))
    assert message == "probeGuess: must be 8 x 8 as the patterns are, its shape is (6, 6)"


def test_patterns_that_are_not_square_are_refused(save, members):
    assert "must be square, they are 8 x 6" in refusal(
        save(members | {"diff3d": members["diff3d"][:, :, :6]})
    )


@pytest.mark.parametrize("shape", [(0, 8, 8), (5, 0, 0)])
def test_an_empty_scan_is_refused(save, members, shape):
    assert "empty scan" in refusal(save(members | {"diff3d": np.zeros(shape, np.float32)}))


@pytest.mark.parametrize("key", [*REQUIRED, "objectGuess"])
@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_pickle_is_refused_and_never_run(tmp_path, save, members, key, writer):
    trace = tmp_path / "trace"
    members[key] = np.array([Canary(trace)], dtype=object)
    message = refusal(save(members, writer))
    assert message.startswith(f"{key}: ") and "pickled objects" in message
    assert not trace.exists()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.6, 0.9, 0.97, 0.999])
def test_a_truncated_file_is_refused(save, members, fraction):
    path = save(members)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    assert "not a complete NPZ" in refusal(path)


def test_a_file_of_another_kind_is_refused(tmp_path, members):
    path = tmp_path / "scan.npy"
    np.save(path, members["diff3d"])
    assert "not a complete NPZ" in refusal(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("diff3d.txt", "1 2 3")
    assert refusal(path) == "diff3d: missing key; the file holds none"


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert refusal(tmp_path / "absent.npz") == "not found"
    refusal(tmp_path)


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_a_file_with_a_damaged_byte_is_read_right_or_refused(save, members, writer):
    """Where a checksum cannot see the damage (a date, a permission), what is read is what was written."""
    path = save(members, writer)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for place in rng.choice(len(content), 150, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            file = RawDataFile(path)
            patterns = file.all_patterns()
        except UserError:
            refused += 1
        else:
            assert np.array_equal(patterns, members["diff3d"])
            assert np.array_equal(file.scan.x, members["xcoords"])
    assert refused > 90


def test_an_encrypted_member_is_refused(save, members):
    path = save(members)
    content = bytearray(path.read_bytes())
    start = 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:
        content[start + 8] |= 1
        start += 4
    path.write_bytes(content)
    assert refusal(path).startswith("diff3d: ")
