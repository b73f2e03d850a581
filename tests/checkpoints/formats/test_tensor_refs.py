"""Descriptions of tensors are views inside their storages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.checkpoints.formats.tensor_refs import DamageError, Storage, TensorRef, view_ref


@pytest.mark.parametrize(
    "shape",
    [(1,) * 65, (0, 1 << 70), (1 << 40, 1 << 40, 0), (True, 2), (2.0,)],
    ids=["dimensions", "huge", "empty", "bool", "real"],
)
def test_sizes_that_are_none_are_refused(shape: tuple[Any, ...]) -> None:
    with pytest.raises(DamageError, match="sizes are no counts"):
        view_ref(Storage("0", "float32", 6), "float32", 0, shape, (1,) * len(shape))


@given(st.data())
def test_views_are_inside_their_storage_or_refused(data: st.DataObject) -> None:
    """The rule, against the indices that the view would touch."""
    rank = data.draw(st.integers(0, 3))
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=rank, max_size=rank)))
    stride = tuple(data.draw(st.lists(st.integers(0, 6), min_size=rank, max_size=rank)))
    offset, count = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 30))
    places = [offset + int(np.dot(index, stride)) for index in np.ndindex(*shape)]
    fits = len(places) <= count and all(place < count for place in places)
    storage = Storage("0", "float32", count)
    if fits:
        assert isinstance(view_ref(storage, "float32", offset, shape, stride), TensorRef)
    else:
        with pytest.raises(DamageError, match="tensor of shape"):
            view_ref(storage, "float32", offset, shape, stride)
