"""Running servers, and a study of two megabytes whose default remote is in one of them."""

import pytest

from tests.dvc_repository import call, commit, new_repository
from tests.s3 import servers

PIPELINE = """
stages:
  make:
    cmd: python make.py
    outs:
      - data/set
      - data/model.keras
"""
MAKE = """
import random
from pathlib import Path

random.seed(1)
Path("data/set").mkdir(parents=True, exist_ok=True)
for i in range(16):
    Path(f"data/set/{i}.npz").write_bytes(random.randbytes(128_000))
Path("data/model.keras").write_bytes(random.randbytes(1000))
"""
REMOTE = """
[core]
    remote = mine
['remote "mine"']
    url = s3://{bucket}/prefix
    endpointurl = {url}
    verify = {verify}
"""
CREDENTIALS = """
['remote "mine"']
    access_key_id = {key}
    secret_access_key = {secret}
"""


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory):
    with servers.running(servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs"))) as server:
        yield server


@pytest.fixture
def rclone(tmp_path):
    with servers.running(servers.rclone(tmp_path / "rclone")) as server:
        yield server


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = new_repository(tmp_path_factory.mktemp("made") / "study", PIPELINE)
    (root / "make.py").write_text(MAKE)
    call("dvc", "repro", "--quiet", cwd=root)
    commit(root)
    return root


def point_to(root, server, *, bucket=servers.BUCKET, verify="true"):
    """Make a server's bucket the default remote."""
    text = REMOTE.format(bucket=bucket, url=server.url, verify=verify)
    (root / ".dvc" / "config").write_text(text)
    give_key(root)


def give_key(root, key=servers.KEY, secret=servers.SECRET):
    (root / ".dvc" / "config.local").write_text(CREDENTIALS.format(key=key, secret=secret))


@pytest.fixture
def clone(made, tmp_path):
    """A clone of the study, by name; the one called ``owner`` has the data too."""

    def of(server, name="newcomer", **options):
        root = tmp_path / name
        call("git", "clone", "--quiet", made, root, cwd=tmp_path)
        if name == "owner":
            call("cp", "-r", made / ".dvc" / "cache", root / ".dvc" / "cache", cwd=tmp_path)
            call("dvc", "checkout", "--quiet", cwd=root)
        point_to(root, server, **options)
        return root

    return of


@pytest.fixture
def pushed(clone):
    """The owner's clone after a push."""

    def to(server):
        root = clone(server, "owner")
        call("dvc", "push", "--quiet", cwd=root)
        return root

    return to
