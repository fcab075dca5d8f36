"""The committed study is whole, and nothing that is committed is private or of one machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ptychodose.config import load_params
from tests.conftest import REPOSITORY, stages_of

STORE = "data/store/files/md5"
LARGEST_STORE_BYTES = 100_000_000


def git(*arguments, cwd=REPOSITORY):
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return done.stdout.decode("utf-8", "replace")


def committed(path):
    """The text of a file as it was committed: a study that is being made does not count."""
    if not git("ls-tree", "HEAD", "--", path):
        pytest.skip(f"{path} is not committed")
    return git("show", f"HEAD:{path}")


@pytest.fixture(scope="module")
def lock():
    return YAML(typ="safe").load(committed("dvc.lock"))["stages"]


@pytest.fixture(scope="module")
def params(tmp_path_factory, lock):
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(committed("params.yaml"), encoding="utf-8")
    return load_params(path)


@pytest.fixture(scope="module")
def promised(lock):
    """MD5 of every object the lock file needs: outputs that DVC keeps, and what their folder lists name."""
    found = set()
    for stage in lock.values():
        for out in stage["outs"]:
            if not out["path"].startswith("data/") or out["path"].startswith("data/parity/"):
                continue  # cache: false, in git itself; tests/test_pipeline.py holds dvc.yaml to this
            found.add(out["md5"])
            listing = object_path(out["md5"])
            if out["md5"].endswith(".dir") and listing.exists():
                found |= {entry["md5"] for entry in json.loads(listing.read_text())}
    return found


@pytest.fixture(scope="module")
def stored():
    """MD5 names of the committed objects."""
    listed = git("ls-tree", "-r", "--name-only", "HEAD", "--", "data/store").splitlines()
    assert all(re.fullmatch(STORE + r"/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?", path) for path in listed)
    return {"".join(Path(path).parts[-2:]) for path in listed}


def object_path(md5):
    return REPOSITORY / STORE / md5[:2] / md5[2:]


def text_files():
    """Path and text of what is tracked or about to be, but for the objects of the store."""
    for name in git("ls-files", "-co", "--exclude-standard", "-z").split("\0"):
        path = REPOSITORY / name
        if name and path.is_file() and not name.startswith("data/store/"):
            data = path.read_bytes()
            if b"\0" not in data:
                yield name, data.decode("utf-8")


# --- the study --------------------------------------------------------------------------------------------


def test_the_store_holds_what_the_lock_needs_and_nothing_else(promised, stored):
    assert promised - stored == set()  # a clone could not pull it
    assert stored - promised == set()  # a trial run


def test_every_object_of_the_store_is_what_its_name_says(stored):
    damaged = []
    for name in stored:
        with object_path(name).open("rb") as stream:
            if hashlib.file_digest(stream, "md5").hexdigest() != name.removesuffix(".dir"):
                damaged.append(name)
    assert damaged == []


def test_the_store_stays_small(stored):
    assert sum(object_path(name).stat().st_size for name in stored) <= LARGEST_STORE_BYTES


def test_every_run_of_the_parameters_has_its_stages(lock, params):
    assert set(lock) == stages_of(params)


def test_metrics_of_every_run_are_there_and_are_json(params):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    for model, dose in params.measured_runs():
        for ending in ("json", "record.json"):
            text = committed(f"metrics/{model}/{dose}.{ending}")
            numbers = json.loads(text, parse_constant=refuse)
            assert set(numbers["splits"] if ending == "record.json" else numbers) == set(params.splits())


def test_the_noise_floor_is_that_of_the_committed_metrics(params):
    for model, dose in params.replicated_runs():
        floor = json.loads(committed(f"metrics/noise_floor/{model}/{dose}.json"))
        trainings = [json.loads(committed(f"metrics/{model}/{dose}.json"))]
        trainings += [
            json.loads(committed(f"metrics/replicates/{model}/{dose}/{seed}.json"))
            for seed in params.replicates.seeds
        ]
        for split in params.splits():
            values = [numbers[split]["amplitude"]["psnr"] for numbers in trainings]
            assert floor["splits"][split]["amplitude.psnr"]["values"] == values
            assert len(set(values)) > 1  # another seed is another training


def test_metrics_are_those_the_lock_was_made_with(lock):
    for stage in lock.values():
        for out in stage["outs"]:
            if not out["path"].startswith("data/") and not out["md5"].endswith(".dir"):
                content = committed(out["path"]).encode()
                assert hashlib.md5(content).hexdigest() == out["md5"], out["path"]


def test_no_model_of_the_ladder_collapsed(params):
    """A flat amplitude is what this kind of network falls into; mean errors do not show it."""
    for model in params.ladder:
        for dose in params.doses:
            for split, numbers in json.loads(committed(f"metrics/{model}/{dose}.json")).items():
                assert numbers["collapsed"] is False, f"{model} {dose} {split}"


# --- the repository ---------------------------------------------------------------------------------------


def test_every_remote_verifies_what_it_delivers():
    config = (REPOSITORY / ".dvc" / "config").read_text(encoding="utf-8")
    sections = re.split(r"^\[", config, flags=re.MULTILINE)
    remotes = [section for section in sections if section.startswith("'remote")]
    assert remotes
    for remote in remotes:
        assert re.search(r"^\s*verify\s*=\s*true\s*$", remote, flags=re.MULTILINE), remote


def test_no_credentials_are_tracked():
    secret = re.compile(
        "|".join(
            [
                r"(?:aws_)?secret_" + r"access_key\s*[=:]\s*['\"]?[A-Za-z0-9/+=]{16,}",
                r"access_" + r"key_id\s*[=:]\s*['\"]?A[KS]IA[A-Z0-9]{12,}",
                "-----BEGIN [A-Z ]*" + "PRIVATE KEY-----",
                r"gh[pousr]_" + r"[A-Za-z0-9]{30,}",
            ]
        ),
        flags=re.IGNORECASE,
    )
    assert [name for name, text in text_files() if secret.search(text)] == []
    assert git("ls-files", "--", ".dvc/config.local") == ""


def test_no_tracked_file_names_a_path_of_one_machine():
    folders = "|".join(["work", "root", "home/[a-z]", "Users/[A-Za-z]"])
    private = re.compile(rf"(?<![\w.~:/\-])/(?:{folders})\b/?")
    found = [
        f"{name}: {line.strip()[:80]}"
        for name, text in text_files()
        for line in text.splitlines()
        if private.search(line)
    ]
    assert found == []


def test_objects_of_the_store_are_bytes_to_git_and_not_workspace_to_dvc():
    attributes = git("check-attr", "text", "diff", "merge", "--", f"{STORE}/00/0").splitlines()
    assert [line.rsplit(": ", 1)[1] for line in attributes] == ["unset", "unset", "unset"]
    assert "/data/store" in (REPOSITORY / ".dvcignore").read_text().splitlines()


# --- the study again --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clone_pulls_the_study_and_simulates_one_dose_to_the_same_bytes(tmp_path, lock):
    """What a newcomer does first: no account, no network, and the same hashes on their machine."""
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--shared", str(REPOSITORY), str(clone))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(clone / "src"),
        "DVC_NO_ANALYTICS": "1",
    }

    def call(*command):
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("dvc", "pull")
    assert json.loads(call("ptychodose", "verify", "--json"))["good"]
    assert json.loads(call("dvc", "status", "--json")) == {}
    assert "simulate@1e5" in lock
    call("dvc", "repro", "--force", "--single-item", "simulate@1e5")
    assert json.loads(call("dvc", "status", "simulate@1e5", "--json")) == {}
    assert git("diff", "--stat", "--", "dvc.lock", cwd=clone) == ""
