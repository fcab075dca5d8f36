"""What dvc.lock says of the outputs: their hashes, the stage that made each, and its parameters."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ptychodose.errors import UserError

# Dependencies are most of the file and of no use here; a pure-Python YAML parser takes a second for them.
_DEPENDENCIES = re.compile(r"^    deps:\n(?:    - .*\n|      .*\n)*", flags=re.MULTILINE)
_PARAMETERS = re.compile(r"^    params:\n(?:      .*\n)*", flags=re.MULTILINE)


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage made."""

    path: Path
    md5: str
    """That of a folder ends in ``.dir``: it is the hash of the list of its files."""
    stage: str
    parameters: dict[str, Any] = field(default_factory=dict)
    """By dotted name; empty unless asked for."""


def read_outputs(root: Path, *, with_parameters: bool = False) -> list[Output]:
    """Every output of every stage in the order of dvc.lock.

    Raises
    ------
    UserError
        There is no dvc.lock, DVC did not write it, or an output lies outside of the study.
    """
    lock = root / "dvc.lock"
    try:
        text = _DEPENDENCIES.sub("", lock.read_text(encoding="utf-8"))
        text = text if with_parameters else _PARAMETERS.sub("", text)
        stages = YAML(typ="safe").load(text)["stages"]
        return [_output(name, stage, out) for name, stage in stages.items() for out in stage.get("outs", [])]
    except FileNotFoundError:
        raise UserError(f"{lock}: not found; run from the top of the repository") from None
    except (YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{lock}: not a lock file DVC wrote ({type(error).__name__}: {reason})") from None


def _output(name: str, stage: dict[str, Any], out: dict[str, Any]) -> Output:
    md5 = out["md5"]
    if not isinstance(md5, str):
        raise TypeError(f"md5: {md5!r} is no hash")
    parameters: dict[str, Any] = {}
    for file in stage.get("params", {}).values():
        parameters |= _dotted(file)
    return Output(inside(Path(out["path"])), md5, name, parameters)


def inside(path: Path) -> Path:
    """A path of the study, as long as it is one: a stranger's may lead a repair anywhere.

    Raises
    ------
    UserError
        It leaves the study.
    """
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"dvc.lock: {path}: lies outside of the study, where nothing of it belongs")
    return path


def _dotted(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found |= _dotted(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found
