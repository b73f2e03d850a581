"""Weights that are kept in fewer bits than they are computed in: they are cast where they are used.

Theta is then the difference from them: zeros, of which a single one lies in memory. The gradient in theta is the
gradient in the weights, in the precision of theta.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from landscape.errors import UsageError

NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def describe_narrow(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> str:
    """A note on weights that are held in less precision than they are measured in, or ""."""
    narrow = {str(t.dtype) for t in tensors.values() if t.is_floating_point() and t.itemsize < 4}
    note = f"{', '.join(sorted(narrow))} weights are computed in {dtype}"
    return note.replace("torch.", "") if narrow else ""


def round_weights_(tensors: Mapping[str, Tensor], kind: str) -> str:
    """Rounds tensors in place to what a narrow dtype holds, and returns a note on how many of them changed, or "".

    Raises UsageError if numbers are too large for it.
    """
    changed = 0
    for name, tensor in tensors.items():
        rounded = tensor.to(NARROW[kind]).to(tensor.dtype)
        if bool((rounded.isinf() & tensor.isfinite()).any()):
            raise UsageError(f"--weights-dtype {kind} cannot hold {name}", fix="--weights-dtype bfloat16")
        if not rounded.equal(tensor):
            changed += 1
            tensor.copy_(rounded)
    return f"{changed} of {len(tensors)} tensors of weights are rounded to {kind}" if changed else ""


def keep_narrow(
    parts: Mapping[str, Tensor], theta: Tensor, parameters: Iterable[nn.Parameter], kind: str
) -> tuple[dict[str, Tensor], Tensor]:
    """The parts of theta in a narrow dtype, and zeros in the place of theta, whose memory the parameters let go."""
    kept = {name: part.to(NARROW[kind]) for name, part in parts.items()}
    release(parameters, theta)
    return kept, theta.new_zeros(()).expand(theta.shape)


def release(parameters: Iterable[nn.Parameter], theta: Tensor) -> None:
    """Frees theta of the parameters that share its memory: they become zeros, of which one lies in memory."""
    memory = theta.untyped_storage().data_ptr()
    for parameter in parameters:
        if parameter.untyped_storage().data_ptr() == memory:
            parameter.data = parameter.data.new_zeros(()).expand(parameter.shape)


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another precision; one number in memory that stands for all stays one."""
    if tensor.numel() > 1 and not any(tensor.stride()):
        return tensor[(0,) * tensor.ndim].to(dtype).expand(tensor.shape)
    return tensor.to(dtype)


def cast_weight(difference: Tensor, stored: Tensor | None) -> Tensor:
    """The weight of which a tensor is the difference from the stored one; the tensor itself if none is stored."""
    return difference if stored is None else difference + stored.to(difference.device, difference.dtype)


def weights_of_blocks(
    module: nn.Module, blocks: Sequence[nn.Module], stored: Mapping[str, Tensor]
) -> tuple[frozenset[str], dict[int, dict[str, Tensor]]]:
    """The names of the stored weights that blocks alone use; and these by the block's identity and names in it."""
    ids = {id(block) for block in blocks}
    paths = tuple(f"{path}." for path, part in module.named_modules(remove_duplicate=False) if id(part) in ids)
    uses: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        uses.setdefault(id(parameter), []).append(name)
    inside = {key: names[0] for key, names in uses.items() if all(name.startswith(paths) for name in names)}
    inside = {key: name for key, name in inside.items() if name in stored}
    parts = {
        id(block): {
            name: stored[inside[id(parameter)]]
            for name, parameter in block.named_parameters()
            if id(parameter) in inside
        }
        for block in blocks
    }
    return frozenset(inside.values()), parts
