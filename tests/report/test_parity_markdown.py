"""The log for reading: every data set with a row for every boundary, whatever the log holds."""

import numpy as np

from ptychodose.parity.emitter import SCHEMA, entry, plain
from ptychodose.parity.schema import ParityLog
from ptychodose.report.parity_markdown import parity_markdown


def log(*entries, **more):
    tree = {"schema": SCHEMA, "emitter": "port 1", "scenario_id": "S", "datasets": list(entries)}
    return ParityLog.model_validate(plain(tree | more))


def tables(text):
    """Rows of cells of every table; each has the width of its header."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")])
        elif rows:
            assert len({len(row) for row in rows}) == 1
            found.append(rows)
            rows = []
    return found


PATTERNS = np.zeros((2, 3, 4), np.float32)
PATTERNS[0] = 2


def test_every_boundary_has_a_row_and_every_number_of_the_dose_too():
    part = entry("1e5/train", dose="1e5", boundaries={"raw.diff3d": PATTERNS, "dose": {"mean_photons": 1e5}})
    text = parity_markdown(log(part))
    _, stages, dose = tables(text)
    assert stages[0] == [
        "boundary",
        "shape",
        "dtype",
        "mean",
        "std",
        "min",
        "median",
        "max",
        "zeros",
        "SHA-256",
    ]
    digest = part["boundaries"][0]["array"]["sha256"]
    assert stages[2] == ["raw.diff3d", "2 × 3 × 4", "float32", "1", "1", "0", "0", "2", "50.00%", digest[:12]]
    assert dose[2:] == [["mean_photons", "100000"]]
    assert "## 1e5/train\n\n1e5 photons per pattern" in text


def test_all_data_sets_are_there_with_and_without_a_model():
    parts = [entry(f"{dose}/train", dose=dose, boundaries={"dose": {"a": 1}}) for dose in ("1e3", "1e4")]
    parts.append(entry("1e3/train", dose="1e3", model="pinn", boundaries={"rates": PATTERNS}))
    text = parity_markdown(log(*parts))
    for title in ("## 1e3/train\n", "## 1e4/train\n", "## 1e3/train, pinn\n"):
        assert title in text


def test_a_problem_stands_at_the_top_and_at_its_data_set():
    broken = {"name": "1e4/test", "dose": "1e4", "problem": "x.npz: diff3d: missing key", "boundaries": []}
    text = parity_markdown(log(broken, warnings=["dose mismatch"]))
    assert text.count("x.npz: diff3d: missing key") == 2
    assert text.index("## Warnings") < text.index("dose mismatch") < text.index("## 1e4/test")
    assert "1, 1 with problems" in text


def test_baseline_environment_and_definitions_are_shown():
    array = {"name": "raw.diff3d", "array": {"shape": [5], "dtype": "float32"}, "definition": "imported"}
    part = {"name": "a", "dose": None, "file": {"path": "a.npz", "size_bytes": 7}, "boundaries": [array]}
    baseline = {"source": "params.dill", "parameters": {"N": 64}, "metrics": {"mae": {"phase": None}}}
    text = parity_markdown(log(part, baseline=baseline, environment={"packages": {"numpy": "2"}}))
    assert "| packages.numpy | 2 |" in text and "| N | 64 |" in text and "| mae.phase | – |" in text
    assert "- raw.diff3d: imported" in text
    assert "no declared dose; `a.npz`, 7 bytes" in text
    assert "| raw.diff3d | 5 | float32 | – | – | – | – | – | – | – |" in text


def test_what_a_log_holds_cannot_break_a_table():
    part = {"name": "a|b\n# c", "dose": None, "boundaries": [{"name": "x|y", "values": {"k|": "1\n|2" * 99}}]}
    text = parity_markdown(log(part, environment={"a|b": ["x|y"]}))
    assert tables(text) and "\n# c" not in text
