"""`ptychodose verify` reads every byte, says what is wrong, and the repair that it prints repairs."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from ptychodose.bundle.verification import verify_workspace
from ptychodose.cli import main

DVC_YAML = """
stages:
  make:
    cmd: python make.py
    outs:
      - data/set
      - data/model.keras
      - metrics/curves:
          cache: false
    metrics:
      - metrics/numbers.json:
          cache: false
"""
ALL = {
    "data/set/a.npz",
    "data/set/deep/b.npz",
    "data/model.keras",
    "metrics/curves/c.csv",
    "metrics/numbers.json",
}
MAKE = f"""
from pathlib import Path
for name in {ALL}:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("the content of " + name)
"""


def run(*command, cwd):
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A repository as a study leaves it: cached and uncached files and folders, all in git or its store."""
    root = tmp_path_factory.mktemp("repository")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "make.py").write_text(MAKE)
    dvc = (sys.executable, "-m", "dvc")
    run("git", "init", "--quiet", cwd=root)
    run(*dvc, "init", "--quiet", cwd=root)
    run(*dvc, "remote", "add", "--default", "store", str(root / "data" / "store"), cwd=root)
    # Relative to .dvc/config, so that a copy of the repository has its own.
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(root / "data" / "store"), "../data/store"))
    run(*dvc, "remote", "modify", "store", "verify", "true", cwd=root)
    run(*dvc, "repro", "--quiet", cwd=root)
    run(*dvc, "push", "--quiet", cwd=root)
    run("git", "add", ".", cwd=root)
    run(
        "git",
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "commit",
        "--quiet",
        "-m",
        "Study",
        cwd=root,
    )
    return root


@pytest.fixture
def root(pushed, tmp_path, monkeypatch):
    """A copy to break, as the working directory."""
    copy = tmp_path / "copy"
    shutil.copytree(pushed, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


def flip(path):
    """Change one byte, leave size and modification time."""
    before = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def object_of(root, path):
    """The cache object of a file."""
    md5 = hashlib.md5((root / path).read_bytes()).hexdigest()
    return root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def folder_object(root, place=".dvc/cache"):
    (found,) = (
        path for path in (root / place / "files" / "md5").rglob("*.dir") if b"b.npz" in path.read_bytes()
    )
    return found


def repair(summary):
    """Run what the summary tells a user to run."""
    (line,) = (line for line in summary.splitlines() if line.startswith("repair: "))
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    subprocess.run(
        ["bash", "-c", line.removeprefix("repair: ")],
        env=os.environ | {"PATH": path},
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


# --- what is found ----------------------------------------------------------------------------------------


def test_an_intact_workspace_is_good(root):
    findings = verify_workspace(root)
    assert findings.good
    assert findings.n_good == len(ALL)
    assert findings.n_bytes == sum((root / path).stat().st_size for path in ALL)
    assert findings.summary().startswith("good: 5 of 5 files")


@pytest.mark.parametrize("path", sorted(ALL - {"metrics/curves/c.csv"}))
def test_a_flipped_byte_is_found_though_size_and_time_are_unchanged(root, path):
    flip(root / path)
    findings = verify_workspace(root)
    assert not findings.good
    assert (findings.damaged, findings.missing, findings.unexpected) == ([path], [], [])
    assert findings.n_good == 4


@pytest.mark.parametrize("path", sorted(ALL - {"metrics/curves/c.csv"}))
def test_a_missing_file_is_found(root, path):
    (root / path).unlink()
    findings = verify_workspace(root)
    assert (findings.damaged, findings.missing, findings.unexpected) == ([], [path], [])


def test_a_folder_that_git_keeps_is_damaged_as_a_whole(root):
    """No list of its files exists anywhere: which one is wrong cannot be known."""
    flip(root / "metrics" / "curves" / "c.csv")
    assert verify_workspace(root).damaged == ["metrics/curves"]
    shutil.rmtree(root / "metrics" / "curves")
    assert verify_workspace(root).missing == ["metrics/curves"]


def test_an_extra_file_in_a_tracked_folder_is_found(root):
    (root / "data" / "set" / "deep" / "extra.npz").write_text("not promised")
    (root / "data" / "notes.txt").write_text("beside tracked files: nobody's business")
    findings = verify_workspace(root)
    assert not findings.good
    assert findings.unexpected == ["data/set/deep/extra.npz"]


def test_a_whole_folder_that_is_missing_is_listed_file_by_file(root):
    shutil.rmtree(root / "data" / "set")
    assert verify_workspace(root).missing == ["data/set/a.npz", "data/set/deep/b.npz"]


def test_without_a_cache_the_store_in_the_repository_is_asked(root):
    """As in a fresh clone: nothing was pulled, and every file is known to be missing."""
    shutil.rmtree(root / ".dvc" / "cache")
    assert verify_workspace(root).good
    shutil.rmtree(root / "data" / "set")
    assert verify_workspace(root).missing == ["data/set/a.npz", "data/set/deep/b.npz"]


def test_without_cache_and_store_files_are_checked_all_the_same(root):
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "data" / "store")
    assert verify_workspace(root).good
    flip(root / "data" / "set" / "a.npz")
    assert verify_workspace(root).damaged == ["data/set"]


def test_a_damaged_list_of_a_folder_is_found(root):
    """A list that names other files must not make other files good."""
    listing = folder_object(root)
    listing.chmod(0o644)
    entries = [entry for entry in json.loads(listing.read_text()) if entry["relpath"] != "a.npz"]
    listing.write_text(json.dumps(entries))
    (root / "data" / "set" / "a.npz").unlink()
    findings = verify_workspace(root)
    assert findings.damaged == [str(listing.relative_to(root))]
    assert findings.missing == ["data/set/a.npz"]


# --- exit codes and output --------------------------------------------------------------------------------


def test_exit_codes_are_0_good_1_damaged_2_cannot_say(root, capsys):
    assert main(["verify"]) == 0
    flip(root / "data" / "model.keras")
    assert main(["verify"]) == 1
    output = capsys.readouterr().out
    assert "damaged: data/model.keras" in output and "DAMAGED: 4 of 5 files" in output
    (root / "dvc.lock").unlink()
    assert main(["verify"]) == 2
    assert capsys.readouterr().err == "error: dvc.lock: not found; run from the top of the repository\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"- a\n- list\n",
        b"stages:\n",
        b"stages: 3\n",
        b"stages: {make: {outs: [{path: data/set}]}}\n",
        b"stages: {make: {outs: [data/set]}}\n",
        b"stages: {make: {outs: [{path: data/set, md5: 17}]}}\n",
        b"stages: {make: {outs: [{path: 17, md5: 0a}]}}\n",
        b"stages: {make: {outs: {path: data/set}}}\n",
        b"\xff\xfe\x00",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_a_lock_file_that_dvc_did_not_write_is_one_sentence(root, capsys, content):
    (root / "dvc.lock").write_bytes(content)
    assert main(["verify"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: dvc.lock: not a lock file DVC wrote") and error.count("\n") == 1


@pytest.mark.parametrize("broken", [False, True])
def test_json_output_parses_and_lists_what_is_wrong(root, capsys, broken):
    if broken:
        flip(root / "data" / "set" / "a.npz")
        (root / "data" / "model.keras").unlink()
        (root / "data" / "set" / "extra.npz").write_text("x")
    assert main(["verify", "--json"]) == int(broken)
    found = json.loads(capsys.readouterr().out)
    assert found["good"] is not broken
    assert found["verified"] == (3 if broken else 5)
    assert found["damaged"] == (["data/set/a.npz"] if broken else [])
    assert found["missing"] == (["data/model.keras"] if broken else [])
    assert found["unexpected"] == (["data/set/extra.npz"] if broken else [])


# --- the repair that is printed ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        ("data/model.keras",),
        ("data/set/a.npz", "data/set/deep/b.npz"),
        ("metrics/numbers.json",),
        ("metrics/curves/c.csv", "data/set/a.npz"),
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("how", ["flipped", "removed", "flipped in the cache too"])
def test_the_printed_repair_repairs(root, broken, how):
    for path in broken:
        cached = object_of(root, path)
        if how == "removed":
            (root / path).unlink()
        else:
            flip(root / path)
            if how == "flipped in the cache too" and cached.exists():
                flip(cached)
    findings = verify_workspace(root)
    assert not findings.good
    repair(findings.summary())
    assert verify_workspace(root).good


@pytest.mark.slow
def test_the_printed_repair_repairs_the_list_of_a_folder(root):
    flip(folder_object(root))
    findings = verify_workspace(root)
    assert not findings.good
    repair(findings.summary())
    assert verify_workspace(root).good


@pytest.mark.slow
def test_a_pull_notices_an_object_that_was_damaged_in_the_store(root):
    stored = (
        root / "data" / "store" / object_of(root, "data/model.keras").relative_to(root / ".dvc" / "cache")
    )
    shutil.rmtree(root / ".dvc" / "cache")
    (root / "data" / "model.keras").unlink()
    flip(stored)
    with pytest.raises(subprocess.CalledProcessError):
        run(sys.executable, "-m", "dvc", "pull", "--force", cwd=root)
    assert "data/model.keras" in verify_workspace(root).missing
