"""What a study's dvc.lock promises of its outputs, and whether the workspace holds those bytes."""

import hashlib
import json
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ptychodose.bundle.verification import Promise, promises_of_folder
from ptychodose.errors import UserError
from ptychodose.formats.revisions import Folder, Tree


def promised_outputs(tree: Tree, folder: str) -> dict[str, list[Promise]]:
    """By output below ``folder`` ("data/datasets"), the files that the study's dvc.lock promises in it.

    Where the list of a folder's files is nowhere to be found, the folder itself is the promise.

    Raises
    ------
    UserError
        There is no dvc.lock, or DVC did not write it.
    """
    content = tree.read("dvc.lock")
    if content is None:
        raise UserError(f"{tree.label}: dvc.lock: not found; name a study that was regenerated with DVC")
    try:
        stages = YAML(typ="safe").load(content.decode("utf-8"))["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        hashes = {out["path"]: out["md5"] for out in outs if out["path"].startswith(f"{folder}/")}
    except (YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{tree.label}: dvc.lock: not a lock file DVC wrote ({reason})") from None
    return {path: _files(tree, Path(path), md5) for path, md5 in sorted(hashes.items())}


def _files(tree: Tree, path: Path, md5: str) -> list[Promise]:
    if not md5.endswith(".dir"):
        return [Promise(path, md5)]
    # A revision brings its own store, which may hold what that of the workspace no longer does.
    listing = tree.read(f"data/store/files/md5/{md5[:2]}/{md5[2:]}")
    if listing is None or f"{hashlib.md5(listing).hexdigest()}.dir" != md5:
        return promises_of_folder(tree.root if isinstance(tree, Folder) else Path(), path, md5)
    return [Promise(path / entry["relpath"], entry["md5"]) for entry in json.loads(listing)]
