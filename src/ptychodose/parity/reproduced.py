"""Did the workspace reproduce the released study? Datasets by hash, checkpoints by tier, metrics by gate."""

import os
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from ptychodose.bundle.verification import Promise, digest_or_none
from ptychodose.errors import UserError
from ptychodose.formats.jsonfile import dump_json
from ptychodose.formats.revisions import Folder, Revision, Tree, open_tree
from ptychodose.parity.checkpoints import Checkpoint, compare_checkpoints
from ptychodose.parity.environments import environments_apart
from ptychodose.parity.gate import Gate, as_dict, compare_metrics
from ptychodose.parity.noise_floors import rule_between
from ptychodose.parity.outputs import promised_outputs

WORKSPACE = Folder("the workspace", Path())


@dataclass(frozen=True)
class DatasetFile:
    """A file of a dataset, and whether the workspace holds the reference's bytes."""

    path: str
    state: Literal["exact", "different", "missing", "not in the reference"]


@dataclass(frozen=True)
class Reproduction:
    """What was compared with the reference, and what it comes to."""

    datasets: list[DatasetFile]
    checkpoints: list[Checkpoint]
    gate: Gate
    malformed: list[str]
    """Files that a tolerance should have come from."""

    @property
    def problems(self) -> list[str]:
        """Metrics that could not be compared; what the workspace has beyond the reference is none of them."""
        found = [problem for problem in self.gate.problems if problem.side == "b" or not problem.absent]
        return [*map(str, found), *self.malformed]

    @property
    def exit_code(self) -> int:
        """0 reproduced, 1 not reproduced, 2 it cannot be said."""
        return 2 if self._unknown() else 1 if self._different() else 0

    @property
    def verdict(self) -> str:
        """One line for people."""
        if unknown := self._unknown():
            return f"reproduced: cannot say: {'; '.join(unknown + self._different())}"
        if different := self._different():
            return f"reproduced: NO: {'; '.join(different)} ({self._checkpoints()})"
        numbers = f"{len(self.gate.numbers)} numbers within tolerance"
        return f"reproduced: yes (datasets exact, {self._checkpoints()}, {numbers})"

    def _unknown(self) -> list[str]:
        files = [file.path for file in self.datasets if file.state == "missing"]
        checkpoints = [f"{found.model} {found.dose}" for found in self.checkpoints if found.tier == "missing"]
        found = [f"{len(files)} of {len(self.datasets)} dataset files missing"] * bool(files)
        found += [f"checkpoints missing: {', '.join(checkpoints)}"] * bool(checkpoints)
        found += [f"metrics missing or malformed: {len(self.problems)}"] * bool(self.problems)
        return found + ["no metrics to compare"] * (not self.gate.numbers and not self.problems)

    def _different(self) -> list[str]:
        files = [file for file in self.datasets if file.state in ("different", "not in the reference")]
        outside, numbers = self.gate.outside, self.gate.numbers
        found = [f"{len(files)} of {len(self.datasets)} dataset files differ"] * bool(files)
        if outside:
            found.append(f"{len(outside)} of {len(numbers)} numbers are outside their tolerances")
        return found

    def _checkpoints(self) -> str:
        tiers = Counter(found.tier for found in self.checkpoints)
        exact = f"{tiers.pop('exact', 0)} of {len(self.checkpoints)} checkpoints exact"
        return ", ".join([exact, *(f"{count} {tier}" for tier, count in tiers.items())])


def run_reproduced(reference: str | None, *, as_json: bool) -> int:
    """Print whether the workspace reproduces a study, the newest released one unless another is named.

    Returns
    -------
    int
        0 yes, 1 no, 2 something is missing or malformed.

    Raises
    ------
    UserError
        The reference cannot be found or is no study.
    """
    from ptychodose.report.reproduced_table import render

    study = open_tree(reference or released()[:12])
    named = _named(study, reference)
    rule = rule_between(study, WORKSPACE)
    gate = compare_metrics(study, WORKSPACE, rule.tolerances)
    checkpoints = compare_checkpoints(study, WORKSPACE)
    found = Reproduction(compare_datasets(study, WORKSPACE.root), checkpoints, gate, rule.malformed)
    environment, unread = environments_apart(study, WORKSPACE, gate.runs)
    if as_json:
        print(
            dump_json(
                {
                    "reference": named,
                    "verdict": found.verdict,
                    "exit_code": found.exit_code,
                    "environment": [asdict(apart) for apart in environment],
                    "datasets": [asdict(file) for file in found.datasets],
                    "checkpoints": [asdict(checkpoint) for checkpoint in checkpoints],
                    "tolerances": rule.source,
                    **as_dict(gate),
                    "problems": found.problems,
                    "unread_logs": unread,
                }
            ),
            end="",
        )
        return found.exit_code
    console = Console(highlight=False, markup=False)
    console.print(f"Reference: {named}\nTolerances: {rule.source}\n", soft_wrap=True)
    render(found, environment, unread, console)
    console.print(found.verdict, style="bold", soft_wrap=True)
    return found.exit_code


def released() -> str:
    """The newest commit that changed the embedded store, which changes with a release only.

    Raises
    ------
    UserError
        There is none.
    """
    command = ["git", "log", "-1", "--format=%H", "--", "data/store"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    if not commit:
        raise UserError(
            "data/store: no commit changed it here, so no released study is known; name the study to compare "
            "with by --reference"
        )
    return commit


def compare_datasets(reference: Tree, root: Path) -> list[DatasetFile]:
    """Hash every file of the datasets below ``root`` and compare with what the reference promises.

    Raises
    ------
    UserError
        The reference has no datasets.
    """
    outputs = promised_outputs(reference, "data/datasets")
    promises = [promise for promised in outputs.values() for promise in promised]
    if not promises:
        raise UserError(f"{reference.label}: dvc.lock: holds no data/datasets; name a study that has some")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        digests = list(pool.map(digest_or_none, (root / promise.path for promise in promises)))
    found = [_state(promise, digest) for promise, digest in zip(promises, digests, strict=True)]
    known = {promise.path for promise in promises}
    present = (
        path.relative_to(root) for out in outputs for path in (root / out).rglob("*") if path.is_file()
    )
    # Where the folder itself is the promise, nothing is known of its files.
    beyond = sorted(path for path in present if not known & {path, *path.parents})
    return found + [DatasetFile(path.as_posix(), "not in the reference") for path in beyond]


def _state(promise: Promise, digest: str | None) -> DatasetFile:
    path = promise.path.as_posix()
    if digest is None:
        return DatasetFile(path, "missing")
    return DatasetFile(path, "exact" if digest == promise.md5 else "different")


def _named(study: Tree, reference: str | None) -> str:
    """For people: what the reference is, of which commit and date."""
    if not isinstance(study, Revision):
        return study.label
    command = ["git", "show", "-s", "--format=%cs", study.commit]
    date = subprocess.run(command, cwd=study.repository, capture_output=True, text=True, check=True).stdout
    commit = f"commit {study.commit[:12]} of {date.strip()}"
    return f"{reference}, {commit}" if reference else f"{commit}, the newest that changed data/store"
