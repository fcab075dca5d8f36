"""`ptychodose compare`: a yes or no with tolerances, and what is missing is never hidden."""

import json

import pytest

from ptychodose.errors import UserError
from ptychodose.parity.environments import environment_difference
from ptychodose.parity.gate import run_compare
from tests.parity.studies import N_NUMBERS, change, commit, git, metrics, write, write_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A repository whose branch `ours` holds a study; the worktree is on a branch to change it on."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "ours")
    write_study(root)
    commit(root, "Ours")
    git(root, "switch", "--quiet", "-c", "theirs")
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "200")
    return root


@pytest.fixture
def compared(study, capsys):
    """Commit the changes and compare: exit code and what is printed, with every line as it is."""

    def compare(a="ours", b="theirs", as_json=False):
        commit(study, "Theirs")
        code = run_compare(a, b, as_json=as_json)
        return code, capsys.readouterr().out

    return compare


def last(text):
    return text.rstrip().rsplit("\n", 1)[-1]


def test_the_same_study_is_the_same(compared):
    code, text = compared()
    assert code == 0
    assert last(text) == f"same: {N_NUMBERS} numbers of 4 runs agree within their tolerances"


def test_a_difference_as_between_seeds_is_the_same(study, compared):
    change(study, ("pinn", "1e3"), "test", "amplitude.psnr", 30.49)
    change(study, ("supervised", "1e9"), "test", "amplitude.psnr", 29.51)  # by pinn's seeds
    change(study, ("ml", "1e3"), "test", "amplitude.psnr", 30.1)  # exactly the least tolerance
    change(study, ("pinn", "1e9"), "train", "amplitude.frc50_ring", 99)  # frc50 in another unit
    code, text = compared()
    assert code == 0 and "30.0 → 30.5" in text


@pytest.mark.parametrize(
    ("run", "split", "name", "value", "row"),
    [
        (("pinn", "1e3"), "test", "amplitude.psnr", 30.6, ["30", "30.6", "+0.6", "0.5", "floor: pinn 1e3"]),
        (("pinn", "1e3"), "train", "phase.psnr", 30.2, ["30", "30.2", "+0.2", "0.1", "least: 0.1"]),
        (
            ("ml", "1e3"),
            "test",
            "phase.rms_rad",
            0.0203,
            ["0.02", "0.0203", "+0.0003", "0.0002", "least: 1%"],
        ),
        (("ml", "1e3"), "test", "control.ms_ssim", 0.99901, ["0.999", "0.99901", "+1e-05", "9.99e-07"]),
        (("pinn", "1e9"), "test", "collapsed", True, ["False", "True", "–", "–", "must be equal"]),
        (("pinn", "1e9"), "test", "deviance_ratio", None, ["1", "–", "–", "–", "must be equal"]),
    ],
)
def test_a_larger_difference_is_listed_with_its_tolerance(study, compared, run, split, name, value, row):
    change(study, run, split, name, value)
    code, text = compared()
    assert code == 1
    (line,) = [line for line in text.splitlines() if line.startswith(f"{run[0]} {run[1]} {split} {name}")]
    cells = [cell.strip() for cell in line.split(name, 1)[1].split("  ") if cell.strip()]
    assert cells[: len(row)] == row
    assert last(text) == f"different: 1 of {N_NUMBERS} numbers of 4 runs are outside their tolerances"


def test_what_is_undefined_on_both_sides_is_the_same(study, compared):
    change(study, ("ml", "1e3"), "test", "deviance_ratio", None)
    commit(study, "Undefined")
    git(study, "branch", "--force", "ours")
    assert compared()[0] == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing"),
        ("", "not a whole JSON file"),
        ('{"train": {"amplitude_bias": 1', "not a whole JSON file"),
        ('{"train": {"amplitude_bias": NaN}}', "holds NaN, which is no number; undefined is null"),
        ('{"train": {"amplitude_bias": 1e999}}', "holds 1e999, which is no number"),
        ('{"train": {"amplitude": {"psnr": "30"}}}', 'amplitude.psnr is "30", not a number'),
        ("[]", "not a metrics file"),
        ("{}", "not a metrics file"),
        ('{"train": {"collapsed": false}}', "lacks test.amplitude.frc50, test.amplitude.ms_ssim"),
    ],
)
@pytest.mark.parametrize("sides", [("ours", "theirs"), ("theirs", "ours")])
def test_what_cannot_be_compared_is_said_though_all_else_agrees(study, compared, content, reason, sides):
    path = study / "metrics/pinn/1e9.json"
    path.unlink() if content is None else path.write_text(content)
    commit(study, "Broken")
    code, text = compared(*sides)
    assert code == 2
    assert f"theirs: metrics/pinn/1e9.json: {reason}" in text
    assert last(text).startswith("could not compare: 1 files, or numbers of them, are missing or malformed")


def test_a_spread_that_cannot_be_read_is_said(study, compared):
    write(study, "metrics/noise_floor/pinn/1e3.json", {"splits": {"test": {"amplitude.psnr": {"range": 1}}}})
    code, text = compared("theirs", "ours")
    assert code == 2 and "theirs: metrics/noise_floor/pinn/1e3.json: no noise floor" in text


def test_studies_without_metrics_are_not_the_same(study, tmp_path, compared):
    (tmp_path / "empty").mkdir()
    code, text = compared(str(tmp_path / "empty"), str(tmp_path / "empty"))
    assert code == 2 and last(text).startswith("could not compare: neither study has a file")


def test_folders_revisions_and_experiments_are_compared_alike(study, tmp_path, compared):
    change(study, ("ml", "1e3"), "test", "amplitude.psnr", 40.0)
    commit(study, "An experiment")
    git(study, "update-ref", f"refs/exps/ab/{'c' * 38}/brisk-lamp", "HEAD")
    git(study, "reset", "--quiet", "--hard", "ours")
    assert compared("ours", "brisk-lamp")[0] == 1
    assert compared("brisk-lamp", str(write_study(tmp_path / "copy")))[0] == 1
    assert compared(str(tmp_path / "copy"), ".")[0] == 0


def test_an_override_of_the_reference_counts(study, compared):
    change(study, ("pinn", "1e3"), "test", "amplitude.psnr", 33.0)
    params = study / "params.yaml"
    old = params.read_text()
    override = 'overrides: { "pinn/1e3": { amplitude.psnr: 5.0 } }'
    params.write_text(old.replace("overrides: {}", override))
    assert override in params.read_text()
    assert compared("ours", "theirs")[0] == 1
    assert compared("theirs", "ours")[0] == 0


def test_a_reference_without_tolerances_is_judged_by_those_of_the_workspace(study, compared):
    old = study / "params.yaml"
    text = old.read_text()
    old.write_text("seed: 1\n")
    commit(study, "A study of an older version")
    git(study, "branch", "older")
    old.write_text(text)
    code, printed = compared("older", "theirs")
    assert code == 0 and "compare in params.yaml of the workspace" in printed
    old.unlink()
    with pytest.raises(UserError, match=r"compare: missing in older and in the workspace"):
        compared("older", "theirs")


def test_a_mistake_in_the_tolerances_of_a_revision_is_named(study, compared):
    write(study, "params.yaml", "compare: {seed_ranges: 1.0, least: {psn: 1.0}, overrides: {}}")
    with pytest.raises(UserError, match=r"^theirs: params.yaml: compare.least.psn: no such metric"):
        compared("theirs", "ours")


def test_the_difference_of_the_environments_is_printed_where_both_are_known(study, compared):
    def log(version):
        entry = {"name": "1e3/train", "dose": "1e3", "boundaries": [], "trained_in": {"python": version}}
        known = {"packages": {"numpy": version, "scipy": "1"}}
        head = {"schema": "ptychodose/parity/1", "emitter": "t", "scenario_id": "T", "environment": known}
        return head | {"datasets": [entry]}

    write(study, "data/parity/pinn/1e3.json", log("2.4"))
    commit(study, "With a log")
    git(study, "branch", "--force", "ours")
    write(study, "data/parity/pinn/1e3.json", log("2.5"))
    write(study, "data/parity/pinn/1e9.json", "{")
    code, text = compared()
    assert code == 0
    assert [line.split()[:3] for line in text.splitlines() if "2.4" in line] == [
        ["packages.numpy", "2.4", "2.5"],
        ["trained_in.python", "2.4", "2.5"],
    ]
    assert "scipy" not in text and "theirs: data/parity/pinn/1e9.json: not a whole JSON" in text


def test_only_what_differs_between_environments_is_returned():
    a = {"python": "3.11", "packages": {"numpy": "2", "jax": "1"}, "devices": ["cpu:0"]}
    b = {"python": "3.11", "packages": {"numpy": "3", "torch": "2"}, "devices": ["gpu:0"]}
    assert environment_difference(a, b) == [
        ("packages.numpy", "2", "3"),
        ("packages.jax", "1", None),
        ("devices", ["cpu:0"], ["gpu:0"]),
        ("packages.torch", None, "2"),
    ]


def test_json_holds_the_verdict_and_every_number_outside(study, compared):
    change(study, ("pinn", "1e3"), "test", "amplitude.psnr", 31.0)
    write(study, "metrics/novel/1e3.json", metrics())
    code, text = compared(as_json=True)
    found = json.loads(text)
    assert code == found["exit_code"] == 2
    assert found["problems"] == ["ours: metrics/novel/1e3.json: missing"]
    assert found["compared"] == N_NUMBERS
    (outside,) = found["outside"]
    assert (outside["metric"], outside["difference"]) == ("amplitude.psnr", 1.0)
    assert outside["tolerance"] == {"value": 0.5, "origin": "floor: pinn 1e3"}


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_the_verdict_is_one_line_at_any_width(compared, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    _, text = compared()
    assert last(text).startswith("same: ") and last(text).endswith("tolerances")
