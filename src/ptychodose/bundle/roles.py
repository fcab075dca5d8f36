"""What a file of a study is for, and of which dose, model and split, by its path."""

import re
from pathlib import PurePosixPath

from ptychodose.bundle.manifest_schema import Role
from ptychodose.config import DOSE_PATTERN

_BY_SUFFIX: dict[str, Role] = {
    ".keras": "checkpoint",
    ".dill": "parameters",
    ".yaml": "parameters",
    ".csv": "curve",
    ".png": "picture",
    ".md": "document",
}
_NPZ: dict[str, Role] = {"datasets": "dataset", "reconstructions": "reconstruction"}

_DOSE, _MODEL, _SPLIT = f"(?P<dose>{DOSE_PATTERN})", "(?P<model>[^/]+)", "(?P<split>train|test|unseen)"
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"data/datasets/{_DOSE}/{_SPLIT}\.\w+",
        rf"data/models/{_MODEL}/{_DOSE}/.+",
        rf"data/reconstructions/{_MODEL}/{_DOSE}/{_SPLIT}\.\w+",
        rf"data/parity/data/{_DOSE}\.json",
        rf"data/parity/{_MODEL}/{_DOSE}\.json",
        rf"metrics/(?:replicates|noise_floor)/{_MODEL}/{_DOSE}(?:\.json|/\d+\.json)",
        rf"metrics/{_MODEL}/{_DOSE}/{_SPLIT}\.\w+",
        rf"metrics/{_MODEL}/{_DOSE}(?:\.[a-z]+)+",
        rf"plots/curves/{_MODEL}-{_SPLIT}\.csv",
        rf"plots/figures/scene-{_DOSE}\.png",
        rf"plots/figures/loss-{_MODEL}\.png",
    )
)


def role_of(path: str) -> Role:
    """The role of a file of the study."""
    file = PurePosixPath(path)
    if path == "dvc.yaml":
        return "document"
    if file.suffix == ".npz":
        return _NPZ.get(file.parts[1], "other") if len(file.parts) > 1 else "other"
    if file.suffix == ".json":
        return _role_of_json(file)
    return _BY_SUFFIX.get(file.suffix, "other")


def place_of(path: str) -> dict[str, str]:
    """Dose, model and split of a file, those of them it has."""
    for pattern in _PLACES:
        if found := pattern.fullmatch(path):
            return found.groupdict()
    return {}


def _role_of_json(file: PurePosixPath) -> Role:
    if file.is_relative_to("data/parity"):
        return "parity log"
    return "metrics" if file.parts[0] == "metrics" and not file.name.endswith(".record.json") else "record"
