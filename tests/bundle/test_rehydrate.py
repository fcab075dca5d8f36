"""A bundle is checked to the last byte, unpacks into the study it was made of, and may be hostile."""

import gzip
import json
import shutil
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptychodose.bundle.bundle_names import SUMS
from ptychodose.bundle.bundle_report import run_verify, verify_bundle
from ptychodose.bundle.packing import pack
from ptychodose.bundle.rehydrate import rehydrate, run_rehydrate
from ptychodose.cli import main
from ptychodose.errors import UserError
from tests.bundle.bundles import forged, make_packable, zipped

NOT_PACKED = ("data/store", ".git", ".dvc")
TARGETS = {"folder": ("b", {}), "archive": ("b.tar.gz", {}), "parts": ("b.tar.gz", {"max_size": 20_000})}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_packable(tmp_path_factory.mktemp("rehydrate") / "study")


@pytest.fixture(scope="module")
def packed(study):
    """A folder that holds the bundle, for each kind."""
    folders = {}
    for kind, (name, options) in TARGETS.items():
        folders[kind] = study.parent / kind
        pack(study, folders[kind] / name, split=bool(options), **options)
    return folders


@pytest.fixture(params=TARGETS)
def bundle(request, packed, tmp_path):
    folder = shutil.copytree(packed[request.param], tmp_path / "sent")
    return folder / TARGETS[request.param][0]


@pytest.fixture
def archive(packed, tmp_path):
    return shutil.copytree(packed["archive"], tmp_path / "sent") / "b.tar.gz"


@pytest.fixture
def parts(packed, tmp_path):
    return shutil.copytree(packed["parts"], tmp_path / "sent") / "b.tar.gz"


@pytest.fixture
def folder(packed, tmp_path):
    return shutil.copytree(packed["folder"], tmp_path / "sent") / "b"


def refused(path, sentence):
    """Neither accepted nor half unpacked."""
    target = path.parent / "out"
    with pytest.raises(UserError, match=sentence) as raised:
        rehydrate(path, target)
    assert not target.exists() and not list(path.parent.glob("*.partial"))
    assert "\n" not in str(raised.value)


def damaged(path, problem):
    """Found by both commands."""
    assert run_verify(path) == 1
    assert any(problem in line for line in verify_bundle(path).problems())
    refused(path, "nothing was unpacked")


def test_the_study_comes_back_byte_by_byte(bundle, study, hashes, capsys):
    target = bundle.parent / "out"
    assert run_rehydrate(bundle, target) == 0
    assert "manifest built anew: the same, 11 of 11 files" in capsys.readouterr().out
    expected = {
        path: digest
        for path, digest in hashes(study).items()
        if not path.startswith(NOT_PACKED) and path != ".gitignore"
    }
    assert hashes(target) == expected


def test_it_serves_as_the_data_root_of_other_commands(archive, monkeypatch, capsys):
    rehydrate(archive, archive.parent / "out")
    monkeypatch.chdir(archive.parent / "out")
    assert main(["check", "data/datasets/1e3/train.npz"]) == 0
    log = ["parity", "log", "--dataset-root", "data/datasets", "--scenario-id", "MINE", "--output", "log"]
    assert main(log) == 0
    pack(archive.parent / "out", archive.parent / "again.tar.gz")
    assert (archive.parent / "again.tar.gz").read_bytes() == archive.read_bytes()


def test_a_good_bundle_is_reported_with_its_numbers(bundle, capsys):
    assert run_verify(bundle, as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["good"] and report["verified"] == report["files"] == 17 and report["problems"] == []
    assert all(file["expected"] == file["found"] for file in report["sums"])
    assert run_verify(bundle) == 0
    text = capsys.readouterr().out
    assert text.startswith("# good: ") and "17 of 17 files verified" in text and "scenario MINE" in text


def test_parts_are_found_by_the_name_of_any(parts):
    assert verify_bundle(parts.with_name("b.tar.gz.part002")).kind == "parts"


def test_without_its_sums_an_archive_is_checked_by_its_manifest(archive):
    archive.with_name("b.tar.gz.sha256").unlink()
    report = verify_bundle(archive)
    assert not report.problems() and report.sums[0].expected is None
    assert "not given" in report.markdown()


def test_truncated(archive):
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    damaged(archive, "broken: damaged or cut off")
    archive.write_bytes(content[:300])
    refused(archive, "damaged or cut off")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("with_sums", [True, False])
def test_a_flipped_bit(archive, place, with_sums):
    content = bytearray(archive.read_bytes())
    content[int(place * len(content))] ^= 1
    archive.write_bytes(content)
    if with_sums:
        damaged(archive, "damaged: b.tar.gz: its SHA-256 is not that in the .sha256")
    else:
        archive.with_name("b.tar.gz.sha256").unlink()
        refused(archive, "nothing was unpacked")


def test_a_wrong_sum(archive):
    sums = archive.with_name("b.tar.gz.sha256")
    sums.write_text(f"{'0' * 64}  b.tar.gz\n")
    damaged(archive, "damaged: b.tar.gz: its SHA-256")
    sums.write_text("nonsense\n")
    refused(archive, "sha256: not lines of a hash and a name")


@pytest.mark.parametrize("number", [2, -1])
def test_a_missing_part(parts, number):
    paths = sorted(parts.parent.glob("*.part*"))
    paths[number].unlink()
    damaged(parts, f"missing: {paths[number].name}, which the .sha256 lists")


def test_no_first_part(parts):
    parts.with_name("b.tar.gz.part001").unlink()
    refused(parts, r"b\.tar\.gz: not found, nor b\.tar\.gz\.part001")


def test_a_damaged_missing_or_additional_file_in_a_folder(folder):
    (folder / "training/models/pinn/1e3/model.keras").write_bytes(bytes(3000))
    (folder / "inference/metrics/pinn/1e3.json").unlink()
    (folder / "docs/README.md").write_text("another")
    (folder / "inference/more.txt").write_text("x")
    assert verify_bundle(folder).problems() == [
        "damaged: docs/README.md",
        "damaged: training/models/pinn/1e3/model.keras",
        "missing: inference/metrics/pinn/1e3.json",
        "unexpected: inference/more.txt",
    ]
    refused(folder, "damaged: docs/README.md; nothing was unpacked")


def test_a_link_in_a_folder_is_not_followed(folder, tmp_path):
    file = folder / "training/models/pinn/1e3/model.keras"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    damaged(folder, "unexpected: training/models/pinn/1e3/model.keras (a link or special file)")


def test_a_changed_manifest_contradicts_its_sums(folder):
    manifest = folder / "docs/manifest.json"
    manifest.write_text(manifest.read_text().replace('"emitter": "', '"emitter": "not '))
    damaged(folder, "damaged: docs/manifest.json")
    (folder / SUMS).write_text("nonsense")
    refused(folder, "docs/SHA256SUMS: not lines of a hash and a name")
    (folder / SUMS).write_text(f"{'0' * 64}  docs/manifest.json\n")
    refused(folder, "docs/SHA256SUMS does not list the files of the manifest")


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"text"), gzip.compress(bytes(1024))])
def test_what_is_no_bundle(tmp_path, content):
    (tmp_path / "b.tar.gz").write_bytes(content)
    refused(tmp_path / "b.tar.gz", r"b\.tar\.gz: (damaged or cut off|not a bundle made by)")
    (tmp_path / "b").mkdir()
    refused(tmp_path / "b", "not a bundle made by `ptychodose bundle pack`")
    (tmp_path / "b.zip").write_bytes(content)
    refused(tmp_path / "b.zip", "give a bundle")


def test_a_target_in_use_is_refused(archive):
    target = archive.parent / "out"
    target.mkdir()
    (target / "mine").write_text("precious")
    with pytest.raises(UserError, match="out: exists and is not empty; give a new folder"):
        rehydrate(archive, target)
    (target / "mine").unlink()
    rehydrate(archive, target)
    with pytest.raises(UserError, match="exists and is not empty"):
        rehydrate(archive, target)


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["../x"], "a file must lie inside the bundle"),
        (["metrics/../../../x"], "a file must lie inside the bundle"),
        (["/tmp/ptychodose-x"], "a file must lie inside the bundle"),
        (["metrics/.git/hooks/x"], "a bundle holds no files of git or DVC"),
        ([".dvc/config"], "a bundle holds no files of git or DVC"),
        (["C:/x"], "not a name that every system can store"),
        (["metrics\\..\\x"], "not a name that every system can store"),
        (["metrics//x"], "not a name that every system can store"),
        (["metrics/x\n"], "not a name that every system can store"),
        (["metrics/x."], "not a name that every system can store"),
        (["x/" * 10**6 + "x"], "longer than 1000 characters"),
        (["metrics/x\ud800"], "not a name that every system can store"),
        (["metrics/x", "metrics/X"], "the same as metrics/x where names ignore case"),
        (["metrics/\u00e9", "metrics/e\u0301"], "where names ignore case"),
        (["metrics/x", "metrics/x/y"], "both a file and the folder of"),
        (["metrics/x", "metrics/x"], "the same as metrics/x"),
    ],
)
def test_unsafe_names_are_refused(tmp_path, paths, sentence):
    entries = [{"path": path, "role": "other", "size_bytes": 1, "sha256": "0" * 64} for path in paths]
    (tmp_path / "sent").mkdir()
    tar = forged({}, [(tarfile.TarInfo("inference/metrics/x"), b"x")], more_entries=entries)
    refused(zipped(tmp_path / "sent" / "b.tar.gz", tar), sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["sent"]


def special(kind, **attributes):
    info = tarfile.TarInfo("inference/metrics/x")
    info.type = kind
    for name, value in attributes.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    "info",
    [
        special(tarfile.SYMTYPE, linkname="/etc/passwd"),
        special(tarfile.LNKTYPE, linkname="docs/manifest.json"),
        special(tarfile.CHRTYPE, devmajor=1, devminor=3),
        special(tarfile.FIFOTYPE),
        special(tarfile.DIRTYPE),
        special(tarfile.XHDTYPE),
        special(tarfile.GNUTYPE_LONGNAME),
        special(tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda info: str(info.type),
)
def test_special_members_are_refused(tmp_path, info):
    path = zipped(tmp_path / "b.tar.gz", forged({"metrics/a": b"a"}, [(info, b"")]))
    damaged(path, "special member, which a bundle never holds")


def test_additional_and_repeated_members_are_refused(tmp_path):
    stranger = (tarfile.TarInfo("../../etc/x"), b"evil")
    path = zipped(tmp_path / "b.tar.gz", forged({"metrics/a": b"a"}, [stranger]))
    damaged(path, "unexpected: ../../etc/x")
    twin = (tarfile.TarInfo("inference/metrics/a"), b"b")
    damaged(zipped(path, forged({"metrics/a": b"a"}, [twin])), "there twice; it is not to be trusted")
    behind = gzip.compress(forged({"metrics/a": b"a"}) + b"more")
    path.write_bytes(behind)
    damaged(path, "it does not end as a tar does")


def test_what_unpacks_to_more_than_the_manifest_lists_is_cut_off(tmp_path):
    claimed = tarfile.TarInfo("inference/metrics/huge")
    tar = forged({"metrics/a": b"a"}, [(claimed, b"")])[:-1024]
    claimed.size = 2**33 - 1
    tar = tar[:-512] + claimed.tobuf(tarfile.USTAR_FORMAT) + bytes(2**26)
    damaged(zipped(tmp_path / "b.tar.gz", tar), "it unpacks to more than its manifest lists")
    lying = zipped(tmp_path / "b.tar.gz", forged({"metrics/a": bytes(10**6)}, sizes={"metrics/a": 10}))
    assert verify_bundle(lying).n_bytes < 10**5
    refused(lying, "nothing was unpacked")


def test_a_disk_too_small_is_told_before_unpacking(tmp_path):
    path = zipped(tmp_path / "b.tar.gz", forged({"metrics/a": b"a"}, sizes={"metrics/a": 10**18}))
    refused(path, "are needed, .* are free; take another disk")


GOOD = forged({"metrics/a": b"content of a", "metrics/b": bytes(700)})


def repair_header(tar, start):
    """Make a changed header valid, so that what is behind its checksum is tried too."""
    total = tarfile.calc_chksums(bytes(tar[start : start + 512]).ljust(512))[0]
    tar[start + 148 : start + 156] = b"%06o\0 " % total


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_a_tar_is_a_traceback_or_another_study(tmp_path, data):
    tar = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(tar) - 1))
        end = place + data.draw(st.sampled_from([0, 1, 8, 512]))
        tar[place:end] = data.draw(st.binary(max_size=12) | st.just(bytes(512)))
        if data.draw(st.booleans()):
            repair_header(tar, place // 512 * 512)
    target = tmp_path / "out"
    try:
        rehydrate(zipped(tmp_path / "b.tar.gz", bytes(tar)), target)
    except UserError:
        assert not target.exists()
    else:
        assert (target / "metrics/a").read_bytes() == b"content of a"
        shutil.rmtree(target)


@settings(max_examples=100, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), change=st.binary(min_size=1, max_size=20))
def test_no_change_of_packed_bytes_is_a_traceback(tmp_path, place, change):
    content = bytearray(gzip.compress(GOOD, mtime=0))
    start = int(place * len(content))
    content[start : start + len(change)] = change
    (tmp_path / "b.tar.gz").write_bytes(content)
    try:
        run_verify(tmp_path / "b.tar.gz", as_json=True)
    except UserError as error:
        assert "\n" not in str(error)
