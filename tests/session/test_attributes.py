"""Attributes: how a result was measured, and the result for JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLES
from small_objectives import small_objective

import landscape
from landscape import Density, Eig, session
from landscape.storage.read import read_results


def test_the_group_says_what_it_was_made_from(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.execute(Eig(k=2), landscape.load(SAMPLES / "digits-mlp.pt"), output=output)
    attributes = read_results(output)["eig"].attributes
    assert attributes["status"] == "complete"
    assert len(attributes["checkpoint_sha256"]) == len(attributes["data_sha256"]) == 64
    assert attributes["mode"] == "eval"
    assert json.loads(attributes["resolved_from"])["model"] == "mlp, from the checkpoint's own description"
    assert json.loads(attributes["options"])["k"] == 2
    assert attributes["products"] > 2
    assert attributes["wall_time_s"] > 0
    assert attributes["loss_value"] == pytest.approx(0.0667, abs=1e-3)


def test_nan_and_infinity_are_null_in_a_document() -> None:
    record = session.execute(Density(probes=2, steps=3), small_objective())
    values = record.result.grid.copy()
    values[0], values[1] = np.nan, np.inf
    object.__setattr__(record.result, "grid", values)
    document = json.loads(json.dumps(record.document(), allow_nan=False))
    assert document["result"]["grid"][:2] == [None, None]
    assert document["result"]["grid"][2:] == values[2:].tolist()
    assert document["analysis"] == "density"
    assert document["status"] == "complete"


@pytest.mark.parametrize(
    "broken",
    [
        {"notes": "[1,"},
        {"fingerprint_parts": "null"},
        {"options": ""},
        {"options": "[1]"},
        {"notes": "{}"},
        {"wall_time_s": "1"},
    ],
    ids=str,
)
def test_attributes_that_cannot_be_read_are_told_from_others(broken: dict[str, Any]) -> None:
    attributes = dict(session.execute(Eig(k=1), small_objective()).attributes)
    assert session.has_readable_attributes(attributes)
    assert not session.has_readable_attributes(attributes | broken)
    del attributes[next(iter(broken))]
    assert not session.has_readable_attributes(attributes)
