"""Legacy .dill files: what the pipeline wrote is read, and nothing that a pickle can do is done."""

import builtins
import collections
import functools
import os
import pathlib
import pickle
import struct
import types

import dill
import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats import legacy_dill
from ptychodose.formats.legacy_dill import read_legacy_dill


@pytest.fixture
def write(tmp_path):
    def write(content, name="params.dill"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=4))
        return path

    return write


@pytest.fixture
def refusal(write, tmp_path):
    def refuse(content):
        path = write(content)
        with pytest.raises(UserError) as caught:
            read_legacy_dill(path)
        assert [one.name for one in tmp_path.iterdir()] == [path.name], "something was run"
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 500
        return message.removeprefix(f"{path}: ")

    return refuse


def pickled(*opcodes):
    return b"\x80\x04" + b"".join(opcodes) + b"."


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def name(module, attribute):
    """STACK_GLOBAL, whose attribute may hold dots."""
    return text(module) + text(attribute) + b"\x93"


class Call:
    """Pickles into a call."""

    def __init__(self, function, *arguments, state=None):
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.made


def test_the_parameters_of_a_legacy_run(legacy_run):
    folder = legacy_run / "results_p1e5" / "train_1024" / "trial_1"
    found = read_legacy_dill(folder / "pinn_run" / "params.dill")
    assert (found["N"], found["nphotons"], found["model_type"]) == (64, 1e5, "pinn")
    assert found["train_data_file"] == "photon_grid/data_p1e5.npz"
    assert found["probe"].shape == (64, 64, 1) and found["probe"].dtype == np.complex64
    assert found["intensity_scale"] == pytest.approx(1e5**0.5 / 32)
    metrics = read_legacy_dill(folder / "baseline_run" / "params.dill")
    assert metrics["frc50"] == (12, None)


def test_a_legacy_reconstruction(legacy_run):
    folder = legacy_run / "results_p1e5" / "train_1024" / "trial_1"
    found = read_legacy_dill(folder / "pinn_run" / "recon.dill")
    stitched = np.load(folder / "pinn_run" / "stitched_pinn_p1e5.npy")
    assert found["stitched_obj_amp"].dtype == np.float32
    if stitched.shape == found["stitched_obj_amp"].shape:
        np.testing.assert_allclose(np.abs(stitched), found["stitched_obj_amp"], rtol=1e-5, atol=1e-6)


VALUES = {
    "numbers": [1, -(2**40), 2.5, True, None, 3 + 4j],
    "text": ["ü", b"bytes", ""],
    "nested": {"a": ({"b": [1, (2, 3)]},)},
    "set": {1, 2},
    "frozen": frozenset({"x"}),
}
ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(4, dtype=">i4"),
    np.array([1 + 2j], np.complex64),
    np.array([True, False]),
    np.array(["ab", "c"]),
    np.array(3.5),
]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dumps", [pickle.dumps, dill.dumps])
def test_plain_values_and_arrays_come_back_whatever_wrote_them(write, protocol, dumps):
    tree = VALUES | {"arrays": ARRAYS, "scalar": np.float32(1.5), "integer": np.int64(7)}
    found = read_legacy_dill(write(dumps(tree, protocol=protocol)))
    assert {key: found[key] for key in VALUES} == VALUES
    assert (found["scalar"], found["integer"]) == (1.5, 7)
    assert type(found["scalar"]) is float and type(found["integer"]) is int
    for array, expected in zip(found["arrays"], ARRAYS, strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_numpy_1_and_2_name_their_arrays_differently(write):
    content = pickle.dumps({"a": np.arange(3.0)}, protocol=2)
    assert b"numpy._core.multiarray" in content
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert read_legacy_dill(write(old))["a"].tolist() == [0, 1, 2]


def test_containers_and_paths_become_plain(write):
    tree = {
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, {"b": [2]}),
        "posix": pathlib.PurePosixPath("data/x.npz"),
        "windows": pathlib.PureWindowsPath("C:/data/x.npz"),
        "slice": slice(1, 5, None),
        "bytes": bytearray(b"abc"),
        "dtype": np.dtype("float32"),
    }
    assert read_legacy_dill(write(tree)) == {
        "ordered": {"a": 1},
        "default": {"b": [2]},
        "posix": "data/x.npz",
        "windows": "C:\\data\\x.npz",
        "slice": [1, 5, None],
        "bytes": b"abc",
        "dtype": "float32",
    }


def test_objects_of_legacy_classes_are_their_attributes(write):
    config = name("ptycho.config.config", "ModelConfig") + b")\x81" + b"}" + text("N") + b"K\x40" + b"sb"
    member = name("ptycho.workflows", "Mode") + text("train") + b"\x85R"
    content = pickled(b"}", text("config"), config, b"s", text("mode"), member, b"s",
                      text("kind"), name("ptycho.model", "Net"), b"s")  # fmt: skip
    found = read_legacy_dill(write(content))
    assert found == {"config": {"N": 64}, "mode": "train", "kind": "ptycho.model.Net"}


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch trace",)),
        (builtins.eval, ("open('trace', 'w')",)),
        (builtins.exec, ("open('trace', 'w')",)),
        (builtins.open, ("trace", "w")),
        (builtins.getattr, (1, "real")),
        (builtins.__import__, ("os",)),
        (functools.partial, (os.system, "touch trace")),
        (types.SimpleNamespace, ()),
        (np.zeros, (10**10,)),
        (np.load, ("x.npy",)),
        (bytearray().__class__.fromhex, ("00",)),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_any_other_name_is_refused_by_name_and_not_called(
    refusal, tmp_path, monkeypatch, function, arguments, protocol
):
    monkeypatch.chdir(tmp_path)
    message = refusal(pickle.dumps({"a": Call(function, *arguments)}, protocol=protocol))
    assert message.startswith("refused: it names ") and message.endswith("none of it was loaded")
    assert function.__name__.split(".")[-1] in message or "getattr" in message


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("numpy", "core.os.system"),
        ("numpy", "dtype.__class__"),
        ("builtins", "dict.__class__"),
        ("pathlib", "os.system"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("ptycho.model", "os.system"),
        ("ptycho.model.os", "system.__call__"),
        ("ptychoevil", "run"),
        ("ptycho\n.x", "run"),
        ("dill._dill", "_create_type"),
        ("dill._dill", "_create_function"),
        ("dill._dill", "_import_module"),
        ("numpy.core.multiarray", "fromfile"),
        ("os", "x" * 10_000),
        ("os", "\x1b[2J\nroot:"),
    ],
)
def test_dots_do_not_lead_from_an_allowed_name_to_another(refusal, module, attribute):
    message = refusal(pickled(b"}", text("a"), name(module, attribute), text("x") + b"\x85R", b"s"))
    assert message.startswith("refused: it names ")


@pytest.mark.parametrize("kind", ["FunctionType", "CodeType", "type", "object", "PartialType", "FileType"])
def test_types_that_dill_names_are_those_of_plain_values(refusal, kind):
    content = pickled(b"}", text("a"), name("dill._dill", "_load_type"), text(kind) + b"\x85R", b"s")
    assert f"it names the type '{kind}'" in refusal(content)


def test_a_name_of_a_legacy_module_is_never_looked_up(write, tmp_path, monkeypatch):
    (tmp_path / "ptycho").mkdir()
    (tmp_path / "ptycho" / "__init__.py").write_text("open('trace', 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    content = pickled(b"}", text("a"), name("ptycho", "run"), text("x") + b"\x85R", b"s")
    assert read_legacy_dill(write(content)) == {"a": "x"}
    assert not (tmp_path / "trace").exists()


ARRAY = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
DTYPE = name("numpy", "dtype")


def array(shape=b"K\x02\x85", dtype="f8", data=b"C\x10" + bytes(16), version=b"K\x01"):
    """An array's opcodes, piece by piece."""
    made = DTYPE + text(dtype) + b"\x89\x88\x87R"
    return pickled(b"}", text("a"), ARRAY, b"(" + version + shape + made + b"\x89" + data + b"tb", b"s")


def test_arrays_need_the_bytes_they_claim(write, refusal):
    assert read_legacy_dill(write(array()))["a"].tolist() == [0, 0]
    huge = b"\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85"
    assert "which is not what its shape and type need" in refusal(array(shape=huge))
    assert "bytes" in refusal(array(data=b"C\x08" + bytes(8)))
    assert "impossible shape" in refusal(array(shape=b"J\xff\xff\xff\xff\x85"))
    assert "stands where" in refusal(array(shape=b"K\x02"))
    assert "stands where" in refusal(array(data=b"]"))


@pytest.mark.parametrize("dtype", ["O", "O8", "V8", "f8,O", "M8", "f8\n", "(2,)O", "x" * 1000])
def test_arrays_hold_numbers_or_text_only(refusal, dtype):
    assert "only numbers and text are read" in refusal(array(dtype=dtype))


def test_arrays_of_objects_and_of_records_are_refused(refusal):
    assert refusal({"a": np.array([1, "x", None], dtype=object)}).startswith("refused: ")
    assert refusal({"a": np.array([Call(os.system, "touch trace")], dtype=object)}).startswith("refused: ")
    assert refusal({"a": np.zeros(2, [("x", "f8")])}).startswith("refused: ")


def test_an_array_of_a_class_of_its_own_is_refused(refusal):
    assert refusal({"a": np.ma.array([1, 2])}).startswith("refused: it names ")
    content = array().replace(text("ndarray"), text("dtype"))
    assert "an array of the class numpy.dtype" in refusal(content)


@pytest.mark.parametrize(
    "target",
    [b"}", b"]", name("ptycho.model", "Net"), name("numpy", "ndarray"), name("builtins", "list"), text("x")],
)
def test_the_state_of_a_thing_that_has_none_is_refused(refusal, target):
    state = b"}" + text("__setstate__") + name("builtins", "list") + b"s"
    assert "sets the state of" in refusal(pickled(b"}", text("a"), target, state, b"b", b"s"))


def test_a_setstate_in_a_state_is_a_word_like_any_other(write):
    made = name("ptycho.model", "Net") + b")\x81" + b"}" + text("__setstate__") + text("__class__") + b"sb"
    content = pickled(b"}", text("a"), made, b"s")
    assert read_legacy_dill(write(content)) == {"a": {"__setstate__": "__class__"}}


@pytest.mark.parametrize(
    ("opcode", "content"),
    [
        ("PERSID", b"Pid\n"),
        ("BINPERSID", text("id") + b"Q"),
        ("EXT1", b"\x82\x01"),
        ("EXT2", b"\x83\x01\x00"),
        ("EXT4", b"\x84\x01\x00\x00\x00"),
        ("INST", b"(ios\nsystem\n"),
        ("OBJ", b"(" + name("builtins", "list") + b"o"),
        ("NEWOBJ_EX", name("ptycho.x", "Y") + b")}\x92"),
        ("NEXT_BUFFER", b"\x97"),
        ("READONLY_BUFFER", b"N\x98"),
    ],
)
def test_opcodes_that_plain_values_do_not_need_are_refused(refusal, opcode, content):
    assert f"opcode {opcode} has no place" in refusal(pickled(b"}", text("a"), content, b"s"))


@pytest.mark.parametrize("fraction", [0, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(refusal, fraction):
    content = pickle.dumps({"a": np.arange(50.0), "b": ["x"] * 20}, protocol=4)
    assert "not a whole pickle" in refusal(content[: int(fraction * len(content))])


def test_damaged_bytes_are_read_or_refused_but_never_anything_else(write):
    content = pickle.dumps({"a": np.arange(5.0), "b": [1, {"c": "d"}], "p": pathlib.PurePosixPath("x")}, 4)
    rng = np.random.default_rng(1)
    for _ in range(1500):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        try:
            read_legacy_dill(write(bytes(damaged)))
        except UserError as error:
            assert "\n" not in str(error)


def doubled(levels=60):
    """A tuple that holds the one before it twice, ``levels`` times over."""
    twice = (b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(levels))
    return b"K\x01\x94" + b"".join(twice)


def test_short_files_that_stand_for_much_are_refused(refusal):
    assert "nested more than" in refusal(pickled(b"}", text("a"), doubled(), b"s"))
    assert "more than 1000000 values" in refusal(pickled(b"}", text("a"), doubled(25), b"s"))
    lists = b"0".join(b"]\x94(" + (b"K\x01", b"h\x00", b"h\x01")[i] + b"2" * 999 + b"e" for i in range(3))
    assert "more than 1000000 values" in refusal(pickled(b"}", text("a"), lists, b"s"))
    strings = b"](" + text("x" * 10_000) + b"2" * 1000 + b"e"
    assert "more than 1000000 values" in refusal(pickled(b"}", text("a"), strings, b"s"))


def test_a_bottomless_value_and_one_that_holds_itself_are_refused(refusal):
    assert "nested more than" in refusal(pickled(b"}", text("a"), b"]" * 50_000 + b"a" * 49_999, b"s"))
    assert "nested more than" in refusal(pickled(b"}\x94", text("a"), b"h\x00", b"s"))
    # The hash of such a key would overflow the stack, or never end.
    assert "is a key of a dictionary" in refusal(pickled(b"}", b")" + b"\x85" * 100_000, b"N", b"s"))
    assert "is a key of a dictionary" in refusal(pickled(b"}", doubled(), b"N", b"s"))


def test_memory_is_bounded_by_the_file(refusal, monkeypatch):
    assert "not a whole pickle" in refusal(b"\x80\x04B\xff\xff\xff\x7fx.")  # 2 GiB announced
    assert "not a whole pickle" in refusal(b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.")
    assert "dictionary" in refusal(pickled(b"Nr\xff\xff\xff\x7f"))  # place 2^31 in the memo
    assert "more than 200000 values" in refusal(pickled(b"N0" * 100_001))
    assert "an integer of" in refusal(pickled(b"\x8b" + struct.pack("<i", 100) + b"\x01" * 100))
    copies = (
        name("builtins", "list") + b"\x94" + b"](" + b"N" * 10_000 + b"e\x85\x94" + b"h\x00h\x01R0" * 2000
    )
    assert "more memory than the file" in refusal(pickled(b"}", text("a"), copies, b"s"))
    monkeypatch.setattr(legacy_dill, "MAX_BYTES", 100)
    assert "larger than" in refusal({"a": "x" * 200})


@pytest.mark.parametrize("value", [[1], "text", None, 3, np.arange(3)])
def test_a_file_of_something_else_than_a_dictionary_is_refused(refusal, value):
    assert "not a dictionary of parameters" in refusal(value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_legacy_dill(tmp_path / "params.dill")


def test_a_file_of_no_pickle_is_refused(refusal):
    assert "not a whole pickle" in refusal(b"label: baseline\n")
