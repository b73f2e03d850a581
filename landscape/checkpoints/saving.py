"""Writes a checkpoint that describes itself, so that `landscape eig ckpt.pt` needs no flag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY, Spec
from landscape.data.items import as_batch
from landscape.errors import TaskError, UsageError
from landscape.losses.huggingface import HF
from landscape.plugins import registry


def save(
    path: str | Path,
    model: nn.Module,
    *,
    data: str | tuple[Tensor, Tensor] | Mapping[str, Tensor] | None = None,
    loss: str | None = None,
    spec: dict[str, Any] | None = None,
    extras: dict[str, Tensor] | None = None,
) -> None:
    """Writes the model's state dict with a description of itself; `.safetensors` by suffix, otherwise torch's format.

    `data` is a registered data set's name, or a batch to embed, `(inputs, targets)` or a dictionary of the two; `loss`
    is a loss's name. `spec` holds further entries of `landscape.checkpoints.Spec`: `model`, `model_args`, `data_args`,
    `objective`, `populations`, `about`. `extras` are tensors to store beside the weights. Without `spec["model"]` the
    reader must name the model: `landscape eig ckpt.pt --model pkg.mod:factory`. Raises UsageError for unknown names,
    and for data that cannot be embedded.

    >>> import landscape
    >>> from tempfile import TemporaryDirectory
    >>> from landscape.zoo.mlp import mlp
    >>> spec = {"model": "mlp", "model_args": {"sizes": [64, 10]}}
    >>> with TemporaryDirectory() as folder:
    ...     landscape.save(f"{folder}/a.pt", mlp(sizes=[64, 10]), data="digits", loss="cross_entropy", spec=spec)
    ...     landscape.load(f"{folder}/a.pt").space.size
    650
    """
    extras = dict(extras or {})
    named = {"loss": loss, "data": data if isinstance(data, str) else None}
    if data is not None and not isinstance(data, str):
        extras |= _batch_to_embed(data)
    description = _make_spec({**(spec or {}), **{key: value for key, value in named.items() if value is not None}})
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    if Path(path).suffix == ".safetensors":
        prefixed = {f"{DATA_KEY}.{key}": tensor.contiguous() for key, tensor in extras.items()}
        save_file(
            {key: tensor.clone() for key, tensor in (state | prefixed).items()}, path, {SPEC_KEY: description.to_json()}
        )
    else:
        torch.save({"state_dict": state, SPEC_KEY: description.to_json(), DATA_KEY: extras}, path)


def _batch_to_embed(data: Any) -> dict[str, Tensor]:
    try:
        batch = as_batch(data)
    except TaskError:
        batch = None
    if batch is None or not (isinstance(batch.inputs, Tensor) and isinstance(batch.targets, Tensor)):
        raise UsageError(
            f"data is a {type(data).__name__}, which cannot be embedded in a checkpoint",
            fix="one batch (inputs, targets) of tensors, a registered name, or a file beside it for --data",
        )
    return {"inputs": batch.inputs, "targets": batch.targets}


def _make_spec(entries: dict[str, Any]) -> Spec:
    try:
        spec = Spec(**entries)
    except TypeError as error:
        raise UsageError(f"spec: {error}", fix=f"entries: {', '.join(Spec.__dataclass_fields__)}") from None
    named = (
        ("model", spec.model, "models"),
        ("data set", spec.data, "data"),
        ("loss", spec.loss, "losses"),
        ("objective", spec.objective, "objectives"),
    )
    for kind, name, group in named:
        known = [*registry.registry_entries(group), *([HF] if kind == "loss" else [])]
        if name is not None and (not isinstance(name, str) or (name not in known and ":" not in name)):
            raise UsageError(
                f"there is no registered {kind} {name!r}",
                fix=f"one of {', '.join(known)}, or pkg.mod:name, which its reader must then trust",
            )
    return spec
