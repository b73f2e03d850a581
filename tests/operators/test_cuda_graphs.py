"""Recordings as CUDA graphs: which versions of torch may try them. Recorded products are tested in tests/gpu."""

from __future__ import annotations

import pytest
import torch

from landscape.operators.cuda_graphs import recording_is_safe


@pytest.mark.parametrize(
    ("version", "safe"),
    [("2.11.1", False), ("2.12.0", True), ("2.13.0+cu126", True), ("3.0.0a0", True), ("1.13", False)],
)
def test_recordings_are_tried_unasked_from_torch_2_12_on(
    version: str, safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert recording_is_safe() is safe
