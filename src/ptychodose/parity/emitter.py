# SPDX-License-Identifier: 0BSD (use, copy, change and give away as you like; no warranty)
"""Write a parity log from any NumPy program: copy this one file into it. It needs nothing but NumPy.

    part = entry("1e5/train", dose="1e5", boundaries={"raw.diff3d": patterns, "dose": {"mean_photons": 1e5}})
    write_log("parity_log.json", [part], scenario_id="MINE", emitter="my-port 1", environment={"torch": "2"})

The names of the boundaries and the meaning of every number: docs/parity.md of ptychodose.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

SCHEMA = "ptychodose/parity/1"
PERCENTILES = (1, 10, 50, 90, 99)
TILES = 16  # the thumbnail has 16 x 16 tiles
BUCKETS = 61  # numbers in the projection: a prime, so that they do not line up with rows or columns
PERIOD = 2**20  # of the signs; the projection repeats itself after PERIOD * BUCKETS numbers only


def signs() -> Any:
    """(PERIOD,) of +1, -1: is x_i < 2^30, where x_0 = 1, x_(i+1) = 16807 x_i mod (2^31 - 1)?"""
    x = np.ones(1, np.int64)
    while len(x) < PERIOD:  # x_(i+m) = 16807^m x_i
        x = np.append(x, x * pow(16807, len(x), 2**31 - 1) % (2**31 - 1))
    return np.where(x < 2**30, 1, -1).astype(np.float32)


class Fingerprint:
    """Of an array, real or complex, that arrives in pieces along its first axis."""

    SIGNS = np.tile(signs(), 2)  # twice, so that no slice has to wrap around

    def __init__(self) -> None:
        self.rows = self.n = self.finite = self.zeros = self.reals = 0
        self.sum, self.squares, self.image = 0.0, 0.0, np.zeros(())
        self.low, self.high, self.digest = np.inf, -np.inf, hashlib.sha256()
        self.projection, self.histogram = np.zeros(BUCKETS), np.zeros(2**20, np.int64)

    def update(self, piece: Any) -> None:
        """Take the next rows."""
        piece = np.ascontiguousarray(piece)
        self.shape, self.dtype, self.rows = piece.shape[1:], piece.dtype, self.rows + len(piece)
        self.digest.update(piece.astype(piece.dtype.newbyteorder("<"), copy=False).data)
        rows = max(2**17 // max(piece[:1].size, 1), 1)  # so many at a time stay in the cache
        for first in range(0, len(piece), rows):
            self._block(piece[first : first + rows])

    def _block(self, block: Any) -> None:
        values = np.abs(block) if block.dtype.kind == "c" else block
        good = np.isfinite(values)
        if not good.all():
            block, values = np.where(good, block, 0), np.where(good, values, 0)
        self._project(block.reshape(-1).view(block.real.dtype))
        wide = values.astype(np.float64)
        if block.ndim > 2 and min(block.shape[-2:]) >= TILES:
            self.image = self.image + wide.reshape(-1, *block.shape[-2:]).sum(axis=0)
        self.n, self.finite = self.n + wide.size, self.finite + int(np.count_nonzero(good))
        wide = wide[good] if not good.all() else wide.reshape(-1)
        if wide.size:
            # Not np.dot: its threads change the last bits, and are slow beside others.
            self.sum, self.squares = self.sum + float(wide.sum()), self.squares + float(np.sum(wide * wide))
            self.zeros += int(np.count_nonzero(wide == 0))
            self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))
            bits = wide.astype(np.float32).view(np.uint32)
            # Sort keys of the numbers: the bits of negative ones run backwards, so all of theirs are flipped.
            keys = (bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(2**31))) >> 12
            lowest = keys.min()
            counts = np.bincount(keys - lowest)
            self.histogram[lowest : lowest + len(counts)] += counts

    def _project(self, reals: Any) -> None:
        before, at = self.reals % BUCKETS, self.reals % PERIOD
        padded = np.zeros(-(-(before + reals.size) // BUCKETS) * BUCKETS)
        np.multiply(reals, self.SIGNS[at : at + reals.size], out=padded[before : before + reals.size])
        self.projection += padded.reshape(-1, BUCKETS).sum(axis=0)
        self.reals += reals.size

    def percentiles(self) -> dict[str, float]:
        """Nearest rank, of the values rounded towards zero to 12 significant bits."""
        keys = np.flatnonzero(self.histogram)
        ranks = np.maximum(np.ceil(np.array(PERCENTILES) / 100 * self.finite), 1)
        keys = keys[np.searchsorted(np.cumsum(self.histogram[keys]), ranks)]
        bits = np.where(keys >= 2**19, (keys << 12) - 2**31, ~(keys << 12) & 0xFFFFF000)
        return dict(zip(map(str, PERCENTILES), bits.astype(np.uint32).view(np.float32).tolist(), strict=True))

    def result(self) -> dict[str, Any]:
        """What a log holds of the array."""
        found: dict[str, Any] = {"shape": [self.rows, *self.shape], "dtype": self.dtype.name}
        found |= {"sha256": self.digest.hexdigest(), "n": self.n, "n_finite": self.finite}
        found |= {"n_zero": self.zeros, "sum_of_squares": self.squares, "projection": self.projection}
        if self.finite:
            mean = self.sum / self.finite
            std = max(self.squares / self.finite - mean**2, 0) ** 0.5
            found |= {"min": self.low, "max": self.high, "mean": mean, "std": std}
            found["percentiles"] = self.percentiles()
        if self.image.size > 1:
            tiles, pixels = self.image / (self.n / self.image.size), np.ones(self.image.shape)
            for axis in (0, 1):
                edges = np.arange(TILES) * self.image.shape[axis] // TILES
                tiles, pixels = (np.add.reduceat(a, edges, axis) for a in (tiles, pixels))
            found["thumbnail"] = tiles / pixels
        return found


def fingerprint(array: Any) -> dict[str, Any]:
    """Of a whole array."""
    array, found = np.atleast_1d(array), Fingerprint()
    found.update(array[None] if array.ndim == 2 else array)  # two axes: one image, not a row of lines
    return found.result() | {"shape": list(array.shape)}


def entry(
    name: str, *, dose: str | None, boundaries: Mapping[str, Any], model: str | None = None
) -> dict[str, Any]:
    """A data set (and model): by boundary an array, its Fingerprint, or a dict of numbers."""
    found: list[dict[str, Any]] = []
    for boundary, what in boundaries.items():
        if isinstance(what, Mapping):
            found.append({"name": boundary, "values": what})
        else:
            result = what.result() if isinstance(what, Fingerprint) else fingerprint(what)
            found.append({"name": boundary, "array": result})
    return {"name": name, "dose": dose, "model": model, "boundaries": found}


def plain(tree: Any) -> Any:
    """For JSON: 9 significant digits, and null for what is not finite."""
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple | np.ndarray):
        return [plain(value) for value in tree]
    tree = tree.item() if isinstance(tree, np.generic) else tree
    return (float(f"{tree:.9g}") if np.isfinite(tree) else None) if isinstance(tree, float) else tree


def write_log(
    path: Any,
    entries: Iterable[Any],
    *,
    scenario_id: str,
    emitter: str,
    environment: Mapping[str, Any],
    **more: Any,
) -> None:
    """Write a log, whole or not at all; ``more``: created, baseline, warnings."""
    log = {"schema": SCHEMA, "emitter": emitter, "scenario_id": scenario_id, "environment": environment}
    head = json.dumps(plain(log | more), indent=1, allow_nan=False).removesuffix("\n}")
    lines = [json.dumps(plain(part), allow_nan=False) for part in entries]  # a line for every data set
    with open(f"{path}.partial", "w", encoding="utf-8") as stream:
        stream.write(head + ',\n "datasets": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")
    os.replace(f"{path}.partial", path)
