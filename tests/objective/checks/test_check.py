"""Probes of large models repeat their numbers, and fewer samples are checked."""

from __future__ import annotations

import pytest
import torch

from landscape.objective.checks import check


def test_probes_repeat_their_numbers_beyond_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PROBE_NUMBERS", 4)
    probe = check.probe_vector(torch.zeros(10), "name")
    assert torch.equal(probe[:4], probe[4:8])
    assert torch.equal(probe[:2], probe[8:])
    assert len(set(probe[:4].tolist())) == 4


@pytest.mark.parametrize(("parameters", "samples"), [(100, 8), (20_000_000, 2)])
def test_large_models_take_fewer_samples(parameters: int, samples: int) -> None:
    assert check.sample_count(parameters) == samples
