"""Values of several checkpoints as columns."""

from __future__ import annotations

import numpy as np
from result_samples import sample_result
from sample_histories import of_samples

from landscape.history import History


def test_layers_are_aligned_by_their_names() -> None:
    history = of_samples()
    names = history["sample.layer"].tolist()
    assert names == ["<script>alert(1)</script>", 'a "b", c', "new"]
    assert np.array_equal(
        history["sample.layer_size"], [[7, 8, np.nan], [np.nan, 80, 90], [np.nan] * 3], equal_nan=True
    )


def test_radii_that_change_have_a_column_of_their_own() -> None:
    def history(*radii: list[float]) -> History:
        found = History()
        for step, each in enumerate(radii):
            result = sample_result(radius=np.array(each), height=np.ones((len(each), 3)))
            found = found.with_results(step, f"{step}.pt", {"sample": result}, {})
        return found

    same = history([0.5, 1.0], [0.5, 1.0])
    assert same["sample.radius"].tolist() == [0.5, 1.0]
    other = history([0.5, 1.0], [0.25])
    assert np.array_equal(other["sample.radius_at_step"], [[0.5, 1.0], [0.25, np.nan]], equal_nan=True)
    assert "sample.radius" not in other
