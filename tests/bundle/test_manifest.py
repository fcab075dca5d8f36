"""The manifest lists every file of a study with what it is, and agrees with dvc.lock both ways."""

import csv
import hashlib
import io
import json
import os

import numpy as np
import pytest

from ptychodose.bundle.lock_check import check_against_lock
from ptychodose.bundle.manifest import build_manifest
from ptychodose.bundle.manifest_documents import documents
from ptychodose.bundle.manifest_schema import parse_manifest
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import write_json
from ptychodose.stages import layout
from ptychodose.stages import manifest as stage
from tests.bundle.studies import make_study, write_lock

TRAIN, KERAS = "data/datasets/1e3/train.npz", "data/models/pinn/1e3/model.keras"


@pytest.fixture
def study(tmp_path, monkeypatch):
    make_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def built(study):
    """The manifest as it reads back."""
    manifest = build_manifest(study, "MINE", ["1e3"])
    return parse_manifest(documents(manifest)["manifest.json"], "manifest.json")


@pytest.fixture
def entries(built):
    return {entry.path: entry for entry in built.files}


def test_every_file_is_listed_with_role_origin_and_hashes(built, entries, study):
    roles = {path: entry.role for path, entry in entries.items()}
    assert roles == {
        "data/datasets/1e3/train.json": "record",
        TRAIN: "dataset",
        "data/models/pinn/1e3/config.json": "record",
        KERAS: "checkpoint",
        "data/models/pinn/1e3/params.dill": "parameters",
        "data/reconstructions/pinn/1e3/test.npz": "reconstruction",
        "dvc.yaml": "document",
        "metrics/pinn/1e3.json": "metrics",
        "metrics/pinn/1e3/test.png": "picture",
        "metrics/pinn/1e3/train.png": "picture",
        "params.yaml": "parameters",
    }
    assert list(roles) == sorted(roles) == list(built.modified)
    for path, entry in entries.items():
        content = (study / path).read_bytes()
        assert (entry.size_bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert entry.md5 == (hashlib.md5(content).hexdigest() if entry.stage else None)
    assert (built.scenario_id, built.doses, built.warnings) == ("MINE", ["1e3"], [])


def test_dose_model_split_stage_and_dotted_parameters_are_those_of_the_lock(entries):
    train = entries[TRAIN]
    assert (train.dose, train.model, train.split, train.stage) == ("1e3", None, "train", "simulate@1e3")
    assert train.parameters == {"scenario": "MINE", "simulate.size_px": 64, "simulate.object": {}}
    picture = entries["metrics/pinn/1e3/test.png"]
    assert (picture.dose, picture.model, picture.split) == ("1e3", "pinn", "test")
    assert entries[KERAS].parameters == {"models.pinn.kind": "pinn", "models.pinn.epochs": 2, "seed": 3}
    assert (entries["params.yaml"].stage, entries["params.yaml"].parameters) == (None, {})


def test_an_npz_is_described_array_by_array(entries, study):
    facts = entries[TRAIN].npz
    assert facts.contract == "good"
    assert facts.required[:3] == ["diff3d", "probeGuess", "scan_index"] and len(facts.required) == 7
    assert (facts.optional, facts.extra) == (["objectGuess"], [])
    with np.load(study / TRAIN) as arrays:
        assert set(facts.arrays) == set(arrays)
        for key, array in arrays.items():
            found = facts.arrays[key]
            assert (tuple(found.shape), found.dtype) == (array.shape, array.dtype.name)
            assert found.sha256 == hashlib.sha256(array.tobytes()).hexdigest()
    other = entries["data/reconstructions/pinn/1e3/test.npz"].npz
    assert other.contract is None
    assert other.arrays["count"].sha256 == hashlib.sha256((7).to_bytes(4, "little")).hexdigest()


def test_a_checkpoint_carries_its_settings(entries):
    assert entries[KERAS].checkpoint == {
        "size_px": 64,
        "gridsize": 1,
        "epochs": 2,
        "dose": "1e3",
        "seed": 3,
        "intensity_scale": 0.5,
    }


def test_a_dataset_that_breaks_the_contract_is_listed_with_the_rule(study):
    np.savez(study / TRAIN, diff3d=np.ones((2, 4, 4)), mine=1)
    write_lock(study)
    manifest = build_manifest(study, "MINE", ["1e3"])
    (facts,) = (entry.npz for entry in manifest.files if entry.path == TRAIN)
    assert "probeGuess: missing key" in facts.contract
    assert (facts.required, facts.extra) == (["diff3d"], ["mine"])
    assert manifest.warnings == [facts.contract]


def test_the_same_files_give_the_same_bytes_but_for_their_times(study):
    first = documents(build_manifest(study, "MINE", ["1e3"]))
    os.utime(study / TRAIN, (0, 0))
    second = documents(build_manifest(study, "MINE", ["1e3"]))
    assert first["manifest.md"] == second["manifest.md"] and first["files.csv"] == second["files.csv"]
    trees = [json.loads(texts["manifest.json"]) for texts in (first, second)]
    assert trees[0].pop("modified") != trees[1].pop("modified")
    assert json.dumps(trees[0]) == json.dumps(trees[1])


def test_the_table_for_a_spreadsheet_has_every_file(built):
    rows = list(csv.DictReader(io.StringIO(documents(built)["files.csv"])))
    assert [row["path"] for row in rows] == [entry.path for entry in built.files]
    assert rows[1]["sha256"] == built.files[1].sha256


def test_the_stage_writes_one_folder(study, tiny_params):
    params = tiny_params()
    for run in params.measured_runs():
        write_json(layout.metrics(*run), {split: {} for split in params.splits()})
    write_lock(study)
    stage.run(params)
    folder = study / "data" / "bundle"
    assert {file.name for file in folder.iterdir()} == {
        "manifest.json",
        "manifest.md",
        "files.csv",
        "README.md",
    }
    assert json.loads((folder / "manifest.json").read_text())["scenario_id"] == "TINY"


# --- against dvc.lock -------------------------------------------------------------------------------------


def test_a_manifest_and_the_lock_it_was_made_of_agree(built, study):
    assert check_against_lock(built, study) == []


def test_a_file_in_one_only_and_another_hash_are_named(built, study):
    (study / "data/models/pinn/1e3/params.dill").unlink()
    (study / "data/models/pinn/1e3/new.json").write_text("{}")
    (study / KERAS).write_bytes(b"trained again")
    write_lock(study)
    found = check_against_lock(built, study)
    assert [sentence.split(": ")[0] for sentence in found] == [
        KERAS,
        "data/models/pinn/1e3/new.json",
        "data/models/pinn/1e3/params.dill",
    ]
    assert "in dvc.lock, " in found[0] and " in the manifest" in found[0]
    assert found[1].endswith("in dvc.lock, not in the manifest")
    assert found[2].endswith("in the manifest, not in dvc.lock")


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        (KERAS, b"other", "not the file of dvc.lock"),
        (KERAS, None, "not found; `dvc pull` fetches it"),
        ("data/models/pinn/1e3/extra.txt", b"x", "not in dvc.lock; move it elsewhere"),
        ("metrics/pinn/1e3/test.png", b"other", "not those of dvc.lock"),
    ],
)
def test_files_that_are_not_those_of_the_lock_give_no_manifest(study, path, content, sentence):
    if content is None:
        (study / path).unlink()
    else:
        (study / path).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as refused:
        build_manifest(study, "MINE", ["1e3"])
    assert str(refused.value).startswith((path, path.rsplit("/", 1)[0], str(study / path)))
    assert not (study / "data" / "bundle").exists()
