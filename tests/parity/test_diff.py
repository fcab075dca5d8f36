"""The walk from data set to data set: what is matched, what is printed, and the exit code."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptychodose.parity.boundaries import BOUNDARIES
from ptychodose.parity.diff import as_dict, compare_sources, run_diff
from ptychodose.parity.emitter import entry, plain
from ptychodose.parity.schema import Entry
from ptychodose.parity.sources import Source
from tests.parity.pipeline import log

RNG = np.random.default_rng(2)
PATTERNS = {dose: RNG.normal(10, 1, (4, 16, 16)) for dose in ("1e3", "1e5", "1e9")}


def data(name, at=None, patterns=None, model=None, **rest):
    at = at or name.split("/")[0]
    patterns = PATTERNS[at] if patterns is None else patterns
    return entry(name, dose=at, model=model, boundaries={"raw.diff3d": patterns, **rest})


@pytest.fixture
def diff(tmp_path, monkeypatch, capsys):
    """Exit code and what was printed, or the tree of --json, of two lists of entries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def of(a, b, as_json=True, environments=({"numpy": "2"}, {"numpy": "2"})):
        paths = [
            str(log(tmp_path / f"{name}.json", entries, environment))
            for name, entries, environment in zip("ab", (a, b), environments, strict=True)
        ]
        code = run_diff(*paths, as_json=as_json)
        printed = capsys.readouterr().out
        return code, json.loads(printed) if as_json else printed

    return of


def test_the_same_is_said_in_one_line(diff):
    code, text = diff([data("1e5/test")], [data("1e5/test")], as_json=False)
    assert code == 0
    assert "same: 1 data sets and models, boundaries: 1 exact" in text


def test_environments_come_first_and_only_where_they_differ(diff):
    environments = (
        {"packages": {"numpy": "2.0", "scipy": "1"}},
        {"packages": {"numpy": "2.1", "scipy": "1"}},
    )
    changed = [data("1e5/test", patterns=PATTERNS["1e5"] * 2)]
    code, text = diff([data("1e5/test")], changed, as_json=False, environments=environments)
    assert code == 1
    assert text.index("packages.numpy") < text.index("1e5/test")
    assert "scipy" not in text
    assert "first different: 1e5/test: raw.diff3d — diff3d differs by one factor 2.000" in text


def test_doses_ascend_and_data_come_before_models(diff):
    entries = [data(f"{dose}/{split}") for dose in ("1e9", "1e3") for split in ("unseen", "train", "test")]
    entries += [data("1e3/test", model="pinn")]
    _, tree = diff(entries, entries)
    walked = [(walk["name"], walk["model"]) for walk in tree["datasets"]]
    splits = ("train", "test", "unseen")
    low, high = ([(f"{dose}/{split}", None) for split in splits] for dose in ("1e3", "1e9"))
    assert walked == [*low, ("1e3/test", "pinn"), *high]


def test_the_first_of_several_differences_is_named(diff):
    broken = [data(f"{dose}/test", patterns=PATTERNS[dose] + 1) for dose in ("1e5", "1e3")]
    _, tree = diff([data("1e5/test"), data("1e3/test")], broken)
    assert tree["first_different"]["dataset"] == "1e3/test"
    assert [walk["first_different"] for walk in tree["datasets"]] == ["raw.diff3d"] * 2


def test_fewer_boundaries_and_data_sets_are_said_but_no_difference(diff):
    a = [data("1e5/test", **{"raw.xcoords": np.arange(4.0)}), data("1e3/test")]
    code, tree = diff(a, [data("1e5/test")])
    assert (code, tree["only_in_a"], tree["only_in_b"]) == (0, ["1e3/test"], [])
    assert tree["datasets"][0]["verdicts"]["raw.xcoords"]["note"] == "only in A"


def test_the_same_patterns_belong_together_under_another_dose(diff):
    declared = [{"dose": {"declared_dose_photons": float(dose)}} for dose in ("1e5", "1e9")]
    mislabelled = data("1e9/test", patterns=PATTERNS["1e5"], **declared[1])
    code, tree = diff([data("1e5/test", **declared[0])], [mislabelled])
    assert code == 1
    assert tree["first_different"]["dataset"] == "1e5/test = 1e9/test"
    assert "one of the doses is mislabelled" in tree["first_different"]["cause"]


def test_data_sets_of_other_names_are_matched_by_dose_and_shape(diff):
    a = [data("1e5/train"), data("1e9/train"), data("1e5/train", model="pinn")]
    b = [data("data_p1e9", "1e9", PATTERNS["1e9"] + 1e-9), data("data_p1e5", "1e5", PATTERNS["1e5"] + 1e-9)]
    b += [data("data_p1e5", "1e5", model="pinn")]
    code, tree = diff(a, b)
    assert [walk["name"] for walk in tree["datasets"]] == [
        "1e5/train = data_p1e5",
        "1e5/train = data_p1e5",
        "1e9/train = data_p1e9",
    ]
    assert code == 0


def test_two_logs_of_one_data_set_each_are_compared_whatever_they_are_called(diff):
    code, tree = diff([data("1e5/train")], [data("mine", "1e3")])
    assert (code, tree["datasets"][0]["name"]) == (1, "1e5/train = mine")


def test_nothing_in_common_and_a_problem_cannot_be_compared(diff):
    a, b = [data("1e5/train"), data("1e3/train")], [data("x", "1e9"), data("y", "1e9")]
    code, tree = diff(a, b)
    assert (code, tree["verdict"]) == (2, "could not compare: the logs have nothing in common")
    broken = data("1e3/train") | {"problem": "it is empty", "boundaries": []}
    code, tree = diff(a, [data("1e5/train"), broken])
    assert (code, tree["verdict"]) == (2, "could not compare: 1e3/train could not be read")
    code, tree = diff(a, [data("1e5/train", patterns=PATTERNS["1e3"] * 3), broken])
    assert code == 1
    _, text = diff(a, [data("1e5/train"), broken], as_json=False)
    assert "B: it is empty" in text


WEIRD = (None, "?", [1], {"a": {"b": None}}, float("nan"), -1.0, True, 3)


@given(st.lists(st.sampled_from(WEIRD), min_size=14, max_size=14), st.sampled_from([0.0, 1.0, -1.0, np.nan]))
@settings(max_examples=60, deadline=None)
def test_a_log_of_odd_content_never_ends_in_a_traceback(odd, filler):
    names = (
        "mean_photons",
        "min_photons",
        "declared_dose_photons",
        "1",
        "metrics",
        "amplitude_bias",
        "01 layer",
    )
    sides = []
    for values in (odd[:7], odd[7:]):
        numbers = dict(zip(names, values, strict=True))
        boundaries = {
            name: numbers if kind.kind == "values" else np.full((4, 16, 16), filler + len(sides))
            for name, kind in BOUNDARIES.items()
        }
        tree = plain(entry("1e5/test", dose="1e5", model="pinn", boundaries=boundaries))
        sides.append(Source("x", [Entry.model_validate(tree)], {}))
    comparison = compare_sources(*sides)
    assert comparison.exit_code in (0, 1)
    json.dumps(as_dict(comparison))


def test_what_follows_from_the_data_is_said_to(diff):
    x = PATTERNS["1e5"]
    of_model = [entry("1e5/test", dose="1e5", model="pinn", boundaries={"input": f * x}) for f in (3, 6)]
    sides = [[data("1e5/test", normalized=f * x), of_model[i]] for i, f in enumerate((3, 6))]
    _, tree = diff(*sides)
    causes = [walk["cause"] for walk in tree["datasets"]]
    assert causes[0].startswith("raw.diff3d is equal; normalized differs by one factor 2.000")
    assert causes[1].startswith("the data already differ at normalized; ")


def test_a_model_is_explained_with_the_data_it_was_given(diff):
    x = PATTERNS["1e5"]
    a, b = (entry("1e5/test", dose="1e5", model="pinn", boundaries={"input": f * x}) for f in (3, 6))
    a, b = ([data("1e5/test", normalized=3 * x), of_model] for of_model in (a, b))
    _, tree = diff(a, b)
    assert tree["first_different"]["cause"] == "input differs by one factor 2.000: normalisation constant"
