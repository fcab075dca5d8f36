"""NPZ files: equal arrays are equal bytes, pieces make no difference, and no header is believed unchecked."""

import io
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats.npz import NpzReader, NpzWriter
from ptychodose.formats.rawdata import RawDataFile

MIB = 2**20


@pytest.fixture
def peak_memory():
    """Run a function that must end in a UserError; return its message and the memory it took at most."""

    def measure(function):
        tracemalloc.start()
        try:
            with pytest.raises(UserError) as caught:
                function()
            return str(caught.value), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def written(path, arrays):
    with NpzWriter(path) as writer:
        for key, array in arrays.items():
            writer.write(key, array)
    return path.read_bytes()


def member(shape, data, dtype="<f8"):
    """An NPY file whose header claims a shape, whatever the data."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


def test_equal_arrays_are_equal_bytes_at_another_time_and_in_another_layout(tmp_path, members, monkeypatch):
    first = written(tmp_path / "a.npz", members)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(0))
    other_layout = {key: np.asfortranarray(array) for key, array in members.items()}
    assert written(tmp_path / "b.npz", other_layout) == first


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1, 1], [2, 3], [0, 5]])
def test_the_pieces_an_array_arrives_in_change_no_byte(tmp_path, members, sizes):
    patterns = members["diff3d"]
    whole = written(tmp_path / "a.npz", {"diff3d": patterns})
    with NpzWriter(tmp_path / "b.npz") as writer:
        pieces = np.split(patterns, np.cumsum(sizes)[:-1])
        writer.write_chunks("diff3d", patterns.shape, patterns.dtype, pieces)
    assert (tmp_path / "b.npz").read_bytes() == whole


@pytest.mark.parametrize("missing", [1, -1])
def test_fewer_or_more_values_than_announced_are_an_error(tmp_path, missing):
    with pytest.raises(ValueError, match="12 values written"), NpzWriter(tmp_path / "a.npz") as writer:
        writer.write_chunks("a", (12 + missing,), np.float64, [np.zeros(12)])


def test_numpy_reads_every_kind_of_array_that_is_written(tmp_path):
    arrays = {
        "scalar": np.array(1.5),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]),
        "text": np.array(["a", "bc"]),
        "big_endian": np.arange(3, dtype=">i4"),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::3],
    }
    written(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive, NpzReader(tmp_path / "a.npz") as reader:
        assert reader.keys == list(arrays)
        for key, array in arrays.items():
            for found in (archive[key], reader.array(key)):
                assert found.dtype == array.dtype
                assert np.array_equal(found, array)
            assert reader.header(key).shape == array.shape


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_an_array_is_read_in_pieces_of_any_size(save, members, size):
    with NpzReader(save(members)) as reader:
        assert np.array_equal(np.concatenate(list(reader.chunks("diff3d", size))), members["diff3d"])


def test_a_small_file_that_claims_ten_gigabytes_is_refused_without_the_memory(tmp_path, peak_memory):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xcoords.npy", member((10**10 // 8,), bytes(100)))
    assert path.stat().st_size < 1000
    with NpzReader(path) as reader:
        message, memory = peak_memory(lambda: reader.array("xcoords"))
    assert f"{path}: xcoords: its header claims shape (1250000000,)" in message
    assert memory < MIB


def test_a_small_file_whose_directory_claims_ten_gigabytes_too_is_refused_without_the_memory(
    tmp_path, peak_memory
):
    path = tmp_path / "scan.npz"
    content = member((10**10 // 8,), bytes(100))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xcoords.npy", content)
    raw = bytearray(path.read_bytes())
    claimed = len(content) - 100 + 10**10
    entry = raw.find(b"PK\x01\x02")
    name_end = entry + 46 + len("xcoords.npy")
    zip64 = struct.pack("<HHQ", 1, 8, claimed)
    raw[entry + 24 : entry + 28] = b"\xff" * 4
    raw[entry + 30 : entry + 32] = struct.pack("<H", len(zip64))
    raw[name_end:name_end] = zip64
    end = raw.find(b"PK\x05\x06")
    raw[end + 12 : end + 16] = struct.pack("<L", end - entry)
    path.write_bytes(raw)
    with NpzReader(path) as reader:
        assert reader.header("xcoords").shape == (10**10 // 8,)
        message, memory = peak_memory(lambda: reader.array("xcoords"))
    assert message.startswith(f"{path}: xcoords: ")
    assert memory < MIB


@pytest.mark.parametrize("key", ["xcoords", "probeGuess"])
def test_an_array_of_a_wrong_shape_is_refused_before_it_is_unpacked(tmp_path, members, peak_memory, key):
    path = tmp_path / "scan.npz"
    np.savez_compressed(
        path, **members | {key: np.zeros((4, 2 * MIB), complex if key == "probeGuess" else float)}
    )
    message, memory = peak_memory(lambda: RawDataFile(path))
    assert f"{path}: {key}: " in message
    assert memory < MIB


@pytest.mark.parametrize("shape", [(-3, -4), (12.0,), "12", (3, 5)])
def test_a_header_with_an_impossible_shape_is_refused(tmp_path, shape):
    path = tmp_path / "scan.npz"
    content = member((3, 4), bytes(96)).replace(b"'shape': (3, 4)", f"'shape': {shape!r}".ljust(15).encode())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UserError, match=r"scan\.npz: a: "), NpzReader(path) as reader:
        reader.array("a")


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"not an array", b"\x93NUMPY\x09\x00\x10\x00", member((2,), b"")[:20]]
)
def test_a_member_that_is_no_array_is_refused(tmp_path, content):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with (
        pytest.raises(UserError, match=r"scan\.npz: a: not a readable NumPy array"),
        NpzReader(path) as reader,
    ):
        reader.array("a")
