"""Are the metrics of two studies the same within their tolerances? Yes, no, or it cannot be said."""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console

from ptychodose.formats.jsonfile import dump_json
from ptychodose.formats.revisions import Revision, Tree, open_tree
from ptychodose.parity.environments import environments_apart
from ptychodose.parity.noise_floors import rule_between
from ptychodose.parity.numbers import MalformedError, Run, Value, in_order, metrics_files, read_numbers
from ptychodose.parity.tolerances import Tolerance, Tolerances

Side = Literal["a", "b"]
_Numbers = Mapping[tuple[str, str], Value]

_ROUNDING = 1e-9
"""Metrics are stored with 10 digits: the last of them must not fail a difference of exactly the tolerance."""

_SAME_NUMBER_IN_ANOTHER_UNIT = "_ring"


@dataclass(frozen=True)
class Comparison:
    """One number of both studies."""

    model: str
    dose: str
    split: str
    metric: str
    a: Value
    b: Value
    tolerance: Tolerance

    @property
    def difference(self) -> float | None:
        """b - a; None where one of them is no number."""
        return None if _no_number(self.a) or _no_number(self.b) else float(self.b or 0) - float(self.a or 0)

    @property
    def same(self) -> bool:
        """Within the tolerance; what is no number must be equal."""
        if self.difference is None:
            return self.a is self.b
        slack = _ROUNDING * max(abs(self.a or 0), abs(self.b or 0))
        return abs(self.difference) <= self.tolerance.value + slack


@dataclass(frozen=True)
class Problem:
    """A metrics file, or numbers of it, that one study lacks or that cannot be read."""

    side: Side
    study: str
    path: str
    what: str
    absent: bool = False
    """Not there at all, rather than malformed."""

    def __str__(self) -> str:
        return f"{self.study}: {self.path}: {self.what}"


@dataclass(frozen=True)
class Gate:
    """Everything that was compared and what could not be."""

    numbers: list[Comparison]
    problems: list[Problem]

    @property
    def outside(self) -> list[Comparison]:
        """The numbers that differ by more than their tolerance."""
        return [number for number in self.numbers if not number.same]

    @property
    def runs(self) -> list[Run]:
        """Model and dose of everything that was compared."""
        return list(dict.fromkeys((number.model, number.dose) for number in self.numbers))

    @property
    def splits(self) -> list[tuple[str, str, str]]:
        """Model, dose and split of everything that was compared."""
        return list(dict.fromkeys((number.model, number.dose, number.split) for number in self.numbers))


def compare_metrics(a: Tree, b: Tree, tolerances: Tolerances) -> Gate:
    """Every metrics file of two studies, ``a`` the reference."""
    files = metrics_files(a) | metrics_files(b)
    numbers: list[Comparison] = []
    problems: list[Problem] = []
    for run, path in sorted(files.items(), key=lambda file: in_order(file[0])):
        left, right = _read("a", a, path), _read("b", b, path)
        if isinstance(left, Problem) or isinstance(right, Problem):
            problems += [found for found in (left, right) if isinstance(found, Problem)]
            continue
        numbers += _compared(run, left, right, tolerances)
        problems += _lacking("a", a, path, right.keys() - left.keys())
        problems += _lacking("b", b, path, left.keys() - right.keys())
    return Gate(numbers, problems)


def _read(side: Side, tree: Tree, path: str) -> _Numbers | Problem:
    content = tree.read(path)
    if content is None:
        return Problem(side, tree.label, path, "missing", absent=True)
    try:
        numbers = read_numbers(content)
    except MalformedError as reason:
        return Problem(side, tree.label, path, str(reason))
    return {key: value for key, value in numbers.items() if not key[1].endswith(_SAME_NUMBER_IN_ANOTHER_UNIT)}


def _compared(run: Run, left: _Numbers, right: _Numbers, tolerances: Tolerances) -> list[Comparison]:
    found = []
    for split, metric in left:
        if (split, metric) in right:
            a, b = left[split, metric], right[split, metric]
            tolerance = Tolerance(0.0, "must be equal")
            if not (_no_number(a) or _no_number(b)):
                tolerance = tolerances.of(metric, *run, float(a or 0))
            found.append(Comparison(*run, split, metric, a, b, tolerance))
    return found


def _lacking(side: Side, tree: Tree, path: str, keys: Set[tuple[str, str]]) -> list[Problem]:
    names = sorted(".".join(key) for key in keys)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    what = f"lacks {', '.join(names[:3])}{more}"
    return [Problem(side, tree.label, path, what, absent=True)] if names else []


def _no_number(value: Value) -> bool:
    return value is None or isinstance(value, bool)


def run_compare(a: str, b: str, *, as_json: bool) -> int:
    """Print what differs between two studies, each a folder, a git revision or a DVC experiment.

    Returns
    -------
    int
        0 the same within the tolerances, 1 different, 2 something is missing or malformed.

    Raises
    ------
    UserError
        A study cannot be opened, or the tolerances in params.yaml are wrong.
    """
    from ptychodose.report.gate_table import render

    reference, other = open_tree(a), open_tree(b)
    rule = rule_between(reference, other)
    gate = compare_metrics(reference, other, rule.tolerances)
    problems = [*map(str, gate.problems), *rule.malformed]
    environment, unread = environments_apart(reference, other, gate.runs)
    code = 2 if problems or not gate.numbers else 1 if gate.outside else 0
    verdict = _verdict(gate, problems)
    if as_json:
        print(
            dump_json(
                {
                    "a": described(reference),
                    "b": described(other),
                    "verdict": verdict,
                    "exit_code": code,
                    "tolerances": rule.source,
                    "environment": [asdict(apart) for apart in environment],
                    **as_dict(gate),
                    "problems": problems,
                    "unread_logs": unread,
                }
            ),
            end="",
        )
        return code
    console = Console(highlight=False, markup=False)
    console.print(f"A: {described(reference)}\nB: {described(other)}", soft_wrap=True)
    console.print(f"Tolerances: {rule.source}\n", soft_wrap=True)
    render(gate, environment, [*problems, *unread], console)
    console.print(verdict, style="bold", soft_wrap=True)
    return code


def described(tree: Tree) -> str:
    """The name a person gave, and the commit it stands for."""
    return f"{tree.label}, commit {tree.commit[:12]}" if isinstance(tree, Revision) else tree.label


def as_dict(gate: Gate) -> dict[str, Any]:
    """For machines: how much was compared, and every number outside its tolerance."""
    return {
        "compared": len(gate.numbers),
        "outside": [asdict(number) | {"difference": number.difference} for number in gate.outside],
    }


def _verdict(gate: Gate, problems: list[str]) -> str:
    compared = f"{len(gate.numbers)} numbers of {len(gate.runs)} runs"
    if problems:
        return (
            f"could not compare: {len(problems)} files, or numbers of them, are missing or malformed; "
            f"of what is there, {len(gate.outside)} of {compared} are outside their tolerances"
        )
    if not gate.numbers:
        return "could not compare: neither study has a file metrics/<model>/<dose>.json"
    if gate.outside:
        return f"different: {len(gate.outside)} of {compared} are outside their tolerances"
    return f"same: {compared} agree within their tolerances"
