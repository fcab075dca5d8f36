"""TensorFlow's variable files (tensor bundle, version 2), read in Python without TensorFlow.

TensorFlow's own reader aborts the whole process on an index that was tampered with (a failed check in C++),
and would have to be installed beside another backend. The format: an index file, which is a sorted-string
table of LevelDB's layout without compression, maps names to BundleEntryProto messages (type, shape, place,
CRC-32C); data files ("shards") hold the raw little-endian values. Every length is checked before it is used,
every checksum before the values are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The one entry of a SavedModel that is no array: how Python objects were nested."""

_FOOTER_BYTES, _MAGIC = 48, 0xDB4775248B80FB57
_MAX_KEY_BYTES, _MAX_ENTRIES, _MAX_RANK = 512, 10_000, 8
_FLOAT32 = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Lanes = npt.NDArray[np.uint32]
"""CRC registers of parts of the data, worked on side by side."""


class DamagedBundleError(ValueError):
    """What is wrong with an index or data file; names the variable where it is one."""


def read_tensor_bundle(index: bytes, shards: Sequence[bytes]) -> dict[str, npt.NDArray[np.float32]]:
    """All arrays by name, float32; the object graph is left out.

    Raises
    ------
    DamagedBundleError
        Anything else than the index and the data files of whole, unsliced float32 variables.
    """
    entries = _table(index)
    header = _message(entries.pop(b"", b""), "the header")
    if header.number(1) != len(shards):
        raise DamagedBundleError(f"its index names {header.number(1)} data files, {len(shards)} are there")
    if header.number(2):
        raise DamagedBundleError("its values are big-endian")
    arrays, left = {}, sum(map(len, shards))
    for key, value in entries.items():
        name = key.decode("utf-8", "replace")
        if name != OBJECT_GRAPH:
            arrays[name] = _array(name, _message(value, name), shards)
            left -= arrays[name].nbytes
            if left < 0:  # else a small file could claim to be many large arrays
                raise DamagedBundleError(f"{name}: variables lie on one another in the data file")
    return arrays


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 3720), for many lanes of the data at a time.

    A CRC is linear: the lanes are worked on side by side, then neighbours are joined by shifting the left
    one over the length of the right one, a 32 x 32 matrix of bits.
    """
    n_lanes = 1 << (len(data).bit_length() // 2)
    per_lane, head = divmod(len(data), n_lanes)
    values = np.frombuffer(data, np.uint8)
    state = np.zeros(n_lanes, np.uint32)
    state[0] = 0xFFFFFFFF
    for value in values[:head]:
        state[:1] = _next(state[:1], value)
    shift = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for column in np.ascontiguousarray(values[head:].reshape(n_lanes, per_lane).T):
        state, shift = _next(state, column), _next(shift, np.uint8(0))
    while len(state) > 1:
        state = _transform(shift, state[0::2]) ^ state[1::2]
        shift = _transform(shift, shift)
    return int(state[0]) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """A CRC as LevelDB and TensorFlow store it."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> Lanes:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = ((table >> 1) ^ (table & 1) * np.uint32(0x82F63B78)).astype(np.uint32)
    return table


_TABLE = _crc_table()


def _next(state: Lanes, byte: npt.NDArray[np.uint8] | np.uint8) -> Lanes:
    following: Lanes = _TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return following


def _transform(matrix: Lanes, vectors: Lanes) -> Lanes:
    result = np.zeros_like(vectors)
    for bit in range(32):
        result ^= matrix[bit] * ((vectors >> bit) & 1)
    return result


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7-bit groups and the position behind it."""
    value = 0
    for group in range(10):
        if at + group >= len(data):
            break
        byte = data[at + group]
        value |= (byte & 0x7F) << (7 * group)
        if byte < 0x80:
            return value, at + group + 1
    raise DamagedBundleError("a number in the index has no end")


def _table(data: bytes) -> dict[bytes, bytes]:
    """Keys and values of a sorted-string table."""
    if len(data) < _FOOTER_BYTES or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise DamagedBundleError("the index is truncated or no TensorFlow index")
    footer = data[-_FOOTER_BYTES:]
    _, at = _varint(footer, 0)  # the first handle is that of the (empty) block of metadata
    _, at = _varint(footer, at)
    found: dict[bytes, bytes] = {}
    behind_last = 0
    for _, handle in _entries(_block(data, *_handle(footer, at))):
        offset, size = _handle(handle, 0)
        if offset < behind_last:  # else a small file could have one block read very often
            raise DamagedBundleError("the blocks of the index are not in order")
        behind_last = offset + size
        for key, value in _entries(_block(data, offset, size)):
            if key in found or len(found) == _MAX_ENTRIES:
                raise DamagedBundleError(f"the index has a name twice or more than {_MAX_ENTRIES} names")
            found[key] = value
    return found


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = _varint(data, at)
    size, _ = _varint(data, at)
    return offset, size


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The entries of a block: it ends in a list of 4-byte restart points, compression and checksum."""
    end = offset + size
    if end + 5 > len(data) or size < 4:
        raise DamagedBundleError("a block of the index lies outside of it")
    if data[end]:
        raise DamagedBundleError("a block of the index is compressed, which TensorFlow does not do by itself")
    if int.from_bytes(data[end + 1 : end + 5], "little") != masked(crc32c(data[offset : end + 1])):
        raise DamagedBundleError("a checksum of the index is wrong")
    restarts = 4 * (1 + int.from_bytes(data[end - 4 : end], "little"))
    if restarts > size:
        raise DamagedBundleError("a block of the index is too short")
    return data[offset : end - restarts]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys, each of which begins like the one before it, with their values."""
    at, key = 0, b""
    while at < len(block):
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        n_value, at = _varint(block, at)
        if shared > len(key) or shared + rest > _MAX_KEY_BYTES or at + rest + n_value > len(block):
            raise DamagedBundleError("an entry of the index is longer than its block or its name too long")
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + n_value]
        at += n_value


@dataclass(frozen=True)
class _Message:
    """The fields of a protocol-buffer message by number, in order."""

    name: str
    fields: dict[int, list[int | bytes]]

    def number(self, field: int) -> int:
        value = self.fields.get(field, [0])[-1]
        if not isinstance(value, int):
            raise DamagedBundleError(f"{self.name}: field {field} of its entry is no number")
        return value

    def messages(self, field: int) -> list["_Message"]:
        values = self.fields.get(field, [])
        return [_message(value if isinstance(value, bytes) else b"\xff", self.name) for value in values]


def _message(data: bytes, name: str) -> _Message:
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, at = _varint(data, at)
        elif (kind := tag & 7) in (_BYTES, _FIXED32, _FIXED64):
            size, at = _varint(data, at) if kind == _BYTES else ({_FIXED32: 4, _FIXED64: 8}[kind], at)
            if at + size > len(data):
                raise DamagedBundleError(f"{name}: its entry in the index is truncated")
            value = data[at : at + size]
            value = value if kind == _BYTES else int.from_bytes(value, "little")
            at += size
        else:
            raise DamagedBundleError(f"{name}: its entry in the index is damaged")
        fields.setdefault(tag >> 3, []).append(value)
    return _Message(name, fields)


def _array(name: str, entry: _Message, shards: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """Fields of BundleEntryProto: 1 type, 2 shape, 3 shard, 4 offset, 5 size, 6 CRC-32C, 7 slices."""
    if entry.number(1) != _FLOAT32 or 7 in entry.fields:
        raise DamagedBundleError(f"{name}: it is not a whole float32 array (type {entry.number(1)})")
    dimensions = [dimension.number(1) for shape in entry.messages(2) for dimension in shape.messages(2)]
    shard, offset, size = (entry.number(field) for field in (3, 4, 5))
    if len(dimensions) > _MAX_RANK or 4 * math.prod(dimensions) != size:
        raise DamagedBundleError(f"{name}: its shape does not fit its {size} bytes")
    if shard >= len(shards) or offset + size > len(shards[shard]):
        raise DamagedBundleError(f"{name}: its values lie outside the data file, which may be truncated")
    data = shards[shard][offset : offset + size]
    if masked(crc32c(data)) != entry.number(6):
        raise DamagedBundleError(f"{name}: the checksum of its values is wrong")
    return np.frombuffer(data, "<f4").reshape(dimensions).astype(np.float32)
