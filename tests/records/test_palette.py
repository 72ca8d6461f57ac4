"""The worst images come back bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench.records.palette import from_palette, to_palette

PATTERNS = arrays.arrays(
    np.uint32, st.tuples(st.integers(0, 5), st.integers(0, 40)), elements=st.integers(0, 2**32 - 1)
)


@given(PATTERNS)
def test_every_pattern_of_bits_comes_back(bits):
    images = bits.view(np.float32)
    found = from_palette(*to_palette(images))
    assert found.dtype == np.float32
    assert found.shape == images.shape
    assert np.array_equal(found.view(np.uint32), bits)


@pytest.mark.parametrize(("values", "used"), [(1, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_places_take_as_few_bytes_as_there_are_values(values, used):
    images = np.arange(2 * values, dtype=np.float32).reshape(2, values) % values
    palette, places = to_palette(images)
    assert palette.shape == (4, values)
    assert places.shape == (used, 2, values)
    assert np.array_equal(from_palette(palette, places), images)


def test_what_is_frequent_comes_first():
    palette, places = to_palette(np.array([[3, 1, 1, 2, 2, 2]], np.float32))
    assert np.ascontiguousarray(palette.T).view("<f4")[:, 0].tolist() == [2, 1, 3]
    assert places.tolist() == [[[2, 1, 1, 0, 0, 0]]]
