"""What a verification found, for people and for machines, and the commands that repair it."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ptychodose.bundle.copies import Copy

ASIDE = Path(".dvc/tmp/damaged")
"""Where a repair keeps what it replaced."""


_MANY = 20
"""Paths that a command still names one by one, where it need not."""


@dataclass(frozen=True)
class Fault:
    """A copy that is damaged or missing."""

    copy: Copy
    kind: Literal["damaged", "missing"]
    source: Path | None = None
    """A good copy of the same bytes."""
    in_git: bool = False
    """The last commit holds the good bytes under the same path."""
    after_git: bool = False
    """A good copy is in the store as soon as git has restored that."""
    stage: str | None = None
    """Which stage can make it again."""

    @property
    def path(self) -> str:
        """Relative to the root."""
        return self.copy.path.as_posix()

    @property
    def needed(self) -> bool:
        """Part of the study, not an object that something else left behind."""
        return self.copy.output is not None

    @property
    def repairable(self) -> bool:
        """The good bytes are at hand, or nothing needs them."""
        return self.source is not None or self.in_git or self.after_git or not self.needed

    def __str__(self) -> str:
        of = "" if self.copy.place == "workspace" else f" ({self.copy.output or 'not in dvc.lock'})"
        return f"{self.kind}: {self.path}{of}"


@dataclass
class Findings:
    """What was checked and what is wrong."""

    n_good: int = 0
    """Files of the workspace."""
    n_bytes: int = 0
    n_objects: dict[str, int] = field(default_factory=dict)
    """Good ones in cache and store, where there is one."""
    with_manifest: bool = False
    n_unpushed: int = 0
    """Objects that dvc.lock needs and neither the store nor git has."""
    faults: list[Fault] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    """Between the manifest and dvc.lock or the files."""

    @property
    def damaged(self) -> list[str]:
        """Paths, those in cache and store among them."""
        return [fault.path for fault in self.faults if fault.kind == "damaged"]

    @property
    def missing(self) -> list[str]:
        """Paths, those in cache and store among them."""
        return [fault.path for fault in self.faults if fault.kind == "missing"]

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not (self.faults or self.unexpected or self.disagreements)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "good": self.good,
            "verified": self.n_good,
            "bytes": self.n_bytes,
            "objects": self.n_objects,
            "manifest": self.with_manifest,
            "not_pushed": self.n_unpushed,
            "damaged": self.damaged,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "manifest_disagrees": self.disagreements,
            "repairable": [fault.path for fault in self.faults if fault.repairable],
            "repair": self.repair_commands(),
        }

    def summary(self) -> str:
        """For people: one line a finding, what to do, and a closing line."""
        lines = [str(fault) for fault in sorted(self.faults, key=lambda fault: fault.kind)]
        lines += [f"unexpected: {path}" for path in self.unexpected]
        lines += [f"manifest: {sentence}" for sentence in self.disagreements]
        if commands := self.repair_commands():
            lines.append(f"repair: {'; '.join(commands)}")
        if any(fault.repairable for fault in self.faults):
            lines.append(f"or: ptychodose verify --repair, which keeps what it replaces in {ASIDE}")
        lines += [_advice(fault) for fault in self.faults if not fault.repairable]
        if self.disagreements:
            lines.append(
                "manifest: `dvc repro --force --single-item manifest` writes it again, if the files are right"
            )
        if self.n_unpushed:
            lines.append(f"not in the embedded store: {self.n_unpushed} objects; a release takes them there")
        return "\n".join([*lines, self._verdict()])

    def repair_commands(self) -> list[str]:
        """Shell commands that repair what can be repaired, in order."""
        mended = [fault for fault in self.faults if fault.repairable]
        ours = [fault for fault in mended if not fault.in_git]
        outputs = dict.fromkeys(
            str(fault.copy.output) for fault in ours if fault.needed and fault.copy.place != "store"
        )
        pushed = dict.fromkeys(
            str(fault.copy.output) for fault in ours if fault.needed and fault.copy.place == "store"
        )
        in_git = [fault.path for fault in mended if fault.in_git]
        steps = (
            # A folder with more files than it should have would keep them.
            (["rm", "-rf"], [fault.path for fault in mended if fault.kind == "damaged"]),
            (["git", "checkout", "HEAD", "--"], in_git),
            (["dvc", "push"], list(pushed)),
        )
        commands = [shlex.join([*command, *paths]) for command, paths in steps if paths]
        if outputs:
            # As in a fresh clone. A pull of all would overwrite what has no good copy.
            everything = len(outputs) > _MANY and len(mended) == len(self.faults)
            commands.append(shlex.join(["dvc", "pull", "--force", *([] if everything else outputs)]))
        return commands

    def _verdict(self) -> str:
        total = self.n_good + sum(fault.copy.place == "workspace" for fault in self.faults)
        against = "dvc.lock and the manifest" if self.with_manifest else "dvc.lock"
        objects = ", ".join(f"{n} objects of the {place}" for place, n in self.n_objects.items())
        verdict = "good" if self.good else "DAMAGED" if self.faults or self.unexpected else "OUT OF STEP"
        return (
            f"{verdict}: {self.n_good} of {total} files, "
            f"{self.n_bytes / 1e6:.1f} MB, match {against}{f'; {objects} are whole' if objects else ''}"
        )


def _advice(fault: Fault) -> str:
    output = fault.copy.output
    again = f", or make it again: dvc repro --force --single-item {fault.stage}" if fault.stage else ""
    return (
        f"no good copy here: {fault.path}; fetch it from another remote: "
        f"dvc pull --force --remote NAME {output}{again}"
    )
