"""Sizes as people write them."""

import re

from ptychodose.errors import UserError

_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{binary}B": (1024 if binary else 1000) ** power
    for power, prefix in enumerate("KMGT", 1)
    for binary in ("", "I")
}


def parse_size(text: str) -> int:
    """Bytes of ``2GB`` (10⁹), ``500 MiB`` (2²⁰) or ``1234``.

    Raises
    ------
    UserError
        Not a size above zero.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", text.strip())
    if found and (unit := _UNITS.get(found[2].upper())) and (size := int(float(found[1]) * unit)):
        return size
    raise UserError(f"--max-size: {text!r} is no size; write it like 2GB, 500MiB or 1000000 (bytes)")


def size_text(n_bytes: int) -> str:
    """Megabytes for people."""
    return f"{n_bytes / 1e6:.1f} MB"
