"""`ptychodose reproduced`: yes, no, or what is missing to say it."""

import hashlib
import json
import shutil

import pytest
from ruamel.yaml import YAML

from ptychodose.errors import UserError
from ptychodose.parity.checkpoints import tier
from ptychodose.parity.reproduced import run_reproduced
from tests.parity.studies import N_NUMBERS, change, commit, git, write, write_study

MODELS = (("pinn", "1e3"), ("pinn", "1e9"))


def md5(content):
    return hashlib.md5(content.encode()).hexdigest()


def write_output(root, folder, files):
    """Write a tracked folder and its list in the store, as DVC does; returns its entry of dvc.lock."""
    for name, content in files.items():
        write(root, f"{folder}/{name}", content)
    entries = [{"md5": md5(content), "relpath": name} for name, content in sorted(files.items())]
    listing = json.dumps(entries)
    hash_ = md5(listing)
    write(root, f"data/store/files/md5/{hash_[:2]}/{hash_[2:]}.dir", listing)
    return {"path": folder, "hash": "md5", "md5": f"{hash_}.dir", "nfiles": len(files)}


def layer(norm=2.0, mean=0.5, sha256="a" * 64, shape=(4,)):
    return {"shape": list(shape), "l2_norm": norm, "mean": mean, "sha256": sha256}


def write_log(root, run, layers):
    boundary = {"name": "train.weights", "values": layers}
    entry = {"name": f"{run[1]}/train", "dose": run[1], "model": run[0], "boundaries": [boundary]}
    log = {"schema": "ptychodose/parity/1", "emitter": "t", "scenario_id": "T", "datasets": [entry]}
    write(root, f"data/parity/{run[0]}/{run[1]}.json", log)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A released study and, since, a commit that did not touch its store; the data are not in git."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "main")
    write_study(root)
    outs = [write_output(root, "data/datasets/1e3", {"train.npz": "photons", "train.json": "{}"})]
    for model, dose in MODELS:
        files = {"model.keras": f"weights of {model} {dose}", "config.json": "{}"}
        outs.append(write_output(root, f"data/models/{model}/{dose}", files))
    with (root / "dvc.lock").open("w") as stream:
        YAML().dump({"schema": "2.0", "stages": {"all": {"cmd": "make", "outs": outs}}}, stream)
    write(root, ".gitignore", "/data/datasets/\n/data/models/\n")
    commit(root, "Release")
    write(root, "README.md", "More words")
    commit(root, "Later")
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "200")
    return root


@pytest.fixture
def verdict(study, capsys):
    """Exit code, last line and everything printed."""

    def ask(reference=None):
        code = run_reproduced(reference, as_json=False)
        text = capsys.readouterr().out
        return code, text.rstrip().rsplit("\n", 1)[-1], text

    return ask


YES = f"reproduced: yes (datasets exact, 2 of 2 checkpoints exact, {N_NUMBERS} numbers within tolerance)"


def test_what_was_pulled_is_reproduced_and_the_release_is_named(study, verdict):
    code, line, text = verdict()
    assert (code, line) == (0, YES)
    released = git(study, "rev-parse", "HEAD~1")
    assert f"commit {released[:12]} of 20" in text and "the newest that changed data/store" in text


def test_the_reference_counts_not_what_the_workspace_says_of_itself(study, verdict):
    write(study, "data/datasets/1e3/train.npz", "other photons")
    # As after `dvc repro --force`: lock and store of the workspace agree with the file.
    lock = YAML().load(study / "dvc.lock")
    lock["stages"]["all"]["outs"][0] = write_output(
        study, "data/datasets/1e3", {"train.npz": "other photons", "train.json": "{}"}
    )
    YAML().dump(lock, study / "dvc.lock")
    code, line, text = verdict()
    assert code == 1
    assert line == "reproduced: NO: 1 of 2 dataset files differ (2 of 2 checkpoints exact)"
    assert ["data/datasets/1e3/train.npz", "different"] in [row.split() for row in text.splitlines()]
    (study / "dvc.lock").unlink()
    shutil.rmtree(study / "data/store")
    write(study, "data/datasets/1e3/train.npz", "photons")
    assert verdict()[:2] == (0, YES)


def test_a_file_that_the_reference_has_not_is_a_difference(study, verdict):
    write(study, "data/datasets/1e3/extra.npz", "photons")
    code, _, text = verdict()
    assert code == 1 and "data/datasets/1e3/extra.npz  not in the reference" in text


def test_a_number_outside_its_tolerance_is_no(study, verdict):
    change(study, ("pinn", "1e3"), "test", "amplitude.psnr", 31.0)
    code, line, text = verdict()
    assert code == 1 and "floor: pinn 1e3" in text
    assert line.startswith(f"reproduced: NO: 1 of {N_NUMBERS} numbers are outside their tolerances")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("data/datasets/1e3/train.npz", "1 of 2 dataset files missing"),
        ("data/models/pinn/1e9/model.keras", "checkpoints missing: pinn 1e9"),
        ("metrics/ml/1e3.json", "metrics missing or malformed: 1"),
    ],
)
def test_with_something_missing_it_cannot_be_said(study, verdict, path, what):
    (study / path).unlink()
    code, line, _ = verdict()
    assert (code, line) == (2, f"reproduced: cannot say: {what}")


def test_what_the_workspace_has_beyond_the_reference_does_not_count(study, verdict):
    shutil.copytree(study / "metrics/pinn", study / "metrics/novel")
    write(study, "data/datasets/1e4/train.npz", "photons")
    assert verdict()[:2] == (0, YES)


def test_a_checkpoint_of_other_bytes_is_told_by_its_weights(study, verdict):
    write(study, "data/models/pinn/1e3/model.keras", "other bytes")
    code, line, text = verdict()
    assert code == 0 and "1 of 2 checkpoints exact, 1 not compared" in line and "no parity log" in text
    write_log(study, ("pinn", "1e3"), {"01 conv": layer()})
    commit(study, "Log")
    head = git(study, "rev-parse", "HEAD")
    for layers, said in (
        ({"01 conv": layer()}, "2 of 2 checkpoints exact"),
        ({"01 conv": layer(norm=2.0001, sha256="b" * 64)}, "1 of 2 checkpoints exact, 1 close"),
        ({"01 conv": layer(norm=2.1, sha256="b" * 64)}, "1 of 2 checkpoints exact, 1 another training"),
    ):
        write_log(study, ("pinn", "1e3"), layers)
        code, line, _ = verdict(head)
        assert code == 0 and f"(datasets exact, {said}, " in line


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"a": layer()}, "exact"),
        ({"a": layer(sha256="b" * 64, norm=2.0 * (1 + 5e-5), mean=0.5 + 5e-5)}, "close"),
        ({"a": layer(sha256="b" * 64, mean=0.5 + 2e-4)}, "another training"),
        ({"a": layer(sha256="b" * 64, shape=(5,))}, "another training"),
        ({"a": layer(sha256="b" * 64, norm=None)}, "another training"),
        ({"a": layer(), "b": layer()}, "another training"),
        ({}, "another training"),
    ],
)
def test_tiers_of_checkpoints(other, expected):
    # Four weights of norm 2: their rms is 1, so that a mean may be 1e-4 off.
    assert tier({"a": layer()}, other) == expected


def test_a_mean_that_is_zero_but_for_rounding_does_not_part_two_networks():
    assert tier({"a": layer(mean=1e-9)}, {"a": layer(mean=-2e-9, sha256="b" * 64)}) == "close"


def test_without_a_release_the_reference_must_be_named(study, tmp_path, monkeypatch, verdict):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^data/store: no commit .* --reference$"):
        run_reproduced(None, as_json=False)
    monkeypatch.chdir(study)
    assert verdict("HEAD")[1] == YES


def test_a_reference_that_is_no_study_is_refused(study, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"dvc.lock: not found"):
        run_reproduced(str(tmp_path / "empty"), as_json=False)
    write(study, "dvc.lock", "- 1")
    with pytest.raises(UserError, match=r"^.: dvc.lock: not a lock file DVC wrote"):
        run_reproduced(".", as_json=False)


def test_json_lists_every_file_and_checkpoint(study, capsys):
    assert run_reproduced("main", as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == YES and found["compared"] == N_NUMBERS
    assert {file["state"] for file in found["datasets"]} == {"exact"}
    assert [(made["model"], made["dose"], made["tier"]) for made in found["checkpoints"]] == [
        ("pinn", "1e3", "exact"),
        ("pinn", "1e9", "exact"),
    ]
