"""Damage in workspace, cache and store is found and named; what can be repaired is, and nothing is lost."""

import hashlib
import json
import os
import shutil

import pytest

from ptychodose.bundle.repair import repair_study, run_verify
from ptychodose.bundle.verification import verify_workspace
from ptychodose.errors import UserError
from tests.bundle.studies import (
    CACHE,
    STORE,
    commit,
    git,
    listing,
    make_study,
    md5_of,
    object_of,
    write_lock,
    write_manifest,
)

KERAS, PICTURE = "data/models/pinn/1e3/model.keras", "metrics/pinn/1e3/test.png"
ASIDE = ".dvc/tmp/damaged"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with its manifest, all released: in cache, store and git."""
    root = tmp_path_factory.mktemp("study")
    make_study(root)
    write_manifest(root)
    commit(root)
    return root


@pytest.fixture
def study(made, tmp_path):
    """A copy to break."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def copies(study):
    """Every copy of a checkpoint and of the list of its folder, by name."""
    folder = "data/models/pinn/1e3"
    return {
        "workspace": study / KERAS,
        "cache": object_of(study, KERAS, CACHE),
        "store": object_of(study, KERAS, STORE),
        "list in the cache": object_of(study, folder, CACHE),
        "list in the store": object_of(study, folder, STORE),
        "git's": study / PICTURE,
    }


def flip(path):
    """Change one byte; size, mode and modification time stay."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path):
    """Keep the first half."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path):
    """Delete it."""
    path.unlink()


def no_git(study):
    """Nothing but the three places."""
    shutil.rmtree(study / ".git")


# --- what is found, and repaired --------------------------------------------------------------------------

PLACES = ("workspace", "cache", "store", "list in the cache", "list in the store", "git's")


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("damage", [flip, truncate, remove])
@pytest.mark.parametrize("place", PLACES)
def test_one_damaged_copy_is_named_and_repaired(study, copies, place, damage, with_manifest):
    if not with_manifest:
        shutil.rmtree(study / "data" / "bundle")
        write_lock(study)
    path, good = copies[place], copies[place].read_bytes()
    damage(path)
    findings = verify_workspace(study)
    name = path.relative_to(study).as_posix()
    if place == "git's" and not with_manifest:
        name = "metrics/pinn/1e3"  # no list of its files: which of them is wrong cannot be known
    gone = not (study / name).exists()
    assert (findings.missing if gone else findings.damaged) == [name]
    assert [fault.path for fault in findings.faults] == [name]
    assert f"{findings.faults[0].kind}: {name}" in findings.summary()
    after, repaired = repair_study(study)
    assert after.good and repaired == [name]
    assert path.read_bytes() == good
    assert os.access(path, os.R_OK) and not list(study.rglob("*.partial"))


@pytest.mark.parametrize("where", ["workspace", "cache", "store"])
def test_one_good_copy_repairs_the_other_two(study, copies, where):
    no_git(study)
    for place in {"workspace", "cache", "store"} - {where}:
        flip(copies[place])
    assert len(verify_workspace(study).faults) == 2
    after, repaired = repair_study(study)
    assert after.good and len(repaired) == 2


def test_git_restores_the_store_and_the_store_the_rest(study, copies):
    for place in PLACES:
        flip(copies[place])
    after, repaired = repair_study(study)
    assert after.good, after.summary()
    assert len(repaired) == len(PLACES)


def test_a_read_only_object_stays_one(study, copies):
    flip(copies["cache"])
    repair_study(study)
    assert copies["cache"].stat().st_mode & 0o777 == 0o444


def test_what_is_replaced_is_kept(study, copies):
    flip(copies["workspace"])
    bad = copies["workspace"].read_bytes()
    repair_study(study)
    assert (study / ASIDE / f"{KERAS}.damaged").read_bytes() == bad
    flip(copies["workspace"])
    repair_study(study)
    assert (study / ASIDE / f"{KERAS}.2.damaged").read_bytes() == bad


def test_the_only_copies_are_left_where_they_are(study, copies, capsys):
    no_git(study)
    places = ("workspace", "cache", "store")
    for place in places:
        flip(copies[place])
    before = [copies[place].read_bytes() for place in places]
    assert run_verify(study, repair=True, as_json=False) == 1
    assert [copies[place].read_bytes() for place in places] == before
    assert not (study / ASIDE).exists()
    output = capsys.readouterr().out
    assert f"no good copy here: {KERAS}" in output
    assert "dvc repro --force --single-item train@pinn-1e3" in output
    assert "repair: " not in output


def test_numbers_that_git_does_not_hold_yet_are_not_replaced_by_older_ones(study):
    path = study / "metrics/pinn/1e3.json"
    path.write_text('{"test": {"ssim": 0.6}}')
    write_lock(study)
    path.write_text('{"test": {"ssim": 0.7}}')
    after, repaired = repair_study(study)
    assert "metrics/pinn/1e3.json" in after.damaged and repaired == []
    assert path.read_text() == '{"test": {"ssim": 0.7}}'


def test_a_damaged_object_of_another_study_is_set_aside(study):
    content = b"an object that dvc.lock does not need"
    md5 = hashlib.md5(content).hexdigest()
    kept = study / CACHE / md5[:2] / md5[2:]
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(content)
    assert verify_workspace(study).good
    flip(kept)
    findings = verify_workspace(study)
    assert findings.damaged == [kept.relative_to(study).as_posix()]
    assert "(not in dvc.lock)" in findings.summary()
    assert repair_study(study)[0].good
    assert not kept.exists() and list((study / ASIDE).rglob("*.damaged"))


def test_a_folder_in_the_place_of_a_file_is_set_aside(study, copies):
    copies["workspace"].unlink()
    copies["workspace"].mkdir()
    (copies["workspace"] / "mine.txt").write_text("mine")
    repair_study(study)
    assert copies["workspace"].is_file()
    assert (study / ASIDE / f"{KERAS}.damaged" / "mine.txt").read_text() == "mine"


def test_in_a_fresh_clone_the_advice_is_one_pull(study, monkeypatch):
    monkeypatch.setattr("ptychodose.bundle.findings._MANY", 3)
    for folder in (".dvc/cache", "data/datasets", "data/models", "data/reconstructions", "data/bundle"):
        shutil.rmtree(study / folder)
    findings = verify_workspace(study)
    assert len(findings.missing) == 9
    assert findings.repair_commands() == ["dvc pull --force"]


@pytest.mark.parametrize("path", ["../outside", "{root}/../outside", "data/models/../../../outside"])
@pytest.mark.parametrize("in_a_list", [False, True])
def test_a_path_that_leaves_the_study_is_refused(study, path, in_a_list):
    """Or a repair would write wherever a stranger's dvc.lock says."""
    path = path.format(root=study)
    content = json.dumps([{"md5": "0" * 32, "relpath": path}]).encode()
    md5 = f"{hashlib.md5(content).hexdigest()}"
    (study / CACHE / md5[:2]).mkdir(exist_ok=True)
    (study / CACHE / md5[:2] / f"{md5[2:]}.dir").write_bytes(content)
    out = {"path": "data/list", "md5": f"{md5}.dir"} if in_a_list else {"path": path, "md5": "0" * 32}
    (study / "dvc.lock").write_text(json.dumps({"stages": {"make": {"outs": [out]}}}))
    with pytest.raises(UserError, match="outside: lies outside of the study"):
        repair_study(study)


# --- places that are not there ----------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [".dvc/cache", "data/store/files"])
def test_an_absent_cache_or_store_is_no_damage_and_is_not_made(study, absent):
    shutil.rmtree(study / absent)
    assert verify_workspace(study).good
    flip(study / KERAS)
    assert repair_study(study)[0].good
    assert not (study / absent).exists()


def test_what_was_not_pushed_yet_is_said_and_no_damage(study, copies):
    git(study, "rm", "--cached", "--quiet", copies["store"].relative_to(study).as_posix())
    copies["store"].unlink()
    findings = verify_workspace(study)
    assert findings.good and findings.n_unpushed == 1
    assert "not in the embedded store: 1 objects; a release takes them there" in findings.summary()


# --- the manifest -----------------------------------------------------------------------------------------


def test_a_good_study_says_what_it_was_compared_with(study):
    findings = verify_workspace(study)
    assert findings.with_manifest
    summary = findings.summary()
    assert summary.startswith("good: 12 of 12 files") and "match dvc.lock and the manifest" in summary
    assert findings.n_objects == {"cache": 13, "store": 13}


def test_a_truncated_manifest_is_one_sentence_and_is_repaired(study, capsys):
    path = study / "data/bundle/manifest.json"
    good = path.read_bytes()
    truncate(path)
    with pytest.raises(UserError, match=r"manifest\.json: not a whole JSON file") as refused:
        verify_workspace(study)
    assert "\n" not in str(refused.value)
    assert run_verify(study, repair=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["repaired"] == ["data/bundle/manifest.json"]
    assert path.read_bytes() == good


def test_a_tampered_manifest_condemns_no_good_file(study):
    path = study / "data/bundle/manifest.json"
    entry = json.loads(path.read_text())["files"][1]
    path.write_text(path.read_text().replace(entry["sha256"], "0" * 64))
    findings = verify_workspace(study)
    assert findings.damaged == ["data/bundle/manifest.json"] and not findings.with_manifest


def test_a_manifest_that_no_stage_made_is_held_against_lock_and_files(study):
    path = study / "data/bundle/manifest.json"
    write_lock(study)
    manifest = json.loads(path.read_text())
    manifest["files"][1]["sha256"] = "0" * 64
    del manifest["files"][2]
    path.write_text(json.dumps(manifest))
    findings = verify_workspace(study)
    assert findings.damaged == [] and not findings.good
    assert findings.disagreements[0].endswith("in dvc.lock, not in the manifest")
    assert f"{manifest['files'][1]['path']}: as in dvc.lock, but of another SHA-256" in findings.disagreements
    assert findings.summary().splitlines()[-1].startswith("OUT OF STEP: ")


def test_changed_parameters_are_named_and_left_alone(study):
    (study / "params.yaml").write_text("scenario: OTHER\n")
    after, repaired = repair_study(study)
    assert after.disagreements == ["params.yaml: changed since the manifest was written"]
    assert repaired == [] and (study / "params.yaml").read_text() == "scenario: OTHER\n"


def test_the_list_of_a_folder_is_the_one_dvc_makes(study):
    """So that the hash of a folder in git says which file of it is damaged, as the manifest lists them."""
    folder = study / "metrics/pinn/1e3"
    assert md5_of(folder) == f"{hashlib.md5(listing(folder)).hexdigest()}.dir"
