"""What is written is whole or absent: after an exception, after SIGKILL at any moment, on a full disk."""

import subprocess
import sys

import pytest

from ptychodose.formats.atomic import atomic_directory, atomic_file

KILLED_AT_EVERY_STEP = """
import os, shutil, signal, sys
from pathlib import Path
from ptychodose.formats.atomic import atomic_directory

folder = Path(sys.argv[1]) / "data"
steps = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}
left = None

def count(event, arguments):
    global left
    if left is not None and event in steps:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
for step in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / name).write_text("old")
    child = os.fork()
    if child == 0:
        left = step
        with atomic_directory(folder) as partial:
            for name in "abc":
                (partial / name).write_text("new")
        os._exit(0)
    killed = os.waitpid(child, 0)[1] != 0
    print(",".join(f"{path.name}={path.read_text()}" for path in sorted(folder.glob("*"))), flush=True)
    # What a killed run leaves never stands in the way of the next one.
    with atomic_directory(folder) as partial:
        (partial / "a").write_text("next")
    assert [path.name for path in folder.parent.iterdir()] == ["data"]
    assert [path.name for path in folder.iterdir()] == ["a"]
    if not killed:
        break
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from ptychodose.formats.atomic import atomic_directory, atomic_file
from ptychodose.formats.jsonfile import write_json
from ptychodose.formats.npz import NpzWriter

top = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
noise = np.random.default_rng(0).random(100_000)

def npz():
    with atomic_file(top / "a.npz") as partial, NpzWriter(partial) as writer:
        writer.write("noise", noise)

def folder():
    with atomic_directory(top / "folder") as partial:
        (partial / "small").write_text("fits")
        write_json(partial / "large.json", noise.tolist())

for write in (npz, folder, lambda: write_json(top / "a.json", noise.tolist())):
    try:
        write()
    except OSError as error:
        print(error.strerror)
"""


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def python(script, folder):
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


def test_a_finished_file_replaces_the_old_one_in_folders_made_for_it(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    for text in ("old", "new"):
        with atomic_file(path) as partial:
            partial.write_text(text)
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_an_interrupted_file_leaves_what_was_there(tmp_path, error, before):
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), atomic_file(path) as partial:
        partial.write_text("half of the ne")
        raise error
    assert names(tmp_path) == ([] if before is None else ["a.txt"])
    assert before is None or path.read_text() == before


def test_the_old_file_is_readable_while_the_new_one_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"


def test_a_finished_folder_replaces_the_old_one_with_all_that_was_in_it(tmp_path):
    folder = tmp_path / "data"
    for name in ("old", "new"):
        with atomic_directory(folder) as partial:
            (partial / "sub").mkdir()
            (partial / "sub" / name).write_text(name)
    assert names(tmp_path) == ["data", "new", "sub"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [[], ["old"]])
def test_an_interrupted_folder_leaves_what_was_there(tmp_path, error, before):
    folder = tmp_path / "data"
    for name in before:
        folder.mkdir()
        (folder / name).write_text(name)
    with pytest.raises(error), atomic_directory(folder) as partial:
        (partial / "new").write_text("new")
        raise error
    assert names(tmp_path) == (["data", *before] if before else [])


def test_a_process_killed_at_any_step_leaves_the_old_folder_the_new_one_or_none(tmp_path):
    states = python(KILLED_AT_EVERY_STEP, tmp_path / "work")
    assert len(states) > 8
    assert states[0] == "a=old,b=old,c=old"
    assert states[-1] == "a=new,b=new,c=new"
    assert set(states) <= {"a=old,b=old,c=old", "", "a=new,b=new,c=new"}


def test_a_full_disk_is_an_oserror_and_leaves_nothing(tmp_path):
    for name in ("a.npz", "a.json"):
        (tmp_path / name).write_text("old")
    assert python(FULL_DISK, tmp_path) == ["File too large"] * 3
    assert names(tmp_path) == ["a.json", "a.npz"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}
