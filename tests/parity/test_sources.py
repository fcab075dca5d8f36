"""Parity logs from files, folders, git revisions and experiments, and what is said when there is none."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from ptychodose.config import load_params
from ptychodose.errors import UserError
from ptychodose.formats.rawdata import Scan, write_rawdata
from ptychodose.parity.emitter import entry
from ptychodose.parity.sources import load_source
from tests.conftest import REPOSITORY
from tests.parity.pipeline import log


def git(repository, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def part(name, value, model=None):
    return entry(name, dose=name.split("/")[0], model=model, boundaries={"raw.xcoords": np.array([value])})


def study(root, value):
    log(root / "data/parity/data/1e5.json", [part("1e5/test", value)], {"numpy": "2", "threads": 1})
    log(root / "data/parity/pinn/1e5.json", [part("1e5/test", value, "pinn")], {"numpy": "2", "threads": 2})
    floor = {"splits": {"test": {"amplitude.psnr": {"range": 0.1, "median": 30.0, "values": [30.0]}}}}
    path = root / "metrics/noise_floor/pinn/1e5.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(floor))
    shutil.copy(REPOSITORY / "params.yaml", root)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of a study, and an experiment upon the second."""
    git(tmp_path, "init", "-q")
    for value in (1.0, 2.0, 3.0):
        study(tmp_path, value)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", f"value {value}")
    git(tmp_path, "update-ref", f"refs/exps/ab/{'c' * 38}/lively-owl", "HEAD")
    git(tmp_path, "reset", "-q", "--hard", "HEAD~1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def value(source):
    return source.entries[0].boundaries[0].array.mean


def test_a_study_in_a_folder_a_revision_and_an_experiment(repository):
    assert [value(load_source(name)) for name in (".", "HEAD", "HEAD~1", "lively-owl")] == [2, 2, 1, 3]
    source = load_source("HEAD~1")
    assert source.label == f"HEAD~1, commit {git(repository, 'rev-parse', '--short=12', 'HEAD~1')}"
    assert [entry.key for entry in source.entries] == [("1e5/test", ""), ("1e5/test", "pinn")]
    assert source.environment == {"numpy": "2", "threads": "1 | 2"}
    assert source.floors["pinn", "1e5"]["test"]["amplitude.psnr"]["range"] == 0.1
    assert source.compare == load_params(REPOSITORY / "params.yaml").compare


def test_one_file_and_a_folder_with_one(tmp_path):
    path = log(tmp_path / "here/parity_log.json", [part("1e5/test", 4.0)])
    assert value(load_source(str(path))) == value(load_source(str(path.parent))) == 4.0


def test_a_folder_of_datasets_without_a_log_is_logged_on_the_fly(tmp_path):
    rng = np.random.default_rng(1)
    places = [rng.uniform(0, 40, 9) for _ in range(2)]
    scan = Scan(np.ones((16, 16), complex), *places, *places, np.zeros(9, np.int64), None)
    patterns = np.sqrt(rng.poisson(4.0, (9, 16, 16)) / 1024).astype(np.float32)
    write_rawdata(tmp_path / "data_p1024.npz", [patterns], scan)
    source = load_source(str(tmp_path))
    assert source.entries[0].boundaries[1].array.shape == [9, 16, 16]


def refused(name):
    with pytest.raises(UserError) as caught:
        load_source(str(name))
    return str(caught.value)


def test_what_is_not_there_is_said_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "run `dvc repro` in the study, or `ptychodose parity log`" in refused(tmp_path)
    assert "no such folder, and this is not a git repository" in refused("nowhere")


def test_a_truncated_a_newer_and_another_file_are_refused(tmp_path):
    path = log(tmp_path / "parity_log.json", [part("1e5/test", 4.0)])
    text = path.read_text()
    path.write_text(text[:-40])
    assert "parity_log.json: not a whole JSON file" in refused(path)
    path.write_text(text.replace("parity/1", "parity/2"))
    assert "the log is of version 2, this ptychodose reads up to 1" in refused(path)
    path.write_text('{"a": 1}')
    assert "schema: not a parity log" in refused(path)
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    assert "not a text file" in refused(path)


def test_a_data_set_in_two_logs_is_refused(tmp_path):
    for name in ("1e5", "again"):
        log(tmp_path / f"data/parity/data/{name}.json", [part("1e5/test", 4.0)])
    message = refused(tmp_path)
    assert "data/parity/data/again.json: datasets: 1e5/test is in " in message
    assert message.endswith("data/parity/data/1e5.json too; keep one of them")
