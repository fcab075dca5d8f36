"""docs/faults.md, row by row: what DVC does alone, and what this repository adds."""

import json
import re
import resource
import shutil
import subprocess
import time

import pytest

from tests.conftest import REPOSITORY
from tests.dvc_repository import (
    call,
    commit,
    flip,
    new_repository,
    object_path,
    said,
    tool_environment,
)

PIPELINE = """
stages:
  make:
    cmd: python make.py
    params: [seed]
    outs:
      - data/model.keras
      - data/set
    metrics:
      - metrics/numbers.json:
          cache: false
"""
MAKE = """
import json
import os
import time
from pathlib import Path

if Path("wait").exists():
    Path("started").touch()
    until = time.monotonic() + 60
    while Path("wait").exists() and time.monotonic() < until:
        time.sleep(0.01)
Path("data/set").mkdir(parents=True, exist_ok=True)
Path("data/model.keras").write_bytes(bytes(range(256)) * 4000)
Path("data/set/a.npz").write_bytes(b"a" * 100)
Path("metrics").mkdir(exist_ok=True)
Path("metrics/numbers.json").write_text(json.dumps({"psnr": 30.0}))
"""
CONFIG = """
[core]
    remote = store
['remote "store"']
    url = ../data/store
    verify = true
"""
CACHE = ".dvc/cache"
MODEL = "data/model.keras"


def verified(root, *options):
    return json.loads(call("ptychodose", "verify", "--json", *options, cwd=root, check=False).stdout)


def status(root):
    return json.loads(call("dvc", "status", "--json", cwd=root).stdout)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    root = new_repository(tmp_path_factory.mktemp("pushed") / "study", PIPELINE)
    (root / ".dvc" / "config").write_text(CONFIG)
    (root / ".dvcignore").write_text("/data/store\n")
    (root / ".gitattributes").write_text("data/store/** -text -diff\n")
    (root / "make.py").write_text(MAKE)
    (root / "params.yaml").write_text("seed: 1\n")
    call("dvc", "repro", "--quiet", cwd=root)
    call("dvc", "push", "--quiet", cwd=root)
    commit(root)
    return root


@pytest.fixture
def root(pushed, tmp_path):
    """A copy to break, with its workspace and cache."""
    return shutil.copytree(pushed, tmp_path / "study", symlinks=True)


@pytest.fixture
def clone(pushed, tmp_path):
    call("git", "clone", "--quiet", pushed, tmp_path / "clone", cwd=tmp_path)
    return tmp_path / "clone"


@pytest.mark.slow
def test_a_damaged_cache_object_is_found_and_repaired(root):
    """DVC alone: it trusts a read-only object, checks the damaged bytes out and calls them up to date."""
    flip(root / CACHE / object_path(root / MODEL))
    (root / MODEL).unlink()
    call("dvc", "checkout", cwd=root)
    assert status(root) == {}
    assert MODEL in verified(root)["damaged"]
    call("ptychodose", "verify", "--repair", cwd=root)
    assert verified(root)["good"]


@pytest.mark.slow
def test_changed_bytes_under_an_unchanged_time_are_found(root):
    """DVC alone: up to date, as it reads a file again only if its time has changed."""
    assert status(root) == {}
    flip(root / MODEL)
    assert status(root) == {}
    assert MODEL in verified(root)["damaged"]


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_file(clone):
    """DVC alone: the pull fails; with room again the same line finishes it."""
    limit = 500_000  # bytes of one file, of which the model has twice as many
    pull = subprocess.run(
        ["dvc", "pull"],
        cwd=clone,
        env=tool_environment(clone),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    assert pull.returncode != 0
    found = verified(clone)
    assert found["damaged"] == [] and MODEL in found["missing"]
    call("dvc", "pull", cwd=clone)
    assert verified(clone)["good"]


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_is_refused(root):
    """DVC alone: it names the process that holds the outputs; the first run ends as if alone."""
    (root / "wait").touch()
    first = subprocess.Popen(
        ["dvc", "repro", "--force"], cwd=root, env=tool_environment(root), stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not (root / "started").exists():
            assert first.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        second = call("dvc", "repro", "--force", cwd=root, check=False)
        assert second.returncode != 0
        assert f"PID {first.pid}" in said(second)
    finally:
        (root / "wait").unlink()
        first.wait(timeout=60)
    assert first.returncode == 0
    assert verified(root)["good"]


@pytest.mark.slow
def test_locks_of_a_run_that_was_killed_hinder_nothing(root):
    """DVC alone: it sees that no process holds them."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    held = {"pid": ended.pid, "cmd": "dvc repro"}
    (root / ".dvc" / "tmp" / "rwlock").write_text(
        json.dumps({"write": {str(root / MODEL): held}, "read": {}})
    )
    (root / ".dvc" / "tmp" / "lock").write_text(str(ended.pid))
    call("dvc", "repro", "--force", cwd=root)
    assert verified(root)["good"]


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "{", '{"psnr": NaN}'])
def test_missing_malformed_or_undefined_metrics_are_found(root, content):
    """DVC alone: `dvc metrics show` warns at most, and exits 0."""
    path = root / "metrics" / "numbers.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    call("dvc", "metrics", "show", cwd=root)
    found = verified(root)
    assert "metrics/numbers.json" in found["missing"] + found["damaged"]
    call("git", "checkout", "--", "metrics", cwd=root)
    assert verified(root)["good"]


PAGE = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_row_names_tests_that_exist():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8"), test
