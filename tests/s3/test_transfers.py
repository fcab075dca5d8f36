"""A study in a real S3 bucket: what arrives is what was sent, and a broken transfer is simply run again."""

import json
import subprocess
import time

import pytest

from tests.dvc_repository import call, flip, object_path, said, tool_environment
from tests.s3.conftest import give_key, point_to
from tests.s3.servers import BUCKET, READER_KEY, READER_SECRET

pytestmark = pytest.mark.s3

N_OBJECTS = 18
"""Sixteen files, their list, and the model."""
PATIENCE_S = 60.0


def verified(root):
    return json.loads(call("ptychodose", "verify", "--json", cwd=root, check=False).stdout)


def key_of(root, path):
    return f"prefix/{object_path(root / path)}"


def damage(server, root, path):
    """On the server's disk, with its checksum forgotten: while a server has that, DVC's S3 client uses it."""
    server.kill()
    flip(server.folder / BUCKET / key_of(root, path))
    server.start()


def remove(server, root, path):
    server.client().delete_object(Bucket=BUCKET, Key=key_of(root, path))


def start(*command, cwd):
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=tool_environment(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition, process):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
        time.sleep(0.002)


def whole_objects(folder):
    """Those in their place: DVC and rclone write beside it first."""
    return [path for path in folder.rglob("md5/??/*") if path.is_file() and len(path.name) in (30, 34)]


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
def test_a_clone_pulls_what_was_pushed(server, request, pushed, clone):
    server = request.getfixturevalue(server)
    pushed(server)
    newcomer = clone(server)
    call("dvc", "pull", cwd=newcomer)
    found = verified(newcomer)
    assert found["good"] and found["verified"] == 17
    assert json.loads(call("dvc", "status", "--json", cwd=newcomer).stdout) == {}
    assert call("git", "status", "--porcelain", "data", cwd=newcomer).stdout == ""


def test_a_server_killed_in_mid_push_loses_nothing(rclone, clone):
    """DVC alone: the push fails and says how many files; the next one sends what is missing."""
    owner = clone(rclone, "owner")
    push = start("dvc", "push", "--jobs", "1", cwd=owner)
    wait_until(lambda: len(whole_objects(rclone.folder)) >= 3, push)
    rclone.kill()
    output, _ = push.communicate(timeout=PATIENCE_S)
    assert push.returncode != 0 and "failed to" in output
    assert 3 <= len(whole_objects(rclone.folder)) < N_OBJECTS
    assert verified(owner)["good"]
    rclone.start()
    call("dvc", "push", cwd=owner)
    newcomer = clone(rclone)
    call("dvc", "pull", cwd=newcomer)
    assert verified(newcomer)["good"]


def test_a_server_killed_in_mid_pull_leaves_no_half_file(rclone, pushed, clone):
    """DVC alone: the pull fails, what it fetched whole stays in the cache, the next one fetches the rest."""
    pushed(rclone)
    newcomer = clone(rclone)
    pull = start("dvc", "pull", "--jobs", "1", cwd=newcomer)
    cache = newcomer / ".dvc" / "cache"
    wait_until(lambda: len(whole_objects(cache)) >= 3, pull)
    rclone.kill()
    output, _ = pull.communicate(timeout=PATIENCE_S)
    assert pull.returncode != 0 and "failed to" in output
    assert verified(newcomer)["damaged"] == []
    rclone.start()
    call("dvc", "pull", cwd=newcomer)
    assert verified(newcomer)["good"]


def test_a_pull_refuses_a_damaged_object_if_the_remote_verifies(rclone, pushed, clone):
    """DVC alone: the pull fails, names the output and not the object, and a push does not replace it."""
    owner = pushed(rclone)
    damage(rclone, owner, "data/model.keras")
    newcomer = clone(rclone)
    pull = call("dvc", "pull", cwd=newcomer, check=False)
    assert pull.returncode != 0 and "data/model.keras" in said(pull)
    assert "data/model.keras" in verified(newcomer)["missing"]
    assert "up to date" in said(call("dvc", "push", cwd=owner))
    # What docs/faults.md tells the owner.
    remove(rclone, owner, "data/model.keras")
    call("dvc", "push", cwd=owner)
    call("dvc", "pull", cwd=newcomer)
    assert verified(newcomer)["good"]


def test_verify_catches_what_a_remote_that_does_not_verify_let_in(rclone, pushed, clone):
    """DVC alone: it pulls the damaged object and calls the workspace up to date."""
    owner = pushed(rclone)
    damage(rclone, owner, "data/model.keras")
    newcomer = clone(rclone, verify="false")
    call("dvc", "pull", cwd=newcomer)
    assert json.loads(call("dvc", "status", "--json", cwd=newcomer).stdout) == {}
    assert "data/model.keras" in verified(newcomer)["damaged"]


def test_a_missing_object_is_named(rclone, pushed, clone):
    """DVC alone: it fails and names the file."""
    owner = pushed(rclone)
    remove(rclone, owner, "data/model.keras")
    newcomer = clone(rclone)
    pull = call("dvc", "pull", cwd=newcomer, check=False)
    assert pull.returncode != 0 and "data/model.keras" in said(pull)
    assert "data/model.keras" in verified(newcomer)["missing"]


def test_a_key_that_may_only_read_pulls_and_does_not_push(seaweedfs, pushed, clone):
    """DVC alone: the push fails and names what it could not send."""
    pushed(seaweedfs)
    reader = clone(seaweedfs)
    give_key(reader, READER_KEY, READER_SECRET)
    call("dvc", "pull", cwd=reader)
    assert verified(reader)["good"]
    (reader / "data" / "new.npz").write_bytes(b"new")
    call("dvc", "add", "--quiet", "data/new.npz", cwd=reader)
    push = call("dvc", "push", cwd=reader, check=False)
    assert push.returncode != 0 and "failed to push" in said(push)


@pytest.mark.parametrize(
    ("key", "secret"), [("NOSUCHKEYNOSUCHK", "whatever"), (READER_KEY, "a-wrong-secret")]
)
def test_a_wrong_key_changes_nothing_on_either_side(seaweedfs, clone, key, secret):
    """DVC alone: it fails, in its own words."""
    owner = clone(seaweedfs, "owner")
    give_key(owner, key, secret)
    before = seaweedfs.objects()
    assert call("dvc", "push", cwd=owner, check=False).returncode != 0
    assert seaweedfs.objects() == before
    assert verified(owner)["good"]


def test_dvc_names_the_server_that_is_down(rclone, clone):
    """DVC alone: with AWS_MAX_ATTEMPTS=1 at once, without it after up to half a minute."""
    owner = clone(rclone, "owner")
    rclone.kill()
    push = call("dvc", "push", cwd=owner, check=False)
    assert push.returncode != 0 and rclone.url in said(push)
    rclone.start()
    point_to(owner, rclone)
    call("dvc", "push", cwd=owner)
