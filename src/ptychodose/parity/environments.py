"""What differs between the environments two studies were made in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptychodose.errors import UserError
from ptychodose.formats.revisions import Tree
from ptychodose.parity.leaves import leaves
from ptychodose.parity.numbers import Run
from ptychodose.parity.schema import ParityLog, parse_log


@dataclass(frozen=True)
class Apart:
    """A key of an environment whose values differ, and how many runs it differs in."""

    key: str
    a: Any
    b: Any
    runs: int


def environment_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys that differ, nested ones dotted ("packages.numpy"), and their values; None where absent."""
    flat_a, flat_b = leaves(a), leaves(b)
    keys = dict.fromkeys([*flat_a, *flat_b])
    pairs = ((key, flat_a.get(key), flat_b.get(key)) for key in keys)
    return [(key, left, right) for key, left, right in pairs if left != right]


def environments_apart(a: Tree, b: Tree, runs: list[Run]) -> tuple[list[Apart], list[str]]:
    """What differs between the environments of runs whose parity logs both studies have.

    Returns
    -------
    list, list
        Differences, those of training behind ``trained_in.``; a sentence for each log that cannot be read.
    """
    counted: dict[tuple[str, str, str], list[Any]] = {}
    unread = []
    for run in runs:
        try:
            logs = [read_run_log(tree, run) for tree in (a, b)]
        except UserError as error:
            unread.append(str(error))
            continue
        if logs[0] is None or logs[1] is None:
            continue
        for key, left, right in environment_difference(_environments(logs[0]), _environments(logs[1])):
            counted.setdefault((key, repr(left), repr(right)), [key, left, right, 0])[3] += 1
    return [Apart(*found) for found in counted.values()], unread


def read_run_log(tree: Tree, run: Run) -> ParityLog | None:
    """The parity log of a model and dose, None if the study has none.

    Raises
    ------
    UserError
        It is not a parity log.
    """
    path = f"data/parity/{run[0]}/{run[1]}.json"
    content = tree.read(path)
    if content is None:
        return None
    return parse_log(content.decode("utf-8", errors="replace"), f"{tree.label}: {path}")


def _environments(log: ParityLog) -> dict[str, Any]:
    trained_in = next((entry.trained_in for entry in log.datasets if entry.trained_in), {})
    return {**log.environment, "trained_in": trained_in}
