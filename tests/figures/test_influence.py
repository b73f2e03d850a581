"""The pictures of influence: scores by rank, the ends, and self-influences."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape.analyses.influence.influence_result import InfluenceResult
from landscape.figures import draw
from landscape.figures.registry import panel_count

COMMON: dict[str, Any] = {
    "sample": np.arange(20), "sample_loss": np.ones(20), "gradient_norm2": np.ones(20), "damping": 0.1,
    "stationarity": 0.0, "products": 1, "loss": 0.1, "gradient_norm": 0.1, "parameters": 5, "samples": 20,
}  # fmt: skip
SCORES = np.linspace(1, -1, 20)[:, None] ** 3
QUERY: dict[str, Any] = {
    "query": np.array(["held-out:0"]), "scores": SCORES, "score_errors": np.full((20, 1), 1e-3),
    "helpful_sample": np.arange(3), "helpful_score": SCORES[:3, 0], "harmful_sample": np.arange(19, 16, -1),
    "harmful_score": SCORES[:16:-1, 0],
}  # fmt: skip


def titles(result: InfluenceResult) -> list[str]:
    figure, axes = plt.subplots(1, panel_count(result), squeeze=False)
    draw(result, list(axes[0]))
    found = [each.get_title() for each in axes[0]]
    figure.canvas.draw()
    plt.close(figure)
    return found


def test_scores_are_drawn_with_the_samples_at_both_ends() -> None:
    assert titles(InfluenceResult(**COMMON, **QUERY)) == ["held-out:0, damping 0.1", "most helpful, and most harmful"]


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "memorized"])
def test_self_influences_are_drawn_by_population(known: bool) -> None:
    truth = {"sample_memorized": np.arange(20) < 4, "auroc": np.array([0.9])} if known else {}
    (title,) = titles(InfluenceResult(**COMMON, self_influence=np.geomspace(1e-20, 1, 20), **truth))
    assert ("AUROC 0.900" in title) == known


def test_both_stand_side_by_side_and_zeros_are_drawn() -> None:
    result = InfluenceResult(**COMMON, **{**QUERY, "scores": 0 * SCORES}, self_influence=np.zeros(20))
    assert len(titles(result)) == 3
