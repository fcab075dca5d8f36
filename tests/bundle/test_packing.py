"""A bundle is the same bytes wherever it is packed, within its size limit, and a killed pack goes on."""

import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptychodose.bundle.delivery import run_pack
from ptychodose.bundle.packing import pack
from ptychodose.bundle.sizes import parse_size
from ptychodose.bundle.stored_gzip import StoredGzip, stored_size
from ptychodose.errors import UserError
from tests.bundle.bundles import make_packable, sha256

KERAS = "data/models/pinn/1e3/model.keras"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_packable(tmp_path_factory.mktemp("packing") / "study")


@pytest.fixture(scope="module")
def archive(original):
    target = original.parent / "whole.tar.gz"
    pack(original, target)
    return target


@pytest.fixture
def study(original, tmp_path):
    return shutil.copytree(original, tmp_path / "study")


def test_the_bytes_depend_on_the_content_alone(study, archive, tmp_path):
    for path in study.rglob("*.json"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    before = os.umask(0o077)
    try:
        pack(study, tmp_path / "again.tar.gz")
    finally:
        os.umask(before)
    assert (tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()


def test_any_tar_unpacks_it_and_finds_the_four_rooms(original, archive, tmp_path):
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        tar.extractall(tmp_path / "out", filter="data")
    names = [member.name for member in members]
    assert names[:2] == ["docs/manifest.json", "docs/SHA256SUMS"] and names[2:] == sorted(names[2:])
    assert {(member.mode, member.mtime, member.uid, member.uname) for member in members} == {
        (0o644, 315532800, 0, "")
    }
    places = {
        "simulation/datasets/1e3/train.npz": "data/datasets/1e3/train.npz",
        "training/models/pinn/1e3/model.keras": KERAS,
        "inference/reconstructions/pinn/1e3/test.npz": "data/reconstructions/pinn/1e3/test.npz",
        "inference/metrics/pinn/1e3.json": "metrics/pinn/1e3.json",
        "docs/params.yaml": "params.yaml",
        "docs/dvc.lock": "dvc.lock",
        "docs/README.md": "data/bundle/README.md",
    }
    for name, path in places.items():
        assert (tmp_path / "out" / name).read_bytes() == (original / path).read_bytes()


def test_a_folder_holds_the_same_files_and_its_sums_match(original, archive, tmp_path, hashes):
    pack(original, tmp_path / "bundle")
    with tarfile.open(archive) as tar:
        packed = {member.name: sha256(tar.extractfile(member).read()) for member in tar}
    assert hashes(tmp_path / "bundle") == packed
    sums = (tmp_path / "bundle/docs/SHA256SUMS").read_text().splitlines()
    assert dict(reversed(line.split("  ")) for line in sums) == {
        name: digest for name, digest in packed.items() if name != "docs/SHA256SUMS"
    }


def test_the_size_limit_is_exact_and_checked_before_anything_is_written(original, archive, tmp_path):
    size = archive.stat().st_size
    pack(original, tmp_path / "fits.tar.gz", max_size=size)
    for name in ("new/large.tar.gz", "new/folder"):
        with pytest.raises(UserError, match=r"more than --max-size .* --split"):
            pack(original, tmp_path / name, max_size=5000)
    with pytest.raises(UserError, match="more than 999; raise it"):
        pack(original, tmp_path / "new/tiny.tar.gz", max_size=20, split=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fits.tar.gz", "fits.tar.gz.sha256"]


def test_parts_are_the_archive_cut_and_have_their_own_sums(original, archive, tmp_path):
    paths = pack(original, tmp_path / "b.tar.gz", max_size=20_000, split=True).paths
    parts = paths[:-1]
    assert [path.name for path in parts[:2]] == ["b.tar.gz.part001", "b.tar.gz.part002"]
    assert all(path.stat().st_size == 20_000 for path in parts[:-1])
    assert b"".join(path.read_bytes() for path in parts) == archive.read_bytes()
    sums = "".join(f"{sha256(path.read_bytes())}  {path.name}\n" for path in parts)
    assert paths[-1].read_text() == sums
    whole = pack(original, tmp_path / "whole.tar.gz", max_size=10**9, split=True).paths
    assert [path.name for path in whole] == ["whole.tar.gz", "whole.tar.gz.sha256"]


@pytest.mark.parametrize("target", ["b.tar.gz", "b"])
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda file: file.unlink(), "model.keras: not found, yet the manifest lists it"),
        (lambda file: file.write_bytes(b"short"), "model.keras: not the file that the manifest lists"),
        (lambda file: file.write_bytes(bytes(3000)), "model.keras: not the file that the manifest lists"),
    ],
)
def test_a_file_that_is_not_the_listed_one_stops_it_and_nothing_is_left(study, target, harm, sentence):
    harm(study / KERAS)
    with pytest.raises(UserError, match=sentence):
        pack(study, study.parent / "new" / target)
    assert not [path for path in study.parent.glob("new/**/*") if path.is_file()]


def test_no_manifest_no_bundle(study, tmp_path):
    (study / "data/bundle/README.md").unlink()
    with pytest.raises(UserError, match=r"README.md: not found; `dvc pull` fetches it"):
        pack(study, tmp_path / "b.tar.gz")
    (study / "data/bundle/manifest.json").unlink()
    with pytest.raises(UserError, match=r"manifest.json: not found; `dvc pull` fetches it"):
        pack(study, tmp_path / "b.tar.gz")


def test_a_manifest_older_than_the_lock_is_refused(study, tmp_path):
    lock = study / "dvc.lock"
    md5 = hashlib.md5((study / "metrics/pinn/1e3.json").read_bytes()).hexdigest()
    lock.write_text(lock.read_text().replace(md5, "0" * 32))
    with pytest.raises(UserError, match=r"1e3\.json.*`dvc repro manifest`"):
        pack(study, tmp_path / "b.tar.gz")


def test_what_no_reader_accepts_is_not_packed(study, tmp_path):
    with (study / "data/bundle/manifest.md").open("a") as stream:
        stream.write(" " * 2**24)
    with pytest.raises(UserError, match=r"docs/manifest\.md: larger than the 16 MiB"):
        pack(study, tmp_path / "b.tar.gz")


def test_nothing_is_overwritten(study, tmp_path):
    for name in ("b.tar.gz", "b.tar.gz.part001", "b.tar.gz.sha256"):
        (tmp_path / name).write_text("precious")
        with pytest.raises(UserError, match=f"{name}: exists already"):
            pack(study, tmp_path / "b.tar.gz")
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()


KILLED = """
import os, signal, sys
from pathlib import Path
from ptychodose.bundle import members, packing
chunks = members._chunks
def killed(source):
    if str(source).endswith("model.keras"):
        os.kill(os.getpid(), signal.SIGKILL)
    return chunks(source)
members._chunks = killed
study, target, size = *map(Path, sys.argv[1:3]), int(sys.argv[3])
packing.pack(study, target, max_size=size or None, split=size > 0)
"""


def kill(study, target, max_size=0):
    command = [sys.executable, "-c", KILLED, str(study), str(target), str(max_size)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert not target.exists()


@pytest.mark.parametrize("damage", [False, True])
def test_a_killed_archive_goes_on_with_what_is_there(study, archive, damage):
    target = study.parent / "b.tar.gz"
    kill(study, target)
    (partial,) = study.parent.glob(".b.tar.gz*")
    if damage:
        content = bytearray(partial.read_bytes()) or bytearray(10)
        content[len(content) // 2] ^= 1
        partial.write_bytes(content + bytes(10**6))
    inode = partial.stat().st_ino
    pack(study, target)
    assert target.read_bytes() == archive.read_bytes() and target.stat().st_ino == inode
    assert sorted(path.name for path in study.parent.iterdir()) == ["b.tar.gz", "b.tar.gz.sha256", "study"]


def test_killed_parts_go_on_even_with_another_size(study, archive):
    target = study.parent / "b.tar.gz"
    kill(study, target, 3000)
    assert len(list(study.parent.glob(".b.tar.gz.part*.partial"))) > 1
    paths = pack(study, target, max_size=20_000, split=True).paths
    assert b"".join(path.read_bytes() for path in paths[:-1]) == archive.read_bytes()
    assert sorted([*paths, study]) == sorted(study.parent.iterdir())


def test_a_killed_folder_keeps_the_files_that_are_right(study, hashes):
    kill(study, study.parent / "bundle")
    partial = study.parent / ".bundle.partial"
    kept = partial / "simulation/datasets/1e3/train.npz"
    inode = kept.stat().st_ino
    (partial / "docs/params.yaml").write_text("half")
    (partial / "stray").write_text("x")
    pack(study, study.parent / "bundle")
    pack(study, study.parent / "other")
    assert hashes(study.parent / "bundle") == hashes(study.parent / "other")
    assert (study.parent / "bundle/simulation/datasets/1e3/train.npz").stat().st_ino == inode
    assert not partial.exists()


@given(pieces=st.lists(st.integers(0, 150_000), max_size=4))
def test_stored_gzip_is_gzip_of_the_size_foretold(pieces):
    class Target(bytearray):
        def write(self, data):
            self += data

    target, content = Target(), b""
    stream = StoredGzip(target)
    for number, size in enumerate(pieces):
        stream.write(data := bytes([number]) * size)
        content += data
    stream.close()
    assert gzip.decompress(target) == content and len(target) == stored_size(len(content))


def test_sizes_are_read_as_people_write_them():
    texts = {"2GB": 2 * 10**9, "1.5 MiB": 1536 * 1024, "500mb": 5 * 10**8, "1234": 1234, "7B": 7}
    assert {text: parse_size(text) for text in texts} == texts
    for text in ("", "0", "GB", "-1GB", "1e9", "2 gigabytes", "nan"):
        with pytest.raises(UserError, match="is no size; write it like 2GB"):
            parse_size(text)


def test_split_needs_a_size_and_an_archive(study, tmp_path):
    for target, size in (("b.tar.gz", None), ("b", 10**6)):
        with pytest.raises(UserError, match="--split: needs --max-size, and a target ending in"):
            pack(study, tmp_path / target, max_size=size, split=True)


def test_zstandard_is_named_where_it_is_missing(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UserError, match=r"tar\.zst needs the package zstandard; `pip install zstandard`"):
        pack(study, study.parent / "b.tar.zst")
    assert [path.name for path in study.parent.iterdir()] == ["study"]


def test_zstandard_holds_the_same_tar(study, archive):
    zstandard = pytest.importorskip("zstandard")
    target = study.parent / "b.tar.zst"
    pack(study, target)
    with target.open("rb") as stream:
        assert zstandard.ZstdDecompressor().stream_reader(stream).read() == gzip.decompress(
            archive.read_bytes()
        )
    with pytest.raises(UserError, match="more than --max-size"):
        pack(study, study.parent / "c.tar.zst", max_size=1000)
    assert not list(study.parent.glob("*c.tar*"))


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is absent")
@pytest.mark.parametrize("arguments", [("b.tar.gz",), ("b.tar.gz", "20kB", True), ("b",)])
def test_the_printed_check_works_where_ptychodose_is_absent(original, tmp_path, capsys, arguments):
    target, *limit = arguments
    options = dict(zip(("max_size", "split"), limit, strict=False))
    assert run_pack(tmp_path / target, root=original, **options) == 0
    printed = capsys.readouterr().out
    (command,) = (line.strip() for line in printed.splitlines() if "sha256sum" in line and "-c" in line)
    assert subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True).returncode == 0
    for path in tmp_path.iterdir():
        assert path.name in printed
