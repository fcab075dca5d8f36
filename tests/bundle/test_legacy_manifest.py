"""What was published is read with its mistakes, and compared byte by byte."""

import hashlib
import json

import pytest

from ptychodose.bundle.legacy_compare import run_compare_manifest
from ptychodose.bundle.legacy_manifest import (
    read_published,
    read_published_manifest,
    read_published_verification,
)
from ptychodose.errors import UserError
from tests.conftest import reference


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def copy(tmp_path):
    """A folder with three files, two of one name."""
    folder = tmp_path / "copy"
    for path, content in (
        ("data_p1e5.npz", b"data"),
        ("pinn_run/params.dill", b"pinn"),
        ("baseline_run/params.dill", b"baseline"),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def publish(tmp_path):
    def write(files, name="files.csv"):
        path = tmp_path / name
        rows = [f"dataset_npz,{path},{len(content)},{digest(content)}" for path, content in files.items()]
        path.write_text("\n".join(["file_type,path,size_bytes,sha256", *rows]) + "\n")
        return path

    return write


def test_the_same_files_are_found_wherever_they_lie(copy, publish, capsys):
    published = publish({"grid/data_p1e5.npz": b"data", "grid/results/baseline_run/params.dill": b"baseline"})
    assert run_compare_manifest(copy, published) == 0
    printed = capsys.readouterr().out
    assert "same bytes: grid/data_p1e5.npz (here data_p1e5.npz)" in printed
    assert "(here baseline_run/params.dill)" in printed
    assert "2 of 2 published files are here with the same bytes" in printed


def test_a_renamed_file_is_found_by_its_bytes(copy, publish):
    assert run_compare_manifest(copy, publish({"grid/scan.npz": b"data"})) == 0


def test_other_bytes_and_absent_files_are_told_apart(copy, publish, capsys):
    published = publish({"data_p1e5.npz": b"tampered", "x/pinn_run/params.dill": b"?", "wts.h5.zip": b"w"})
    assert run_compare_manifest(copy, published) == 1
    assert capsys.readouterr().out.splitlines() == [
        "same name, other bytes: data_p1e5.npz",
        "same name, other bytes: x/pinn_run/params.dill (here pinn_run/params.dill)",
        "not here: wts.h5.zip",
        "0 of 3 published files are here with the same bytes",
    ]


def test_a_copy_is_read_even_if_a_manifest_lies_in_it(copy, publish, tmp_path):
    publish({"data_p1e5.npz": b"data"})
    entry = {"path": "data_p1e5.npz", "role": "dataset", "size_bytes": 4, "sha256": digest(b"data")}
    manifest = {
        "schema": "ptychodose/manifest/1",
        "emitter": "test",
        "scenario_id": "S",
        "doses": ["1e5"],
        "files": [entry],
    }
    path = copy / "manifest.json"
    path.write_text(json.dumps(manifest))
    assert run_compare_manifest(path, tmp_path / "files.csv") == 0
    assert run_compare_manifest(copy, path) == 0
    (copy / "data_p1e5.npz").write_bytes(b"DATA")
    assert run_compare_manifest(copy, path) == 1


def test_a_verification_that_contradicts_itself_is_told(tmp_path):
    path = tmp_path / "bundle_verification.json"
    good = {"source": "a.npz", "verified": True, "expected_sha256": digest(b"a")}
    files = [
        good,
        good | {"source": "b.npz", "destination_sha256": digest(b"b")},
        {"source": "README.md", "verified": True},
        good | {"source": "c.npz", "verified": False},
    ]
    path.write_text(json.dumps({"files": files, "summary": {"total_files": 4, "verified_files": 4}}))
    found = read_published_verification(path)
    assert [file.path for file in found.files] == ["a.npz", "b.npz", "c.npz"]
    assert [text.removeprefix(f"{path}: ") for text in found.warnings] == [
        "b.npz: the bundle held other bytes than the manifest says",
        "README.md: called verified, but without a hash",
        "c.npz: was not verified when it was published",
        "summary: says 4 of 4 files are verified, its list says 3 of 4",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.json", "{", "not valid JSON"),
        ("m.json", "[]", "no published manifest"),
        ("m.json", '{"datasets": [{"path": "a"}]}', "datasets.0.sha256: field required"),
        ("m.json", '{"summary": {}, "files": []}', "files: "),
        ("files.csv", "path,size\na,1\n", "0.sha256: field required"),
        ("files.csv", "", "no published file list"),
    ],
)
def test_a_damaged_published_file_is_a_sentence(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_published(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_published_files_that_contradict_each_other_are_refused(tmp_path, publish):
    publish({"a.npz": b"a"})
    tree = {"datasets": [{"path": "a.npz", "sha256": digest(b"b")}]}
    (tmp_path / "ground_truth_manifest.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"a\.npz: SHA-256 .* but another published file says"):
        read_published(tmp_path)


def test_the_published_scenario_is_read_with_what_is_wrong_with_it(legacy_run, capsys):
    folder = reference("legacy_published")
    manifest = read_published_manifest(folder / "ground_truth_manifest.json")
    assert manifest.scenario_id == "PGRID-20250826-P1E5-T1024" and len(manifest.files) == 11
    verification = read_published_verification(folder / "bundle_verification.json")
    assert {file.sha256 for file in verification.files} == {file.sha256 for file in manifest.files}
    assert run_compare_manifest(legacy_run, folder) == 1
    printed = capsys.readouterr().out
    assert "same name, other bytes: photon_grid_study_20250826_152459/data_p1e5.npz" in printed
    assert "dose mismatch: nphotons_in_params is 1e+09" in printed
    assert "(train) / 0.921 (test)" in printed and "README.md: called verified, but without a hash" in printed
