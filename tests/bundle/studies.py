"""A study of a few files with its dvc.lock, cache and store, as `dvc repro` and `dvc push` leave it."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from ptychodose.formats.npz import NpzWriter
from ptychodose.formats.rawdata import Scan, write_rawdata

CACHE, STORE = ".dvc/cache/files/md5", "data/store/files/md5"
OUTPUTS = {
    "data/datasets/1e3": ("simulate@1e3", {"scenario": "MINE", "simulate": {"size_px": 64, "object": {}}}),
    "data/models/pinn/1e3": ("train@pinn-1e3", {"models.pinn": {"kind": "pinn", "epochs": 2}, "seed": 3}),
    "data/reconstructions/pinn/1e3": ("infer@pinn-1e3", {"seed": 3}),
    "metrics/pinn/1e3": ("evaluate@pinn-1e3", {}),
    "metrics/pinn/1e3.json": ("evaluate@pinn-1e3", {}),
}
CONFIG = {
    "dose": "1e3",
    "size_px": 64,
    "gridsize": 1,
    "seed": 3,
    "intensity_scale": 0.5,
    "settings": {"epochs": 2, "declared_dose": None},
}


def make_study(root):
    """Files, dvc.lock, cache and store, all committed but what DVC keeps."""
    _write_files(root)
    write_lock(root)
    (root / ".gitignore").write_text(
        "/data/datasets/\n/data/models/\n/data/reconstructions/\n/data/bundle/\n"
    )
    (root / ".dvc" / "tmp").mkdir(parents=True)
    (root / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    for path in OUTPUTS:
        if path.startswith("data/"):
            _keep(root, path)
    git(root, "init", "--quiet")
    commit(root)


def write_lock(root, more=()):
    """dvc.lock as the files are now."""
    stages = {}
    for path, (stage, params) in {**OUTPUTS, **dict(more)}.items():
        entry = stages.setdefault(stage, {"cmd": "x", "params": {"params.yaml": params}, "outs": []})
        entry["outs"].append({"path": path, "md5": md5_of(root / path)})
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}, indent=1))


def md5_of(path):
    """As DVC has it."""
    if path.is_dir():
        return hashlib.md5(listing(path)).hexdigest() + ".dir"
    return hashlib.md5(path.read_bytes()).hexdigest()


def listing(folder):
    """The object DVC keeps of a folder."""
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return json.dumps([{"md5": md5_of(folder / name), "relpath": name} for name in files]).encode()


def object_of(root, path, place):
    """The object of a file or folder in cache or store."""
    md5 = md5_of(root / path)
    return root / place / md5[:2] / md5[2:]


def git(root, *arguments):
    """Run git in the study."""
    name = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True)


def commit(root):
    """Commit all that git does not ignore."""
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Study")


def _write_files(root):
    rng = np.random.default_rng(1)
    n, size = 5, 64
    x, y = rng.uniform(20, 40, (2, n))
    scan = Scan(np.ones((size, size), complex), x, y, x, y, np.zeros(n, np.int64), np.ones((80, 80), complex))
    datasets, model = root / "data/datasets/1e3", root / "data/models/pinn/1e3"
    patterns = rng.uniform(size=(n, size, size)).astype(np.float32)
    write_rawdata(datasets / "train.npz", [patterns], scan)
    (datasets / "train.json").write_text('{"scenario": "MINE"}')
    model.mkdir(parents=True)
    (model / "model.keras").write_bytes(rng.bytes(3000))
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "params.dill").write_bytes(b"dill")
    (root / "data/reconstructions/pinn/1e3").mkdir(parents=True)
    with NpzWriter(root / "data/reconstructions/pinn/1e3/test.npz") as writer:
        writer.write("object", np.ones((4, 4), np.complex64))
        writer.write("count", np.array(7, ">i4"))
    (root / "metrics/pinn/1e3").mkdir(parents=True)
    (root / "metrics/pinn/1e3.json").write_text('{"test": {"ssim": 0.5}}')
    (root / "metrics/pinn/1e3/test.png").write_bytes(b"a picture")
    (root / "metrics/pinn/1e3/train.png").write_bytes(b"another picture")
    (root / "params.yaml").write_text("scenario: MINE\n")
    (root / "dvc.yaml").write_text("stages: {}\n")


def _keep(root, path):
    for place in (CACHE, STORE):
        for file in (file for file in (root / path).rglob("*") if file.is_file()):
            kept = object_of(root, file.relative_to(root), place)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
            kept.chmod(0o444)
        kept = object_of(root, path, place)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(listing(root / path))
        kept.chmod(0o444)


def write_manifest(root):
    """The folder data/bundle, as the stage writes it."""
    from ptychodose.bundle.manifest import build_manifest
    from ptychodose.bundle.manifest_documents import documents

    folder = root / "data" / "bundle"
    folder.mkdir(exist_ok=True)
    for name, text in documents(build_manifest(Path(root), "MINE", ["1e3"])).items():
        (folder / name).write_text(text)
    write_lock(root, {"data/bundle": ("manifest", {})}.items())
    _keep(root, "data/bundle")
