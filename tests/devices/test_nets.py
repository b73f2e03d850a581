"""Every analysis on another device, for nets of linear layers, normalizations, embeddings and attention."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape.analyses import ANALYSES, Analysis
from landscape.errors import UsageError
from landscape.fields import Array, Scalar, described_fields
from landscape.objective import Objective

pytestmark = [pytest.mark.device, pytest.mark.other_device]
FEW: dict[str, dict[str, Any]] = {  # options that make each analysis small
    "eig": {"k": 3},
    "density": {"probes": 2, "steps": 8},
    "trace": {"rtol": 0.3},
    "sharpness": {"rho": (0.1,), "starts": 2, "draws": 4},
    "flatness": {"rho": (0.05,), "starts": 2, "steps": 4},
    "measures": {"draws": 2, "rtol": 0.3},
    "direction": {"lr": 0.1},
    "critical": {"lr": 0.1},
    "sensitivity": {"bits": (8, 3), "prune": (0.5,)},
    "llc": {"draws": 32, "rtol": 10.0},
    "surface": {"grid": "5"},
    "diagonal": {"rtol": 0.5},
    "memorization": {"labels": "gold", "controls": 1, "resamples": 10},
    "edit": {"rho": (0.9,), "labels": "gold"},
    "influence": {"query": "samples:0,3", "self_": True, "damping": "0.05", "tol": 1e-8},
}


class Attending(nn.Module):
    """Tokens and places, one layer of causal attention, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(7, 4), nn.Embedding(5, 4)
        self.norm, self.qkv, self.head = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 7)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        query, key, value = self.qkv(self.norm(hidden)).chunk(3, dim=-1)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        scores: Tensor = self.head(hidden + mixed)
        return scores.transpose(1, 2)  # classes on axis 1


def normalized() -> tuple[nn.Module, Tensor, Tensor]:
    """Linear layers with BatchNorm, LayerNorm and GELU, on 24 samples of 3 classes."""
    torch.manual_seed(1)
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4), nn.LayerNorm(4), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(4, 3)), torch.randn(24, 5), torch.randint(0, 3, (24,))


def attending() -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny language model on 12 sequences of 5 tokens."""
    torch.manual_seed(1)
    return Attending(), torch.randint(0, 7, (12, 5)), torch.randint(0, 7, (12, 5))


NETS = {"normalized": normalized, "attending": attending}


def measured(net: str, analysis: Analysis, device: str) -> Any:
    model, inputs, targets = NETS[net]()
    data = list(zip(inputs.split(10), targets.split(10), strict=True))
    return landscape.run(analysis, Objective(model, data, "cross_entropy", device=device, dtype="float64"))


def numbers(result: Any) -> dict[str, np.ndarray]:
    """The numbers of a result without those that say how long it took."""
    names = [f.name for kind in (Array, Scalar) for f in described_fields(type(result), kind)]
    found = {name: np.asarray(getattr(result, name)) for name in names if getattr(result, name) is not None}
    return {name: value for name, value in found.items() if value.dtype.kind == "f" and "seconds" not in name}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("kind", ANALYSES, ids=lambda kind: kind.name)
def test_the_device_gives_the_numbers_of_the_cpu(net: str, kind: type[Analysis], device: str) -> None:
    analysis = kind(**FEW[kind.name])
    expected, found = (measured(net, analysis, where) for where in ("cpu", device))
    there = numbers(found)
    assert there.keys() == numbers(expected).keys()
    for name, value in numbers(expected).items():
        assert np.allclose(there[name], value, rtol=1e-4, atol=1e-6, equal_nan=True), name
    assert [f.name for f in fields(found)] == [f.name for f in fields(expected)]


def test_mixing_devices_is_refused(device: str) -> None:
    if device == "cpu":
        pytest.skip("one device cannot be mixed")
    objective = Objective(*_net_and_data(), "cross_entropy", device=device)
    with pytest.raises(RuntimeError, match="same device"):
        _ = objective.theta + torch.zeros(objective.space.size)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="cuda:99"):
        Objective(*_net_and_data(), "cross_entropy", device="cuda:99")


def _net_and_data() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    model, inputs, targets = normalized()
    return model, [(inputs, targets)]
