"""The sha256 of each named tensor, and the tensors of a model function that are no longer the checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from landscape.network.stored_weights import cast_weight
from landscape.objective.model_function import ModelFunction


def tensor_hashes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The sha256 of the bytes of each tensor by name."""
    return {name: _sha256(tensor) for name, tensor in tensors.items()}


def digest_of(hashes: Mapping[str, str]) -> str:
    """One sha256 of the names and hashes of tensors, in the order of their names."""
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def tensor_changes(function: ModelFunction, theta: Tensor, expected: Mapping[str, str]) -> list[str]:
    """The names of the tensors that differ from those with the hashes `expected`; empty if none does."""
    bare = function.state(theta, function.stored)  # one weight at a time in all bits
    found = {name: _sha256(cast_weight(tensor, function.stored.get(name))) for name, tensor in bare.items()}
    return [name for name, expectation in expected.items() if found[name] != expectation]


def _sha256(tensor: Tensor) -> str:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return hashlib.sha256(content).hexdigest()
