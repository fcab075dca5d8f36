"""Parity logs by the name a person gives: a file, a folder, a git revision or a DVC experiment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ptychodose.config import CompareParams, parse_compare
from ptychodose.errors import UserError
from ptychodose.formats.revisions import Folder, Revision, Tree, open_tree
from ptychodose.parity.noise_floors import read_floors
from ptychodose.parity.schema import Entry, ParityLog, parse_log, read_log
from ptychodose.parity.tolerances import Floors

LOGS = "data/parity"
"""Where a study keeps its logs."""
SINGLE = ("parity_log.json", "dose_parity_log.json")
"""Logs of a folder of datasets: as this program writes them, as the legacy logger did."""


@dataclass(frozen=True)
class Source:
    """What one side of a comparison says."""

    label: str
    entries: list[Entry]
    environment: dict[str, Any]
    """Merged of all logs; where they disagree, all values of a key stand there, " | " between them."""
    floors: Floors = field(default_factory=dict)
    compare: CompareParams | None = None
    """The tolerances of the study's params.yaml."""
    warnings: tuple[str, ...] = ()


def load_source(name: str) -> Source:
    """The logs called ``name``.

    A folder without any log is searched for NPZ datasets, which are logged on the fly.

    Raises
    ------
    UserError
        Nothing of that name; nothing logged there; a log that is truncated, of a newer schema, not a log;
        two logs that hold the same data set and model.
    """
    path = Path(name)
    if path.is_file():
        return _merged(name, [(name, _parsed(path.read_bytes(), name))])
    tree = open_tree(name)
    logs = [
        (f"{tree.label}: {path}", _parsed(content, f"{tree.label}: {path}")) for path, content in _logs(tree)
    ]
    if not logs and isinstance(tree, Folder):
        logs = _on_the_fly(tree.root)
    if not logs:
        raise UserError(
            f"{name}: no parity log there ({LOGS}/**.json or {SINGLE[0]}); run `dvc repro` in the study, or "
            "`ptychodose parity log` for a folder of datasets"
        )
    floors, malformed = read_floors(tree)
    params = tree.read("params.yaml")
    compare = None if params is None else parse_compare(params, f"{tree.label}: params.yaml")
    return _merged(_described(tree), logs, floors, compare, tuple(malformed))


def _logs(tree: Tree) -> Iterator[tuple[str, bytes]]:
    paths = [path for path in tree.files(LOGS) if path.endswith(".json")] or SINGLE[:1]
    found = [(path, content) for path in paths if (content := tree.read(path)) is not None]
    legacy = tree.read(SINGLE[1]) if not found else None
    yield from found or ([(SINGLE[1], legacy)] if legacy is not None else [])


def _parsed(content: bytes, where: str) -> ParityLog:
    from ptychodose.parity.legacy_log import import_legacy_log, is_legacy_log

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not a text file ({error}); name a parity log, or the folder it is in"
        ) from None
    try:
        tree = json.loads(text)
    except ValueError:
        return parse_log(text, where)  # says what is wrong with it
    if is_legacy_log(tree):
        text = json.dumps(import_legacy_log(tree, where))
    return parse_log(text, where)


def _on_the_fly(root: Path) -> list[tuple[str, ParityLog]]:
    """A log of a folder's NPZ datasets; nothing for a study, which makes its own logs."""
    from ptychodose.parity.folder_log import log_folder

    if (root / "params.yaml").exists() or next(root.rglob("*.npz"), None) is None:
        return []
    with TemporaryDirectory() as output:
        log_folder(
            root,
            baseline_params=None,
            scenario_id=root.name,
            output=Path(output),
            limit_datasets=None,
            legacy_statistics=False,
        )
        return [(str(root), read_log(Path(output) / "parity_log.json"))]


def _described(tree: Tree) -> str:
    return f"{tree.label}, commit {tree.commit[:12]}" if isinstance(tree, Revision) else tree.label


def _merged(
    label: str,
    logs: list[tuple[str, ParityLog]],
    floors: Floors | None = None,
    compare: CompareParams | None = None,
    malformed: tuple[str, ...] = (),
) -> Source:
    entries: dict[tuple[str, str], tuple[str, Entry]] = {}
    for where, log in logs:
        for entry in log.datasets:
            if entry.key in entries:
                name, other = " ".join(entry.key).strip(), entries[entry.key][0]
                place = "twice in it" if other == where else f"in {other} too"
                raise UserError(f"{where}: datasets: {name} is {place}; keep one of them")
            entries[entry.key] = where, entry
    environment = _agreed([log.environment for _, log in logs])
    trained = [entry.trained_in for _, entry in entries.values() if entry.trained_in]
    if trained:
        environment["trained_in"] = _agreed(trained)
    warnings = tuple(f"{where}: {warning}" for where, log in logs for warning in log.warnings)
    return Source(
        label,
        [entry for _, entry in entries.values()],
        environment,
        floors or {},
        compare,
        (*malformed, *warnings),
    )


def _agreed(environments: list[dict[str, Any]]) -> dict[str, Any]:
    """One environment of several: each key's value, or all of them if they are not one."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for environment in environments for key in environment):
        values = [environment[key] for environment in environments if key in environment]
        if all(isinstance(value, Mapping) for value in values):
            found[key] = _agreed(values)
        else:
            texts = dict.fromkeys(map(str, values))
            found[key] = values[0] if len(texts) == 1 else " | ".join(texts)
    return found
