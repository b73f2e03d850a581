"""Histories that a test can see through."""

from __future__ import annotations

import dataclasses

import numpy as np
from result_samples import sample_result

from landscape.history import History


def of_samples() -> History:
    """Two checkpoints with results, the later one first, and one that was not measured."""
    swapped = dataclasses.replace(
        sample_result(mass=3.0, stuck="it is stuck"),
        layer=np.array(['a "b", c', "new"]),
        layer_size=np.array([80, 90]),
    )
    history = History(attributes={"run": "runs/sgd"})
    history = history.with_results(20, "b.pt", {"sample": swapped}, {"loss": 0.5, "gradient_norm": 0.1}, sha256="bb")
    history = history.with_results(10, "a.pt", {"sample": sample_result()}, {"loss": 0.75, "gradient_norm": 0.2})
    return history.with_values(30, "c.pt", {}, trouble="NaN in weights")
