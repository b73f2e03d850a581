"""Titles say what was measured, also of files that were written before titles were fields' matter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_objectives import small_objective

from landscape import Surface, session

SHARPNESS = {"adaptive": "element", "norm": "l2", "preset": "none", "m": None, "logit_norm": "none"}
SURFACE = {"axes": "random", "normalise": "filter", "adaptive": False, "seeds": 1}


@pytest.mark.parametrize(
    ("analysis", "options", "conditions", "title"),
    [
        ("eig", {"operator": "hessian"}, {}, "a.pt"),
        ("eig", {"operator": "ggn"}, {"params": ["0.*", "2.*"]}, "a.pt, ggn, params 0.* 2.*"),
        ("trace", {"operator": "hessian"}, {"weights": "ema", "limit": 100}, "a.pt, weights ema, limit 100"),
        ("sharpness", SHARPNESS, {}, "a.pt, element-wise l2"),
        ("sharpness", SHARPNESS | {"adaptive": "none", "norm": "linf"}, {}, "a.pt, standard linf"),
        (
            "sharpness",
            SHARPNESS | {"preset": "asam", "m": 128, "logit_norm": "std"},
            {},
            "a.pt, asam, element-wise l2, m 128, logits / std",
        ),
        ("flatness", {"adaptive": "none"}, {}, "a.pt"),
        ("flatness", {"adaptive": "filter"}, {}, "a.pt, filter-wise"),
        ("surface", SURFACE, {}, "a.pt, random directions by filter"),
        ("surface", SURFACE | {"axes": "eigen", "normalise": "none"}, {}, "a.pt, eigen directions"),
        ("surface", SURFACE | {"axes": "checkpoints", "normalise": "none"}, {}, "a.pt, between checkpoints"),
        ("unknown", {"operator": "ggn"}, {"limit": 5}, "a.pt, limit 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_title_names_what_is_not_usual(
    analysis: str, options: dict[str, Any], conditions: dict[str, Any], title: str
) -> None:
    attributes = {
        "checkpoint": "/runs/a.pt",
        "options": json.dumps(options),
        "conditions": json.dumps(conditions),
    }
    assert session.measurement_title(analysis, attributes) == title


def test_what_a_measurement_stores_gives_its_title() -> None:
    record = session.execute(Surface(axes="gradient", grid="3"), small_objective())
    assert session.measurement_title("surface", record.attributes) == "model, along the gradient"
