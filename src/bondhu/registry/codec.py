"""A version as files: header.json with a format number, shapes and checksums, and one .npy file for each array.

A file is named like its array where that name is plain. Others, such as "inner/long watch/values", have a number; the
header says which. So no name of an array can lead out of the folder.
Nothing is ever pickled. Arrays are mapped copy-on-write, so a large state opens at once, processes share its pages, and
a learner may still update it in place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Never

import numpy as np

from bondhu.errors import InvalidInput, StateCorrupt, StateTooNew, StoreError, StoreFull
from bondhu.ports import Version
from bondhu.registry.names import array_file, of_array
from bondhu.types import Array

FORMAT = 1
HEADER = "header.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PLAIN_FIELDS = ("id", "domain", "learner", "hyperparameters", "description", "created", "parent", "notes")
_FIX = "Roll back to another version, or restore the file from a backup."


def write(version: Version, folder: Path) -> None:
    """Write all files of the version and wait until they are on disk."""
    arrays = {
        of_array(name): _write_array(folder / array_file(name, number), name, array)
        for number, (name, array) in enumerate(version.state.items())
    }
    fields = {name: getattr(version, name) for name in _PLAIN_FIELDS}
    header = json.loads(dumps({"format": FORMAT, **fields, "arrays": arrays}))
    header["checksum"] = _checksum(header)
    with open(folder / HEADER, "wb") as file:
        file.write(json.dumps(header, indent=2).encode())
        flush(file)


def read(folder: Path) -> Version:
    """The version in this folder, every file checked against its checksum."""
    header = _read_header(folder / HEADER)
    state = {name: _read_array(folder, name, about) for name, about in header["arrays"].items()}
    return Version(state=state, **{name: header[name] for name in _PLAIN_FIELDS})


def dumps(value: Any) -> str:
    """JSON of plain data; NumPy numbers and arrays become numbers and lists."""
    try:
        return json.dumps(value, default=_plain_number)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"A version holds plain data beside its arrays, but {error}.", fix="Move arrays to `state`; drop objects."
        ) from error


def flush(file: BinaryIO) -> None:
    """Wait until the file is on disk."""
    file.flush()
    os.fsync(file.fileno())


def refused(error: OSError, path: Path) -> Never:
    """Say what a failed write means: a full disk, or a disk that cannot be written."""
    if error.errno in _FULL:
        raise StoreFull(
            f"The disk is full: {path} was not stored, everything before it is safe.",
            value=str(path),
            fix="Free some space and try again.",
        ) from error
    raise StoreError(
        f"{path} cannot be written: {error.strerror or error}.",
        value=str(path),
        fix="Mend the directory's permissions or disk, then try again.",
    ) from error


class _Hashed:
    """A file that hashes what is written to it. NumPy then writes in blocks, and a full disk keeps its errno."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, block: bytes) -> int:
        self.sha256.update(block)
        return self.file.write(block)


def _write_array(path: Path, name: str, array: Array) -> Mapping[str, Any]:
    array = np.asarray(array)
    if array.dtype.hasobject:
        fix = "Store numbers, booleans or text."
        raise InvalidInput(f"State array {name!r} holds Python objects.", field=name, fix=fix)
    with open(path, "wb") as file:
        hashed = _Hashed(file)
        np.lib.format.write_array(hashed, array, allow_pickle=False)
        flush(file)
    return {"file": path.name, "dtype": array.dtype.str, "shape": array.shape, "sha256": hashed.sha256.hexdigest()}


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_bytes())
        number = header["format"]
    except FileNotFoundError as error:
        raise _corrupt(path, "is missing") from error
    except (ValueError, TypeError, KeyError) as error:
        raise _corrupt(path, "is not a header") from error
    if not isinstance(number, int) or number > FORMAT:
        raise StateTooNew(
            f"{path} has format {number}; this release reads up to {FORMAT}.",
            field="format",
            value=number,
            fix="Upgrade, or roll back to an older version.",
        )
    if header.pop("checksum", None) != _checksum(header):
        raise _corrupt(path, "does not match its checksum")
    return dict(header)


def _read_array(folder: Path, name: str, about: Mapping[str, Any]) -> Array:
    path = folder / about.get("file", f"{name}.npy")  # before files had names of their own, all names were plain
    if path.parent != folder or path.suffix != ".npy":
        raise _corrupt(path, "is no array in the folder of its version")
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != about["sha256"]:
            raise _corrupt(path, "does not match its checksum")
        mapped = 0 not in about["shape"]  # an empty array cannot be mapped
        array = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise _corrupt(path, "is missing") from error
    if array.dtype.str != about["dtype"] or list(array.shape) != about["shape"]:
        raise _corrupt(path, f"is {array.dtype.str} {array.shape}, not {about['dtype']} {tuple(about['shape'])}")
    return np.asarray(array)


def _checksum(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def _corrupt(path: Path, how: str) -> StateCorrupt:
    return StateCorrupt(f"{path} {how}.", field="version", value=str(path), fix=_FIX)


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):  # such as a read-only view of a dictionary
        return dict(value)
    raise TypeError(f"{type(value).__name__} {value!r} is neither")
