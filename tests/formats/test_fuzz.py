"""Whatever bytes a file holds, it is read, or one sentence says what is wrong, in little memory and time."""

import io
import json
import pickle
import resource
import subprocess
import sys
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptychodose.bundle.manifest_schema import SCHEMA, parse_manifest
from ptychodose.errors import UserError
from ptychodose.formats.legacy_dill import read_legacy_dill
from ptychodose.formats.npz import NpzReader
from ptychodose.formats.rawdata import RawDataFile

bounded = settings(
    max_examples=150,
    derandomize=True,
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.sampled_from(("set", "cut", "add"))),
    min_size=1,
    max_size=8,
)
"""Where, in parts of the length, what byte, and how."""


def mutated(data, edits):
    data = bytearray(data)
    for place, value, how in edits:
        at = int(place * len(data))
        if how == "set" and data:
            data[at] = value
        elif how == "cut":
            del data[at : at + value]
        else:
            data.insert(at, value)
    return bytes(data)


def read_or_refuse(read, path):
    """No other exception may leave a reader, and its sentence names the file."""
    try:
        read(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")


def read_rawdata(path):
    dataset = RawDataFile(path)
    for _ in dataset.patterns():
        pass


def read_every_member(path):
    with NpzReader(path) as reader:
        for key in reader.keys:
            reader.array(key)


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
@bounded
@given(edits=EDITS)
def test_a_mutated_dataset_is_read_or_refused(tmp_path, members, save, writer, edits):
    path = save(members, writer)
    path.write_bytes(mutated(path.read_bytes(), edits))
    read_or_refuse(read_rawdata, path)
    read_or_refuse(read_every_member, path)


@bounded
@given(edits=EDITS)
def test_a_mutated_header_in_an_intact_archive_is_read_or_refused(tmp_path, members, edits):
    """The checksums of the archive hide the reader of headers from the test above."""
    stream = io.BytesIO()
    np.save(stream, members["xcoords"])
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xcoords.npy", mutated(stream.getvalue()[:128], edits) + stream.getvalue()[128:])
    read_or_refuse(read_every_member, path)


def test_a_header_with_a_key_of_bytes_is_refused(tmp_path):
    """What a longer search found: NumPy cannot sort such keys for its message."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xcoords.npy", stream.getvalue().replace(b" 'shape'", b"b'shape'"))
    read_or_refuse(read_every_member, path)


@bounded
@given(edits=EDITS)
def test_a_mutated_legacy_dill_is_read_or_refused(tmp_path, edits):
    values = {"N": 64, "gridsize": 1, "nphotons": 1e9, "label": "run", "probe": np.ones((3, 3), complex)}
    path = tmp_path / "params.dill"
    path.write_bytes(mutated(pickle.dumps(values, protocol=4), edits))
    read_or_refuse(read_legacy_dill, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
MANIFEST = {
    "schema": SCHEMA,
    "emitter": "ptychodose 1",
    "scenario_id": "X",
    "doses": ["1e5"],
    "files": [{"path": "a.npz", "role": "dataset", "size_bytes": 1, "sha256": "0" * 64}],
}


@bounded
@given(key=st.sampled_from(sorted(MANIFEST)), value=JSON)
def test_a_manifest_with_any_value_in_any_place_is_read_or_refused(key, value):
    read_or_refuse(lambda where: parse_manifest(json.dumps(MANIFEST | {key: value}), where), "manifest.json")


@bounded
@given(edits=EDITS)
def test_a_mutated_manifest_is_read_or_refused(edits):
    text = mutated(json.dumps(MANIFEST).encode(), edits).decode(errors="replace")
    read_or_refuse(lambda where: parse_manifest(text, where), "manifest.json")


def test_the_manifest_that_is_mutated_is_a_good_one():
    assert parse_manifest(json.dumps(MANIFEST), "manifest.json").files[0].path == "a.npz"


def test_a_small_file_that_claims_ten_gigabytes_is_refused_by_the_command(tmp_path, members):
    """With 4 GiB of address space, libraries included, the claim cannot be met."""
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**10 // 4 // 64, 8, 8)}
    np.lib.format.write_array_header_1_0(stream, header)
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("diff3d.npy", stream.getvalue() + bytes(100))
    assert path.stat().st_size < 1024
    limit = 4 * 2**30
    done = subprocess.run(
        [sys.executable, "-m", "ptychodose.cli", "check", str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}: diff3d: its header claims shape")
    assert done.stderr.count("\n") == 1
