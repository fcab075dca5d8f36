"""Reading a parity log: what is no log is refused in one sentence that names file, key and rule."""

import json

import pytest

from ptychodose.errors import UserError
from ptychodose.parity.emitter import SCHEMA
from ptychodose.parity.schema import read_log


def tree(**changed):
    entry = {"name": "1e5/train", "dose": "1e5", "boundaries": [{"name": "dose", "values": {}}]}
    return {"schema": SCHEMA, "emitter": "port 1", "scenario_id": "S", "datasets": [entry]} | changed


@pytest.fixture
def refusal(tmp_path):
    def refuse(text):
        path = tmp_path / "log.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError) as caught:
            read_log(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refuse


def test_a_log_may_hold_more_than_is_known_here(tmp_path):
    path = tmp_path / "log.json"
    path.write_text(json.dumps(tree(colour="blue")))
    log = read_log(path)
    assert log.datasets[0].key == ("1e5/train", "")
    assert log.warnings == []


def test_a_newer_schema_asks_for_a_newer_program(refusal):
    assert "install a newer ptychodose" in refusal(json.dumps(tree(schema="ptychodose/parity/2")))


@pytest.mark.parametrize("schema", ["ptychodose/dataset/1", "ptychodose/parity/x", None, 7])
def test_another_schema_is_no_parity_log(refusal, schema):
    assert refusal(json.dumps(tree(schema=schema))).startswith("schema: not a parity log")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"log"'])
def test_another_tree_is_no_parity_log(refusal, text):
    assert refusal(text).startswith("schema: not a parity log")


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.99])
def test_a_truncated_log_is_refused(refusal, fraction):
    text = json.dumps(tree())
    assert refusal(text[: int(fraction * len(text))]).startswith("not a whole JSON file")


def test_a_file_that_is_no_text_is_refused(refusal):
    assert refusal(b"\x80\x04\xff").startswith("not a text file")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_log(tmp_path / "log.json")


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("datasets", {"datasets": 3}),
        ("datasets.0.boundaries", {"datasets": [{"name": "a", "dose": None}]}),
        ("emitter", {"emitter": None}),
        (
            "datasets.0.boundaries.0.array.sha256",
            {"datasets": [{"name": "a", "dose": None, "boundaries": [
                {"name": "x", "array": {"shape": [1], "dtype": "int8", "sha256": "../../etc"}}]}]},
        ),
        (
            "datasets.0.boundaries.0.array.projection",
            {"datasets": [{"name": "a", "dose": None, "boundaries": [
                {"name": "x", "array": {"shape": [1], "dtype": "int8", "projection": [1.0]}}]}]},
        ),
        (
            "datasets.0.boundaries.0.array.shape.0",
            {"datasets": [{"name": "a", "dose": None, "boundaries": [
                {"name": "x", "array": {"shape": [-1], "dtype": "int8"}}]}]},
        ),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_its_key(refusal, key, changed):
    assert refusal(json.dumps(tree(**changed))).startswith(f"{key}: ")
