"""Fits a checkpoint's tensors to a model's names: wrappers' prefixes are undone, anything else is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from landscape.errors import CheckpointError, listing, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
PREFIXES = ("model.", "net.", "backbone.")  # one such wrapper is undone if the result then fits exactly
COUNTER = "num_batches_tracked"  # BatchNorm's, which old checkpoints lack and eval mode does not use


def unwrapped(name: str, known: frozenset[str] = frozenset()) -> str:
    """`module.layer._orig_mod.weight` is `layer.weight`; a name that the model itself has is left alone."""
    if name in known:
        return name
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def fit(
    tensors: Mapping[str, Tensor], model: Mapping[str, Tensor], where: str, named: str = "model"
) -> tuple[dict[str, Tensor], str]:
    """The tensors under the model's names, and a note of what was stripped ("" if nothing was).

    `model` is the model's state dict; `where` and `named` call both by name in messages. A tensor that the model has
    under several names (tied weights) may come under one of them. Raises CheckpointError for missing or unexpected
    names and unequal shapes.
    """
    wanted = frozenset(model)
    fitted = {unwrapped(name, wanted): tensor for name, tensor in tensors.items()}
    if len(fitted) < len(tensors):
        raise CheckpointError(
            f"{where} holds weights twice, with and without a wrapper's prefix", fix="keep one of them"
        )
    found = {part for name in tensors.keys() - fitted.keys() for part in name.split(".") if part in WRAPPERS}
    undone = [f"the wrapper {part!r}" for part in sorted(found)]
    fitted |= _understood(fitted, model)
    for prefix in PREFIXES:
        shorter = {name.removeprefix(prefix): tensor for name, tensor in fitted.items()}
        shorter |= _understood(shorter, model)
        if fitted.keys() != wanted and shorter.keys() == wanted:
            fitted = shorter
            undone.append(f"the prefix {prefix!r}")
    stripped = " and ".join(undone)
    _require_names(fitted, wanted, f"{where} does not fit the {named}")
    _require_shapes(fitted, model, f"{where} does not fit the {named}")
    return fitted, stripped and f"stripped {stripped} from {where}"


def _understood(found: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's names that may be missing: further names of one tensor, and counters."""
    first = {_identity(tensor): name for name, tensor in model.items() if name in found and tensor.numel()}
    missing = [name for name in model if name not in found]
    tied = {name: found[first[_identity(model[name])]] for name in missing if _identity(model[name]) in first}
    return tied | {name: model[name] for name in missing if name.rpartition(".")[2] == COUNTER}


def _identity(tensor: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    """Equal for two names of one tensor."""
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _require_names(found: Iterable[str], wanted: frozenset[str], complaint: str) -> None:
    names = set(found)
    missing, unexpected = sorted(wanted - names), sorted(names - wanted)
    problems = []
    if missing:
        problems.append(f"missing {listing(nearest(name, unexpected) for name in missing)}")
    if unexpected:
        problems.append(f"unexpected {listing(unexpected)}")
    if problems:
        raise CheckpointError(
            f"{complaint}: {'; '.join(problems)}",
            fix="name the model that these weights were trained in: --model pkg.mod:factory, --model-arg key=value",
        )


def _require_shapes(found: Mapping[str, Tensor], model: Mapping[str, Tensor], complaint: str) -> None:
    unequal = [
        f"{name} is {tuple(found[name].shape)} there and {tuple(model[name].shape)} in the model"
        for name in model
        if found[name].shape != model[name].shape
    ]
    if unequal:
        raise CheckpointError(
            f"{complaint}: {listing(unequal, 3)}",
            fix="give the model's sizes: --model-arg key=value",
        )
