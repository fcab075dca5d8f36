"""A legacy checkpoint is read as TensorFlow reads it; whatever else is in such a file is refused."""

import struct
import warnings
import zipfile

import numpy as np
import pytest

from ptychodose.errors import UserError
from ptychodose.formats.legacy_checkpoint import read_legacy_variables
from ptychodose.formats.tensor_bundle import DamagedBundleError, crc32c, masked, read_tensor_bundle

FOLDER = "wts.h5_diffraction_to_obj/variables/"
INDEX, DATA = FOLDER + "variables.index", FOLDER + "variables.data-00000-of-00001"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(11)
    shapes = {"layer_with_weights-0/kernel": (3, 3, 1, 4), "layer_with_weights-0/bias": (4,), "scalar": ()}
    many = {f"layer_with_weights-{i}/bias": (i,) for i in range(1, 300)}  # more than one block of the index
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in (shapes | many | {"no": (0,)}).items()
    }


@pytest.fixture(scope="module")
def save_bundle(tmp_path_factory):
    """Index and data file as TensorFlow writes them."""
    tf = pytest.importorskip("tensorflow")

    def save(variables):
        prefix = tmp_path_factory.mktemp("bundle") / "variables"
        names = [name + SUFFIX for name in variables] + ["_CHECKPOINTABLE_OBJECT_GRAPH"]
        tensors = [*map(tf.constant, variables.values()), tf.constant(b"graph")]
        tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
        )
        return {INDEX: prefix.with_name("variables.index").read_bytes()} | {
            FOLDER + path.name: path.read_bytes() for path in prefix.parent.glob("variables.data-*")
        }

    return save


@pytest.fixture(scope="module")
def members(save_bundle, variables):
    return save_bundle(variables)


@pytest.fixture
def write(tmp_path):
    """An archive of (name or ZipInfo, content); returns its path."""

    def write(contents, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "wts.h5.zip"
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
            warnings.simplefilter("ignore")  # names that are there twice
            for name, content in dict(contents).items() if isinstance(contents, dict) else contents:
                archive.writestr(name, content)
        return path

    return write


def refusal(path):
    """The message: one line that begins with the file."""
    with pytest.raises(UserError) as caught:
        read_legacy_variables(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def set_index(members, replace):
    """The members with bytes of the first block of their index replaced, checksum corrected."""
    index = bytearray(members[INDEX])
    footer, numbers, at = index[-48:], [], 0
    while len(numbers) < 4:
        end = next(i for i in range(at, 48) if footer[i] < 0x80)
        numbers.append(sum((byte & 0x7F) << 7 * i for i, byte in enumerate(footer[at : end + 1])))
        at = end + 1
    size = numbers[0] - 5  # one block of data lies before that of metadata
    block = replace(bytes(index[:size]))
    assert len(block) == size
    index[: size + 5] = block + b"\0" + struct.pack("<I", masked(crc32c(block + b"\0")))
    return members | {INDEX: bytes(index)}


def test_variables_are_what_tensorflow_reads(write, members, variables):
    found = read_legacy_variables(write(members))
    assert found.keys() == variables.keys()
    for name, array in variables.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_a_real_checkpoint_is_what_tensorflow_reads(legacy_run, tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = next(legacy_run.rglob("wts_variables_only.h5.zip"))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    reader = tf.train.load_checkpoint(str(tmp_path / FOLDER / "variables"))
    found = read_legacy_variables(path)
    assert len(found) == 44 == len(reader.get_variable_to_shape_map()) - 1
    for name, array in found.items():
        np.testing.assert_array_equal(array, reader.get_tensor(name + SUFFIX))


def test_other_members_are_not_read(write, members):
    secret = zipfile.ZipInfo("wts.h5_diffraction_to_obj/custom_objects.dill")
    contents = [*members.items(), (secret, b"\x80\x04cos\nsystem\n"), ("variables/variables.txt", b"")]
    assert read_legacy_variables(write(contents))


def test_of_several_models_the_one_from_patterns_to_object_is_read(write, members, save_bundle, variables):
    other = save_bundle({"x": np.zeros(1, np.float32)})
    both = members | {name.replace("diffraction_to_obj", "autoencoder"): c for name, c in other.items()}
    assert read_legacy_variables(write(both)).keys() == variables.keys()
    unknown = {name.replace("diffraction_to_obj", "b"): c for name, c in both.items()}
    assert "one folder variables/" in refusal(write(unknown))


def test_values_in_several_data_files_are_read(write, tmp_path, variables):
    tf = pytest.importorskip("tensorflow")
    names = list(variables)[:6]
    for i, part in enumerate((names[:3], names[3:])):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / f"part{i}"),
            tensor_names=[name + SUFFIX for name in part],
            shape_and_slices=[""] * 3,
            tensors=[tf.constant(variables[name]) for name in part],
        )
    prefixes = [str(tmp_path / f"part{i}") for i in range(2)]
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=prefixes, destination_prefix=str(tmp_path / "variables"), delete_old_dirs=False
    )
    members = {f"variables/{path.name}": path.read_bytes() for path in tmp_path.glob("variables.*")}
    assert len(members) == 3
    found = read_legacy_variables(write(members))
    assert all(np.array_equal(found[name], variables[name]) for name in names)
    del members["variables/variables.data-00001-of-00002"]
    assert refusal(write(members))


def test_no_file_no_zip_and_a_truncated_zip_are_refused(tmp_path, write, members):
    assert "not found" in refusal(tmp_path / "absent.zip")
    assert "not a complete zip" in refusal(tmp_path)
    path = tmp_path / "text.zip"
    path.write_text("weights")
    assert "not a complete zip" in refusal(path)
    path = write(members)
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a complete zip" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "../variables/variables.index",
        "/variables/variables.index",
        "a/../../variables/variables.index",
        "..\\variables\\variables.index",
        "C:/variables/variables.index",
        "../../.bashrc",
    ],
)
def test_a_member_outside_the_archive_is_refused(write, members, name, tmp_path):
    assert "not to be trusted" in refusal(write(members | {name: b"x"}))
    assert [path.name for path in tmp_path.iterdir()] == ["wts.h5.zip"]


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_a_member_that_is_a_link_is_refused(write, members, name):
    link = zipfile.ZipInfo(name)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    contents = [(link, b"/etc/passwd") if key == name else (key, c) for key, c in members.items()]
    assert f"{name}: a symbolic link" in refusal(write(contents))


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_a_member_that_is_there_twice_is_refused(write, members, name):
    assert f"{name}: it is in the archive twice" in refusal(write([*members.items(), (name, b"x")]))


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_an_encrypted_member_is_refused(write, members, name):
    path = write(members)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(name.encode()))
    raw[at + 8] |= 1
    path.write_bytes(raw)
    assert f"{name}: encrypted" in refusal(path)


def test_an_unusual_compression_is_refused(write, members):
    assert "packed by an unusual method" in refusal(write(members, zipfile.ZIP_LZMA))


def test_a_zip_bomb_is_refused(write, members):
    assert "times its size" in refusal(write(members | {DATA: bytes(2**24)}))
    assert "more than any legacy network" in refusal(write(members | {INDEX: bytes(2**21)}))


@pytest.mark.parametrize("claimed", [10, 2**19, 2**31])
def test_a_member_of_another_size_than_claimed_is_refused(write, members, claimed):
    path = write(members)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(DATA.encode()))
    raw[at + 24 : at + 28] = struct.pack("<I", claimed)
    path.write_bytes(raw)
    assert f"{DATA}: " in refusal(path)


@pytest.mark.parametrize("name", [INDEX, DATA])
def test_missing_truncated_or_damaged_members_are_refused(write, members, name):
    assert "variables.index or variables.data-… is missing" in refusal(
        write({key: content for key, content in members.items() if key != name})
    )
    content = members[name]
    for size in (0, 1, 47, len(content) // 2, len(content) - 30):
        assert "copy the file again" in refusal(write(members | {name: content[:size]}))
    for at in (len(content) // 4, len(content) // 2, 3 * len(content) // 4):
        damaged = bytearray(content)
        damaged[at] ^= 64
        assert "copy the file again" in refusal(write(members | {name: bytes(damaged)}))


def test_damage_within_the_archive_is_refused(write, members):
    path = write(members, zipfile.ZIP_STORED)
    raw = path.read_bytes()
    at = raw.index(members[DATA]) + 100
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    assert f"{DATA}: damaged or truncated" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused(write, save_bundle, value):
    path = write(save_bundle({"a": np.zeros(3, np.float32), "b": np.array([1, value], np.float32)}))
    assert f"{path}: b: it holds values that are not finite" in refusal(path)


@pytest.mark.parametrize("array", [np.zeros(3, np.float64), np.zeros(3, np.int64), np.array([b"a"])])
def test_another_type_is_refused(write, save_bundle, array):
    path = write(save_bundle({"a": array}))
    assert f"{path}: a: it is not a whole float32 array" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        # Field 2 (shape) of dimensions 3 and 5: TensorFlow aborts the process on some of these.
        (
            b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\x05",
            b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\x7f",
            "its shape",
        ),
        (b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\x05", b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\xff", "no end"),
        (
            b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\x05",
            b"\x12\x7f\x12\x02\x08\x03\x12\x02\x08\x05",
            "truncated",
        ),
        (b"\x12\x08\x12\x02\x08\x03\x12\x02\x08\x05", b"\x17\x08\x12\x02\x08\x03\x12\x02\x08\x05", "damaged"),
        (b"\x28\x3c", b"\x28\x38", "its shape"),  # field 5, size
        (b"\x28\x3c", b"\x18\x01", "its shape"),
        (b"\x08\x01\x12\x08", b"\x08\x03\x12\x08", "not a whole float32"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(write, save_bundle, old, new, what):
    members = save_bundle({"a": np.ones((3, 5), np.float32)})

    def replace(block):
        assert block.count(old) == 1
        return block.replace(old, new)

    assert what in refusal(write(set_index(members, replace)))


def test_no_byte_of_an_index_leads_to_anything_but_a_refusal(save_bundle):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    members = save_bundle({"a": array, "ab": array})
    assert set_index(members, lambda block: block) == members
    refused = 0
    rng = np.random.default_rng(5)
    for at in range(60):
        value = rng.integers(256, dtype=np.uint8).tobytes()
        changed = set_index(members, lambda block, at=at, value=value: block[:at] + value + block[at + 1 :])
        try:
            found = read_tensor_bundle(changed[INDEX], [changed[DATA]])
            assert all(np.isin(values, array).all() for values in found.values())
        except DamagedBundleError:
            refused += 1
    assert refused > 20


def test_variables_that_lie_on_one_another_are_refused(save_bundle):
    members = save_bundle({"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)})
    changed = set_index(members, lambda block: block.replace(b"\x20\x10\x28\x10", b"\x20\x00\x28\x10"))
    data = members[DATA]
    assert len(read_tensor_bundle(changed[INDEX], [data])) == 2
    with pytest.raises(DamagedBundleError, match="on one another"):
        read_tensor_bundle(changed[INDEX], [data[:16]])


@pytest.mark.parametrize("size", [*range(18), 1000, 4097])
def test_crc32c_is_that_of_a_bit_by_bit_division(size):
    data = np.random.default_rng(size).bytes(size)
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data) == register ^ 0xFFFFFFFF


def test_crc32c_of_the_standard():
    """RFC 3720, B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
