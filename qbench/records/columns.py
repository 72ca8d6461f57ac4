"""Per-image outcomes as columns of numbers, and the one reader of files that hold them.

A file of columns is a `.npz`. Whoever wrote it, only known names, types, dimensions and lengths are
read from it, and never more than it may hold.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbench.errors import StoreError

Columns = Mapping[str, NDArray[Any]]
LIMIT = 256 * 2**20  # bytes that one file may inflate to
_DICTIONARY = 64 * 2**20  # bytes that a decompressor may keep in view; 8 MiB are usual

# Every column by name: its type and how many dimensions it has at most. The first axis is images;
# stochastic models have one before it, a row for each fresh pass. What a device counted once has
# margins in either half of its shots (2, n), by which a worst case is chosen and judged.
OUTCOMES: Mapping[str, tuple[type[np.generic], int]] = {
    "label": (np.int16, 1),
    "prediction": (np.int16, 1),
    "radius": (np.float64, 1),
    "clean_prediction": (np.int16, 2),
    "adversarial_prediction": (np.int16, 2),
    "clean_margin": (np.float16, 2),
    "adversarial_margin": (np.float16, 2),
    "linf": (np.float32, 1),
    "l2": (np.float32, 1),
    "clean_half_margin": (np.float16, 2),
    "adversarial_half_margin": (np.float16, 2),
    "clean_score_error": (np.float32, 2),
    "adversarial_score_error": (np.float32, 2),
}
_ATTACKED = frozenset(
    {"label", "clean_prediction", "adversarial_prediction", "clean_margin", "adversarial_margin"}
)
WANTED: Mapping[str, frozenset[str]] = {
    "attack": _ATTACKED | {"linf", "l2"},
    "challenge": _ATTACKED | {"linf", "l2"},
    "transfer": _ATTACKED,
    "radii": frozenset({"label", "prediction", "radius"}),
}


def conform(columns: Mapping[str, NDArray[Any]], kind: str, images: int) -> dict[str, NDArray[Any]]:
    """The columns of a record of a kind in their own types.

    Raises:
        ValueError: One is missing, unknown, of another length, or no such numbers.
    """
    if missing := WANTED[kind] - columns.keys():
        raise ValueError(f"no column {min(missing)!r}")
    found = {}
    for name in sorted(columns):
        if name not in OUTCOMES:
            raise ValueError(f"unknown column {name!r}")
        dtype, most = OUTCOMES[name]
        column = np.asarray(columns[name])
        errors = name.endswith("_error")
        length = column.shape[0 if errors else -1] if column.ndim else -1
        if not 1 <= column.ndim <= most or length != images:
            raise ValueError(f"column {name!r} has shape {column.shape}: expected {images} images")
        if name.endswith("_half_margin") and column.shape != (2, images):
            raise ValueError(f"column {name!r} has shape {column.shape}: expected two halves")
        if column.dtype != dtype:
            raise ValueError(f"column {name!r} holds {column.dtype}: expected {np.dtype(dtype)}")
        if column.dtype.kind == "f" and np.isnan(column).any():
            raise ValueError(f"column {name!r} holds values that are no numbers")
        found[name] = column
    return found


def fingerprint(arrays: Columns) -> str:
    """SHA-256 of arrays: names, types, shapes and values, however they are stored."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def to_npz(arrays: Columns, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Arrays as a compressed `.npz`; equal arrays give equal bytes.

    Args:
        arrays: By name.
        compression: `zipfile.ZIP_LZMA` takes ten times as long and leaves a third less of images.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0))
            member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date
            member.compress_type = compression
            archive.writestr(member, content.getvalue())
    return buffer.getvalue()


def from_npz(content: bytes, what: str, limit: int = LIMIT) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz`: numbers only, and no more of them than `limit` bytes.

    Args:
        content: Bytes of the file.
        what: Of the file, for messages.
        limit: Bytes that it may inflate to.

    Raises:
        StoreError: It is damaged, larger, or holds something else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > limit or len(members) > 10_000:
                raise ValueError(f"it would inflate to more than {limit >> 20} MiB")
            names = [member.filename for member in members]
            if len(set(names)) != len(names):
                raise ValueError("a member stands twice")
            for member in members:
                if member.compress_type == zipfile.ZIP_LZMA:
                    _check_dictionary(content, member)
            return {
                member.filename.removesuffix(".npy"): _array(archive, member) for member in members
            }
    except MemoryError as error:
        raise StoreError(f"{what} is damaged: it needs too much memory") from error
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise StoreError(f"{what} is damaged: {error}") from error
    except Exception as error:  # zlib, struct, tokenize: whatever a damaged file provokes
        raise StoreError(f"{what} is damaged: {type(error).__name__}: {error}") from error


def _check_dictionary(content: bytes, member: zipfile.ZipInfo) -> None:
    """Refuses a member that makes the decompressor take gigabytes before it finds anything out."""
    # APPNOTE.TXT of the format: 30 bytes and two strings; then two bytes of a version, two of a
    # length, one of properties and four of the dictionary's size.
    name, extra = struct.unpack_from("<HH", content, member.header_offset + 26)
    (size,) = struct.unpack_from("<I", content, member.header_offset + 30 + name + extra + 5)
    if size > _DICTIONARY:
        raise ValueError(f"member {member.filename} wants a dictionary of {size >> 20} MiB")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise ValueError(f"member {member.filename} is not as long as it says")
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"member {member.filename} is of format {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
    data = content[stream.tell() :]
    if dtype.hasobject or dtype.kind not in "biuf" or fortran:
        raise ValueError(f"member {member.filename} holds {dtype}, not plain numbers")
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize != len(data):
        raise ValueError(f"member {member.filename} says shape {shape} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()
