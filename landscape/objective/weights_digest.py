"""The sha256 of named tensors, and the tensors of a model function that are no longer the checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from landscape.network.wrappers import same_values
from landscape.objective.model_function import ModelFunction


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of named tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tensor_changes(function: ModelFunction, theta: Tensor, expected: str) -> list[str]:
    """The names of the tensors that differ from those with the hash `expected`; empty if none does."""
    tensors = {**function.fixed, **function.space.unflatten(theta)}
    if sha256_of(tensors) == expected:
        return []
    own = {function.scope_name(name): name for name in tensors}
    originals = [*function.scope.named_parameters(), *function.scope.named_buffers()]
    return [own[n] for n, t in originals if n in own and not same_values(t.to(tensors[own[n]]), tensors[own[n]])]
