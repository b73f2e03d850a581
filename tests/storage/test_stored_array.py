"""Arrays that are read when their values are asked for."""

from __future__ import annotations

import numpy as np

from landscape.storage.stored_array import StoredArray


def test_it_has_the_form_of_its_values_and_reads_them_anew_each_time() -> None:
    reads: list[int] = []

    def read() -> np.ndarray:
        reads.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    stored = StoredArray(np.dtype("f4"), (2, 3), read)
    assert (stored.nbytes, stored.itemsize, reads) == (24, 4, [])
    assert np.array_equal(np.asarray(stored), read())
    assert np.asarray(stored, np.float64).dtype == np.float64
    assert len(reads) == 3
