"""gzip without compression, whose bytes are the same everywhere.

Two builds of zlib may pack the same bytes differently, even at level 0; and there is little to gain: datasets
are packed already, weights and reconstructions are noise to a packer (10 % of a study). So the tar is stored
in deflate's stored blocks, which any gunzip reads, and whose size is known before a byte is written.
"""

import struct
import zlib

from ptychodose.bundle.pieces import Writer

_BLOCK = 65535
"""The most a stored block holds."""
_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"  # no name, no time, unknown system
_LAST = b"\x01\x00\x00\xff\xff"


def stored_size(n_bytes: int) -> int:
    """Size in bytes of the gzip file that holds so many."""
    return len(_HEADER) + n_bytes + 5 * -(-n_bytes // _BLOCK) + len(_LAST) + 8


class StoredGzip:
    """Write bytes as a gzip file of stored blocks; ``close`` completes it and leaves the target open."""

    def __init__(self, target: Writer) -> None:
        self._target = target
        self._waiting = bytearray()
        self._crc = self._size = 0
        target.write(_HEADER)

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self._crc, self._size = zlib.crc32(data, self._crc), self._size + len(data)
        self._waiting += data
        n_whole = len(self._waiting) // _BLOCK * _BLOCK
        for start in range(0, n_whole, _BLOCK):
            self._block(bytes(self._waiting[start : start + _BLOCK]))
        del self._waiting[:n_whole]

    def close(self) -> None:
        """Write what waits, and the end."""
        if self._waiting:
            self._block(bytes(self._waiting))
        self._target.write(_LAST + struct.pack("<II", self._crc, self._size % 2**32))

    def _block(self, data: bytes) -> None:
        self._target.write(struct.pack("<BHH", 0, len(data), len(data) ^ 0xFFFF) + data)
