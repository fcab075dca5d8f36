"""Where two logs first part: data set by data set, boundary by boundary, in the order of the data flow."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ptychodose.config import SPLITS, CompareParams, parse_compare
from ptychodose.formats.revisions import Folder
from ptychodose.parity.causes import explain
from ptychodose.parity.environments import environment_difference
from ptychodose.parity.matching import match
from ptychodose.parity.noise_floors import read_floors
from ptychodose.parity.pairs import Pair
from ptychodose.parity.schema import Entry
from ptychodose.parity.sources import Source, load_source
from ptychodose.parity.tiers import judge
from ptychodose.parity.tolerances import Tolerances
from ptychodose.parity.verdict import Tier, Verdict


@dataclass(frozen=True)
class Walk:
    """One data set, or what a model makes of it, on both sides."""

    name: str
    """``1e5/test``, with the name in B behind = where it is another one."""
    model: str | None
    dose: str | None
    verdicts: dict[str, Verdict]
    """By boundary, in data-flow order."""
    first_different: str | None
    cause: str | None
    problem: str | None = None
    """Why one side could not be logged; then nothing was compared."""

    @property
    def label(self) -> str:
        """``1e5/test pinn``."""
        return f"{self.name} {self.model}" if self.model else self.name


@dataclass(frozen=True)
class Comparison:
    """Everything two sources say of each other."""

    a: str
    b: str
    environment: list[tuple[str, Any, Any]]
    """Keys that differ, and both values."""
    walks: list[Walk]
    only_a: list[str]
    only_b: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Walk | None:
        """The first walk on which they part."""
        return next((walk for walk in self.walks if walk.first_different), None)

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 2 nothing to compare, or a data set that could not be read."""
        if self.first:
            return 1
        judged = any(v.tier is not Tier.MISSING for walk in self.walks for v in walk.verdicts.values())
        return 0 if judged and not any(walk.problem for walk in self.walks) else 2

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        if self.first:
            return f"first different: {self.first.label}: {self.first.first_different} — {self.first.cause}"
        if self.exit_code:
            unread = [walk.label for walk in self.walks if walk.problem]
            reason = f"{', '.join(unread)} could not be read" if unread else "the logs have nothing in common"
            return f"could not compare: {reason}"
        tiers = [v.tier for walk in self.walks for v in walk.verdicts.values()]
        counts = ", ".join(f"{tiers.count(tier)} {tier}" for tier in Tier if tiers.count(tier))
        return f"same: {len(self.walks)} data sets and models, boundaries: {counts}"


def compare_sources(a: Source, b: Source) -> Comparison:
    """Compare two sources, ``a`` the reference: its spread over the seeds counts, then that of ``b``."""
    tolerances = _tolerances(a, b)
    matches = match(a.entries, b.entries)
    data = {one.name: Pair(one, other, tolerances) for one, other in matches if one.model is None}
    pairs = (Pair(x, y, tolerances, data.get(x.name) if x.model else None) for x, y in matches)
    walks: list[Walk] = []
    upstream: dict[str, str | None] = {}
    for pair in sorted(pairs, key=_order):
        walks.append(_walk(pair, upstream.get(pair.a.name)))
        if pair.a.model is None:
            upstream[pair.a.name] = walks[-1].first_different
    silent = [side.label for side in (a, b) if not side.environment]
    unknown = [f"{label}: says nothing of the environment it was made in" for label in silent]
    return Comparison(
        a.label,
        b.label,
        environment_difference(a.environment, b.environment) if not unknown else [],
        walks,
        _left_over(a.entries, [one for one, _ in matches]),
        _left_over(b.entries, [other for _, other in matches]),
        [*unknown, *a.warnings, *b.warnings],
    )


def run_diff(a: str, b: str, *, as_json: bool) -> int:
    """Print where two parity logs first part, each a file, folder, git revision or DVC experiment.

    Returns
    -------
    int
        0 the same (exact, close or statistical everywhere), 1 different, 2 could not be compared.

    Raises
    ------
    UserError
        A source is not there or cannot be read.
    """
    from rich.console import Console

    from ptychodose.formats.jsonfile import dump_json
    from ptychodose.report.parity_table import render

    comparison = compare_sources(load_source(a), load_source(b))
    if as_json:
        print(dump_json(as_dict(comparison)), end="")
    else:
        render(comparison, Console(highlight=False))
    return comparison.exit_code


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """For machines: the whole comparison."""
    first = comparison.first
    return {
        "schema": "ptychodose/parity-diff/1",
        "a": comparison.a,
        "b": comparison.b,
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "first_different": first and _place(first),
        "environment": [{"key": key, "a": x, "b": y} for key, x, y in comparison.environment],
        "datasets": [asdict(walk) for walk in comparison.walks],
        "only_in_a": comparison.only_a,
        "only_in_b": comparison.only_b,
        "notes": comparison.notes,
    }


def _place(walk: Walk) -> dict[str, str | None]:
    return {
        "dataset": walk.name,
        "model": walk.model,
        "boundary": walk.first_different,
        "cause": walk.cause,
    }


def _walk(pair: Pair, upstream: str | None) -> Walk:
    """Of one pair; ``upstream`` is where the data set of a model already differs."""
    where = pair.label.removesuffix(f" {pair.a.model}"), pair.a.model, pair.a.dose
    problems = [f"{side}: {e.problem}" for side, e in (("A", pair.a), ("B", pair.b)) if e.problem]
    if problems:
        return Walk(*where, {}, None, None, "; ".join(problems))
    verdicts = {name: judge(pair, name) for name in pair.names}
    first = _first_different(pair, verdicts)
    if first is None:
        return Walk(*where, verdicts, None, None)
    before = list(verdicts)[: list(verdicts).index(first)]
    known = [n for n in before if verdicts[n].tier not in (Tier.MISSING, Tier.DIFFERENT)]
    cause = explain(pair, first, known)
    return Walk(
        *where, verdicts, first, f"the data already differ at {upstream}; {cause}" if upstream else cause
    )


def _first_different(pair: Pair, verdicts: dict[str, Verdict]) -> str | None:
    bad = [name for name, verdict in verdicts.items() if verdict.tier is Tier.DIFFERENT]
    declared = {
        str([e.get("declared_dose_photons"), e.get("intensity_scale")]) for e in pair.values("dose") or ()
    }
    if bad[:2] == ["dose", "raw.diff3d"] and len(declared) == 1:
        # What was declared is equal: the measured photons follow from the patterns.
        return "raw.diff3d"
    return bad[0] if bad else None


def _order(pair: Pair) -> tuple[Any, ...]:
    """Doses ascending; data before models; train, test, unseen."""
    try:
        photons = float(pair.a.dose or "inf")
    except ValueError:
        photons = float("inf")
    split = SPLITS.index(pair.split) if pair.split in SPLITS else len(SPLITS)
    return photons, pair.a.model is not None, pair.a.model or "", split, pair.a.name


def _left_over(entries: Iterable[Entry], matched: list[Entry]) -> list[str]:
    keys = {entry.key for entry in matched}
    return [" ".join(entry.key).strip() for entry in entries if entry.key not in keys]


def _tolerances(a: Source, b: Source) -> Tolerances | None:
    """By the params.yaml of A, B or the workspace; the spread over the seeds of A before that of B.

    Two logs without a study are held to the seeds of the workspace too.
    """
    compare = a.compare or b.compare or _of_workspace()
    floors = {**b.floors, **a.floors} or read_floors(Folder("the workspace", Path()))[0]
    return None if compare is None else Tolerances(compare, floors)


def _of_workspace() -> CompareParams | None:
    params = Path("params.yaml")
    return parse_compare(params.read_bytes(), str(params)) if params.is_file() else None
