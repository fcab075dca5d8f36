"""The metrics files of a study, read strictly: a number is finite, and null is said to be undefined."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ptychodose.config import DOSE_PATTERN, FITS
from ptychodose.formats.revisions import Tree

Value = float | bool | None
Run = tuple[str, str]
"""Model and dose."""

_PATH = re.compile(rf"metrics/([^/]+)/({DOSE_PATTERN})\.json")


class MalformedError(ValueError):
    """What is wrong with the contents of a file, without its name."""


def metrics_files(tree: Tree) -> dict[Run, str]:
    """Path of every metrics file, by model and dose; not those of replicates, spreads and records."""
    named = (_PATH.fullmatch(path) for path in tree.files("metrics"))
    return {(path[1], path[2]): path[0] for path in named if path}


def in_order(run: Run) -> tuple[bool, str, float]:
    """Sorts runs: networks, then fits, by name; doses ascending."""
    model, dose = run
    return model in FITS, model, float(dose)


def read_numbers(content: bytes) -> dict[tuple[str, str], Value]:
    """The numbers of a metrics file by split and dotted name.

    Raises
    ------
    MalformedError
        Not JSON, no splits, or something in them is neither a finite number, nor true, false or null.
    """
    tree = parse_json(content)
    if not isinstance(tree, dict) or not tree or not all(isinstance(part, dict) for part in tree.values()):
        raise MalformedError("not a metrics file: there must be splits that hold metrics")
    return {(split, name): value for split, part in tree.items() for name, value in _flat(part).items()}


def parse_json(content: bytes) -> Any:
    """The tree of a JSON file; what is not finite is refused, as JSON does.

    Raises
    ------
    MalformedError
        Not a whole JSON file.
    """
    try:
        return json.loads(content, parse_constant=_refuse, parse_float=_finite, parse_int=_finite)
    except MalformedError:
        raise
    except ValueError as error:
        raise MalformedError(f"not a whole JSON file ({error})") from None


def _refuse(constant: str) -> float:
    raise MalformedError(f"holds {constant}, which is no number; undefined is null")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, bool | int | float):
            found[prefix + key] = value
        else:
            raise MalformedError(f"{prefix}{key} is {json.dumps(value)[:40]}, not a number")
    return found
