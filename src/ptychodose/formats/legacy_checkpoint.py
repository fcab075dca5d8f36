"""Weights of the legacy pipeline (``wts.h5.zip``: a zipped TensorFlow SavedModel), read without trust.

Only the variables are read, in memory: nothing is extracted, unpickled or executed. The rest of the archive
(graph, Python objects) is never opened.
"""

import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import keras
import numpy as np
import numpy.typing as npt

from ptychodose.errors import UserError
from ptychodose.formats.tensor_bundle import DamagedBundleError, read_tensor_bundle

_VARIABLES = re.compile(r"((?:[^/]+/)*)variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})")
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NETWORK_FOLDER = "diffraction_to_obj/"
"""End of the folder of the network from patterns to object, should there be several models in a file."""

_MAX_INDEX_BYTES, _MAX_DATA_BYTES = 2**20, 2**30
_MAX_RATIO = 100
"""Unpacked to packed bytes of a large member. Trained weights hardly pack at all."""

# RuntimeError: an encrypted member; NotImplementedError, a kind of it: an unknown compression.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    OSError,
    EOFError,
    RuntimeError,
)


def read_legacy_variables(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Variables by name, such as ``layer_with_weights-0/kernel``, float32 and finite."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except _READ_ERRORS as error:
        raise UserError(
            f"{path}: not a complete zip file ({error}); give the wts.h5.zip of a legacy run, copied whole"
        ) from None
    with archive:
        members = _variable_members(archive, path)
        index = _read(archive, members.pop("index"), path, _MAX_INDEX_BYTES)
        shards, left = [], _MAX_DATA_BYTES
        for number in range(len(members)):
            name = f"data-{number:05d}-of-{len(members):05d}"
            if name not in members:
                raise UserError(f"{path}: variables.{name}: missing from the archive; copy the file again")
            shards.append(_read(archive, members[name], path, left))
            left -= len(shards[-1])
    try:
        arrays = read_tensor_bundle(index, shards)
    except DamagedBundleError as error:
        raise UserError(
            f"{path}: {str(error).replace(_SUFFIX, '')}; copy the file again from where it was trained"
        ) from None
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(
                f"{path}: {name.removesuffix(_SUFFIX)}: it holds values that are not finite; "
                "use a training that did not diverge"
            )
    return {name.removesuffix(_SUFFIX): array for name, array in arrays.items()}


def load_legacy_weights(path: Path, size_px: int) -> keras.Model:
    """The legacy network with the weights of a ``wts.h5.zip``; its probe is still zero.

    The file holds no probe: set the one of the run, as the legacy model used it, with
    ``model.get_layer("probe").set_probe(legacy_probe(probe), mean_exit_energy=1.0)``.
    """
    from ptychodose.networks.legacy import network_of_variables

    return network_of_variables(read_legacy_variables(path), size_px, path)


def _variable_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """``index`` and ``data-…`` of the one set of variables in the archive."""
    sets: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for info in archive.infolist():
        name = info.filename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise UserError(
                f"{path}: {name}: a member must lie inside the archive; the file is not to be trusted"
            )
        if found := _VARIABLES.fullmatch(name):
            members = sets.setdefault(found[1], {})
            if found[2] in members:
                raise UserError(f"{path}: {name}: it is in the archive twice; the file is not to be trusted")
            members[found[2]] = info
    if len(sets) > 1:
        named = {folder: members for folder, members in sets.items() if folder.endswith(_NETWORK_FOLDER)}
        sets = named if len(named) == 1 else sets
    if len(sets) != 1:
        raise UserError(
            f"{path}: it must hold one folder variables/ of a SavedModel, not {len(sets)}; "
            "give the wts.h5.zip of one legacy run"
        )
    members = sets.popitem()[1]
    if "index" not in members or len(members) < 2:
        raise UserError(
            f"{path}: variables.index or variables.data-… is missing from the archive; "
            "copy the file again from where it was trained"
        )
    return members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, max_bytes: int) -> bytes:
    """A member, unpacked no further than the limits, its checksum verified."""
    member = f"{path}: {info.filename}"
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{member}: a symbolic link instead of a file; zip the SavedModel folder itself")
    if info.flag_bits & 1:
        raise UserError(f"{member}: encrypted; unpack it and zip it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{member}: packed by an unusual method; zip it again with deflate")
    if info.file_size > max_bytes:
        raise UserError(f"{member}: {info.file_size} bytes, more than any legacy network ({max_bytes})")
    if info.file_size > max(_MAX_RATIO * info.compress_size, 2**20):
        raise UserError(f"{member}: it unpacks to more than {_MAX_RATIO} times its size; weights never do")
    try:
        with archive.open(info) as stream:
            data = stream.read(info.file_size + 1)
    except _READ_ERRORS as error:
        raise UserError(f"{member}: damaged or truncated ({error}); copy the file again") from None
    if len(data) != info.file_size:
        raise UserError(f"{member}: {len(data)} of {info.file_size} bytes are there; copy the file again")
    return data
