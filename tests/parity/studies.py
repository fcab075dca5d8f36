"""Studies small enough to write by hand: metrics, spreads and parameters, in folders and in git."""

import json
import os
import subprocess

from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

RUNS = (("pinn", "1e3"), ("pinn", "1e9"), ("supervised", "1e9"), ("ml", "1e3"))


def git(root, *arguments):
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    found = subprocess.run(
        ["git", *who, *arguments], cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def commit(root, message):
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def metrics():
    split = {
        "amplitude": {"psnr": 30.0, "ms_ssim": 0.95, "shift_y_px": 0.0, "frc50": 0.5, "frc50_ring": 45},
        "phase": {"psnr": 30.0, "rms_rad": 0.02},
        "amplitude_bias": 0.001,
        "deviance_ratio": 1.0,
        "collapsed": False,
        "control": {"ms_ssim": 0.999},
    }
    return {"train": split, "test": json.loads(json.dumps(split))}


N_NUMBERS = 2 * 10 * len(RUNS)
"""Judged numbers of a study: the ring is another unit of frc50."""


def write(root, path, tree):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(tree if isinstance(tree, str) else json.dumps(tree))


def change(root, run, split, name, value):
    """Set a number of a study's metrics."""
    path = root / f"metrics/{run[0]}/{run[1]}.json"
    tree = json.loads(path.read_text())
    part = tree[split]
    *groups, last = name.split(".")
    for group in groups:
        part = part[group]
    part[last] = value
    path.write_text(json.dumps(tree))


def write_study(root):
    """Four runs; pinn at 1e3 has a range of 0.2 dB over its seeds in the PSNR of the test split."""
    for model, dose in RUNS:
        write(root, f"metrics/{model}/{dose}.json", metrics())
        write(root, f"metrics/{model}/{dose}.record.json", {"schema": "not a number"})
    write(root, "metrics/replicates/pinn/1e3/1.json", {"not": "judged"})
    spread = {"amplitude.psnr": {"values": [30.0, 30.1, 30.2], "median": 30.1, "range": 0.2}}
    write(root, "metrics/noise_floor/pinn/1e3.json", {"splits": {"train": {}, "test": spread}})
    yaml = YAML(typ="safe")
    params = yaml.load(REPOSITORY / "params.yaml")
    params["compare"]["seed_ranges"] = 2.5
    yaml.dump(params, root / "params.yaml")
    return root
