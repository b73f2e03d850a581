"""Writes a checkpoint that describes itself, so that `landscape eig ckpt.pt` needs no flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from landscape import registry
from landscape.checkpoints.spec import DATA_KEY, KEY, Spec
from landscape.errors import UsageError


def save(
    path: str | Path,
    model: nn.Module,
    *,
    data: str | tuple[Tensor, Tensor] | None = None,
    loss: str | None = None,
    spec: dict[str, Any] | None = None,
    extras: dict[str, Tensor] | None = None,
) -> None:
    """Writes the model's state dict with a description of itself; `.safetensors` by suffix, otherwise torch's format.

    `data` is a registered data set's name, or `(inputs, targets)` to embed as the batch to measure on; `loss` is a
    loss's name. `spec` holds further entries of `landscape.checkpoints.Spec`: `model`, `model_args`, `data_args`,
    `populations`, `about`. `extras` are tensors to keep beside the weights. Without `spec["model"]` the reader must
    name the model: `landscape eig ckpt.pt --model pkg.mod:factory`. Raises UsageError for unknown names.
    """
    kept = dict(extras or {})
    name = data if isinstance(data, str) else None
    if isinstance(data, tuple):
        kept |= {"inputs": data[0], "targets": data[1]}
    described = _spec({**(spec or {}), "data": name, "loss": loss})
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    if Path(path).suffix == ".safetensors":
        beside = {f"{DATA_KEY}.{key}": tensor.contiguous() for key, tensor in kept.items()}
        save_file({key: tensor.clone() for key, tensor in (state | beside).items()}, path, {KEY: described.to_json()})
    else:
        torch.save({"state_dict": state, KEY: described.to_json(), DATA_KEY: kept}, path)


def _spec(entries: dict[str, Any]) -> Spec:
    try:
        spec = Spec(**entries)
    except TypeError as error:
        raise UsageError(f"spec: {error}", fix=f"entries: {', '.join(Spec.__dataclass_fields__)}") from None
    for kind, name, group in (("model", spec.model, "models"), ("data set", spec.data, "data")):
        known = registry.known(group)
        if name is not None and name not in known and ":" not in name:
            raise UsageError(
                f"there is no registered {kind} {name!r}",
                fix=f"one of {', '.join(known)}, or pkg.mod:name, which its reader must then trust",
            )
    return spec
