"""Remotes of a repository: the two files that describe them, folders, and no credentials in git."""

import os
import re

import pytest

from ptychodose.bundle.remote_config import read_remote
from ptychodose.bundle.remotes import run_remote_check
from ptychodose.errors import UserError
from tests.conftest import REPOSITORY
from tests.dvc_repository import call, new_repository

STORE = """
[core]
    remote = store
['remote "store"']
    url = ../data/store
    verify = true
['remote "cloud"']
    url = ssh://host/folder
['remote "empty"']
    verify = true
"""
# A setting with a value of DVC, AWS or a credentials file; KEY and SECRET stand for one in the docs.
CREDENTIAL = re.compile(
    rb"(access_key_id|secret_access_key|session_token|AWS_(?:ACCESS|SECRET|SESSION)_\w+)"
    rb"[\"']?\s*[=: ]\s*[\"']?(?!KEY\b|SECRET\b|VALUE\b)[A-Za-z0-9+/]{12,}"
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(STORE)
    (tmp_path / "data" / "store").mkdir(parents=True)
    return tmp_path


def refusal(root, name=None):
    with pytest.raises(UserError) as caught:
        run_remote_check(name, root)
    return str(caught.value)


def test_the_store_of_this_repository_is_good(capsys):
    assert run_remote_check(None, REPOSITORY) == 0
    assert capsys.readouterr().out == "store: ../data/store can be read and written\n"


def test_what_dvc_writes_is_understood(tmp_path):
    """Quotes, several remotes, and the local file over the tracked one."""
    root = new_repository(tmp_path / "study")
    call("dvc", "remote", "add", "--default", "mine", "s3://bucket/a b", cwd=root)
    call("dvc", "remote", "modify", "mine", "endpointurl", "http://tracked", cwd=root)
    call("dvc", "remote", "modify", "--local", "mine", "endpointurl", "http://local", cwd=root)
    call("dvc", "remote", "modify", "--local", "mine", "secret_access_key", "a%b/c+d=", cwd=root)
    remote = read_remote(root, None)
    assert (remote.name, remote.url, remote.verifies) == ("mine", "s3://bucket/a b", False)
    assert remote.options["endpointurl"] == "http://local"
    assert remote.options["secret_access_key"] == "a%b/c+d="


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nobody", "no remote 'nobody', there is store, cloud, empty"),
        ("cloud", "only folders and S3 are checked, not ssh"),
        ("empty", "remote 'empty' has no url"),
    ],
)
def test_a_remote_that_cannot_be_checked_is_refused(root, name, sentence):
    assert sentence in refusal(root, name)


def test_a_folder_that_is_gone_is_named(root):
    (root / "data" / "store").rmdir()
    assert refusal(root).startswith("remote store (../data/store): no such folder")


@pytest.mark.parametrize(("text", "sentence"), [("no section", "not a configuration"), ("", "no default")])
def test_a_configuration_without_a_remote_is_refused(root, text, sentence):
    (root / ".dvc" / "config").write_text(text)
    assert sentence in refusal(root)


def test_outside_a_repository_it_says_so(tmp_path):
    assert "run from the top of the repository" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told_so(root, capsys):
    (root / "data" / "store").chmod(0o555)
    assert run_remote_check(None, root) == 1
    assert "can be read, not written (permissions of the folder)" in capsys.readouterr().out


def test_no_credentials_are_in_git():
    """Nor in a file that the next commit would take."""
    listed = call("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=REPOSITORY).stdout.split("\0")
    for name in filter(None, listed):
        path = REPOSITORY / name
        if path.is_file() and not name.startswith("data/store/"):
            assert not CREDENTIAL.search(path.read_bytes()), name


@pytest.mark.parametrize(
    "setting",
    [
        b"    access_key_id = %s",
        b"dvc remote modify mine secret_access_key %s",
        b"export AWS_SECRET_ACCESS_KEY=%s",
        b'"AWS_ACCESS_KEY_ID": "%s"',
    ],
)
def test_the_search_for_credentials_knows_one(setting):
    assert CREDENTIAL.search(setting % b"wJalrXUtnFEMI/K7MDENG")
