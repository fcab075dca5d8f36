"""`ptychodose remote check` says in seconds and in one sentence what an S3 remote allows."""

import shutil
import time

import pytest

from ptychodose.bundle.remote_config import read_remote
from ptychodose.bundle.remotes import run_remote_check
from ptychodose.errors import UserError
from tests.conftest import REPOSITORY
from tests.dvc_repository import call, new_repository
from tests.s3 import servers
from tests.s3.conftest import give_key, point_to
from tests.s3.servers import BUCKET, KEY, READER_KEY, READER_SECRET, SECRET

pytestmark = pytest.mark.s3

AT_ONCE_S = 5.0


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.fixture
def root(tmp_path):
    """All that the check reads of a repository."""
    (tmp_path / "repository" / ".dvc").mkdir(parents=True)
    return tmp_path / "repository"


@pytest.fixture
def refusal(root):
    def refuse():
        started = time.monotonic()
        with pytest.raises(UserError) as caught:
            run_remote_check(None, root)
        assert time.monotonic() - started < AT_ONCE_S
        return str(caught.value)

    return refuse


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
def test_a_remote_that_works_is_said_to_and_nothing_is_left_in_it(server, request, root, capsys):
    server = request.getfixturevalue(server)
    before = server.objects()
    point_to(root, server)
    assert run_remote_check("mine", root) == 0
    assert capsys.readouterr().out == "mine: s3://bucket/prefix can be read and written\n"
    assert server.objects() == before


def test_a_remote_that_verifies_nothing_is_told_of(rclone, root, capsys):
    point_to(root, rclone, verify="false")
    assert run_remote_check(None, root) == 0
    assert "dvc remote modify mine verify true" in capsys.readouterr().out


def test_a_server_that_is_down_is_named_at_once(rclone, root, refusal):
    point_to(root, rclone)
    rclone.kill()
    assert f"nothing answers at {rclone.url}; start the server" in refusal()


@pytest.mark.parametrize(
    ("key", "secret", "option"),
    [
        ("NOSUCHKEYNOSUCHK", "whatever", "access_key_id"),
        (READER_KEY, "a-wrong-secret", "secret_access_key"),
    ],
)
def test_a_wrong_key_is_told_from_a_wrong_secret(seaweedfs, root, refusal, key, secret, option):
    point_to(root, seaweedfs)
    give_key(root, key, secret)
    message = refusal()
    assert "the server refuses the key" in message
    assert f"`dvc remote modify --local mine {option} VALUE`" in message
    assert secret not in message


def test_a_missing_key_is_asked_for(seaweedfs, root, refusal):
    point_to(root, seaweedfs)
    (root / ".dvc" / "config.local").unlink()
    assert "no key is set" in refusal()


def test_a_key_of_the_environment_serves_too(seaweedfs, root, monkeypatch):
    """DVC takes it from there, and so does the check."""
    point_to(root, seaweedfs)
    (root / ".dvc" / "config.local").unlink()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    assert run_remote_check(None, root) == 1


@pytest.mark.parametrize("server", ["seaweedfs", "rclone"])
def test_a_bucket_that_does_not_exist_is_named(server, request, root, refusal):
    point_to(root, request.getfixturevalue(server), bucket="no-such-bucket")
    assert "the server has no bucket 'no-such-bucket'" in refusal()


def test_a_key_that_may_only_read_is_told_so(seaweedfs, root, capsys):
    point_to(root, seaweedfs)
    give_key(root, READER_KEY, READER_SECRET)
    assert run_remote_check(None, root) == 1
    assert "can be read, not written (AccessDenied)" in capsys.readouterr().out


def test_a_server_that_only_reads_is_told_so(tmp_path, root, capsys):
    server = servers.rclone(tmp_path / "read-only", "--read-only")
    (server.folder / BUCKET).mkdir(parents=True)
    with servers.running(server):
        point_to(root, server)
        assert run_remote_check(None, root) == 1
    assert "can be read, not written" in capsys.readouterr().out


def test_a_port_that_is_not_s3_is_told_of(root, refusal, tmp_path):
    """A web server of another kind answers, but not as S3 does."""
    with servers.web_server(tmp_path) as url:
        point_to(root, servers.Server([], url, tmp_path))
        assert "is endpointurl that of its S3 service?" in refusal()


def test_make_remote_goes_to_a_bucket_and_back_and_writes_no_key(seaweedfs, tmp_path):
    root = new_repository(tmp_path / "study")
    for name in ("Makefile", ".dvc/config"):
        shutil.copy(REPOSITORY / name, root / name)
    make = ("make", "--old-file", ".venv/ready", "remote")
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    done = call(*make, f"URL=s3://{BUCKET}/study", f"ENDPOINT={seaweedfs.url}", cwd=root, **keys)
    assert f"mine: s3://{BUCKET}/study can be read and written" in done.stdout
    mine = read_remote(root, None)
    assert mine.verifies and set(mine.options) == {"url", "endpointurl", "verify"}
    assert (root / ".dvc" / "config").read_text() == (REPOSITORY / ".dvc" / "config").read_text()
    call(*make, cwd=root)
    assert read_remote(root, None).name == "store"
