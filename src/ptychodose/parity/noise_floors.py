"""The rule for two studies: their tolerances, from parameters and spreads over seeds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptychodose.config import DOSE_PATTERN, parse_compare
from ptychodose.errors import UserError
from ptychodose.formats.revisions import Folder, Tree
from ptychodose.parity.numbers import MalformedError, parse_json
from ptychodose.parity.tolerances import Floors, Spread, Tolerances

_PATH = re.compile(rf"metrics/noise_floor/([^/]+)/({DOSE_PATTERN})\.json")


@dataclass(frozen=True)
class Rule:
    """Tolerances, in words where they come from, and which files could not be read for them."""

    tolerances: Tolerances
    source: str
    malformed: list[str]


def rule_between(reference: Tree, other: Tree) -> Rule:
    """The reference's rule; its parameters from the workspace, its seeds from the other if it has none.

    Raises
    ------
    UserError
        The parameters are wrong, or neither the reference nor the workspace has any.
    """
    for tree in (reference, Folder("the workspace", Path())):
        content = tree.read("params.yaml")
        compare = parse_compare(content, f"{tree.label}: params.yaml") if content is not None else None
        if compare is not None:
            break
    else:
        raise UserError(
            f"params.yaml: compare: missing in {reference.label} and in the workspace; run from the top of "
            "the repository, or add it (the committed params.yaml shows every key)"
        )
    for study in (reference, other):
        floors, malformed = read_floors(study)
        if floors or malformed:
            break
    measured = ", ".join(f"{model} at {dose}" for model, dose in floors)
    seeds = f"spread over the seeds of {study.label}: {measured}" if measured else "no spread over seeds"
    source = f"compare in params.yaml of {tree.label}; {seeds}"
    return Rule(Tolerances(compare, floors), source, malformed)


def read_floors(tree: Tree) -> tuple[Floors, list[str]]:
    """The spreads over the seeds that a study measured, and a sentence for each file that is malformed."""
    floors: dict[tuple[str, str], Mapping[str, Spread]] = {}
    malformed = []
    for path in tree.files("metrics/noise_floor"):
        named, content = _PATH.fullmatch(path), tree.read(path)
        if named and content is not None:
            try:
                floors[named[1], named[2]] = _splits(parse_json(content))
            except MalformedError as reason:
                malformed.append(f"{tree.label}: {path}: {reason}; its spread was left out")
    return dict(sorted(floors.items(), key=lambda floor: (floor[0][0], float(floor[0][1])))), malformed


def _splits(tree: Any) -> dict[str, Spread]:
    try:
        spreads = [spread for split in tree["splits"].values() for spread in split.values()]
        ranges = [(spread["range"], spread["median"]) for spread in spreads if "range" in spread]
    except (AttributeError, KeyError, TypeError):
        raise MalformedError("no noise floor: splits, metrics, range or median are not there") from None
    if not all(isinstance(number, int | float) for pair in ranges for number in pair):
        raise MalformedError("a range or a median is not a number")
    if any(width < 0 for width, _ in ranges):
        raise MalformedError("a range is negative")
    return dict(tree["splits"])
