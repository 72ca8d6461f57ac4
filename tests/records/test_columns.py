"""The one reader of per-image files: whatever is in them, one clear line and little memory."""

import io
import struct
import zipfile

import numpy as np
import pytest
from small_results import outcomes

from qbench.errors import StoreError
from qbench.records.columns import conform, fingerprint, from_npz, to_npz


def test_equal_arrays_give_equal_bytes_and_read_back():
    arrays = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
    assert to_npz(arrays) == to_npz(arrays)
    assert from_npz(to_npz(arrays), "x")["a"].tolist() == [0, 1, 2, 3, 4]
    assert fingerprint(arrays) == fingerprint(from_npz(to_npz(arrays), "x"))
    assert fingerprint(arrays) != fingerprint(arrays | {"a": np.arange(5).astype(np.int32)})


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray, **how) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def claiming(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (117 - len(header)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"not a zip",
        to_npz({"a": np.arange(1000)})[:-40],
        zipped(a=b""),
        zipped(a=b"\x93NUMPY\x01\x00"),
        zipped(a=npy(np.array([{}], object), allow_pickle=True)),
        zipped(a=npy(np.array(["text"]))),
        zipped(a=claiming("(10**12,)")),
        zipped(a=claiming("(1000000000000,)")),
        zipped(a=claiming("(-1,)")),
        zipped(a=claiming("('x',)")),
        zipped(a=npy(np.arange(9))[:-3]),
    ],
)
def test_damaged_files_are_one_clear_line(content):
    with pytest.raises(StoreError, match="outcomes of x is damaged: ") as raised:
        from_npz(content, "outcomes of x")
    assert "\n" not in str(raised.value)


def test_both_compressions_hold_the_same():
    arrays = {"radius": np.linspace(0, 1, 50), "label": np.arange(50, dtype=np.int16)}
    small = to_npz(arrays, zipfile.ZIP_LZMA)
    assert small == to_npz(arrays, zipfile.ZIP_LZMA)
    for content in (small, to_npz(arrays)):
        found = from_npz(content, "x")
        assert list(found) == list(arrays)
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
        assert np.array_equal(np.load(io.BytesIO(content))["label"], arrays["label"])


def test_a_decompressor_that_would_take_gigabytes_is_not_started():
    content = bytearray(to_npz({"radius": np.zeros(3)}, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = 30 + len("radius.npy") + 5
        assert content[place : place + 4] == (8 * 2**20).to_bytes(4, "little")
        assert len(archive.infolist()) == 1
    content[place : place + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(StoreError, match="wants a dictionary of 4095 MiB"):
        from_npz(bytes(content), "x")


def test_a_bomb_is_not_inflated():
    bomb = zipped(a=npy(np.zeros(4 * 2**20, np.uint8)))
    assert len(bomb) < 10_000
    with pytest.raises(StoreError, match="would inflate to more than 1 MiB"):
        from_npz(bomb, "x", limit=2**20)


def lying() -> bytes:
    """A member whose entry in the directory says it is short."""
    content = bytearray(zipped(a=npy(np.zeros(2**16, np.uint8))))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 200)
    return bytes(content)


def test_a_member_that_is_longer_than_it_says_is_refused():
    with pytest.raises(StoreError, match="damaged"):
        from_npz(lying(), "x")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": None}, "no column 'label'"),
        ({"extra": np.zeros(2)}, "unknown column 'extra'"),
        ({"label": np.zeros(3, np.int16)}, r"shape \(3,\): expected 2 images"),
        ({"label": np.zeros((1, 2), np.int16)}, "expected 2 images"),
        ({"label": np.int16(1)}, "expected 2 images"),
        ({"label": np.zeros(2, np.int64)}, "holds int64: expected int16"),
        ({"linf": np.array([np.nan, 0], np.float32)}, "no numbers"),
        ({"clean_prediction": np.zeros((2, 2, 2), np.int16)}, "expected 2 images"),
    ],
)
def test_columns_that_are_not_a_records(change, complaint):
    columns = {k: v for k, v in (outcomes() | change).items() if v is not None}
    with pytest.raises(ValueError, match=complaint):
        conform(columns, "attack", 2)


def test_passes_of_a_stochastic_model_are_rows():
    several = np.zeros((10, 2), np.int16)
    assert conform(outcomes() | {"clean_prediction": several}, "attack", 2)
