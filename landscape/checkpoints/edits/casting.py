"""Casts new values of tensors to the dtypes in which a checkpoint stores them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from landscape.checkpoints.formats.tensor_refs import ITEMSIZE, TensorRef
from landscape.errors import NumericalError, UsageError, listing, suggest


def cast_values(changes: Mapping[str, Tensor], refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The new values in their stored dtypes, contiguous and on the CPU, by name; tied names get the same values.

    torch casts each value once, from float64 (its cast to 16 bits goes through float32). Raises UsageError for unknown
    names, other shapes or dtypes, values that an integer dtype lacks, and tensors that share a part of their memory;
    NumericalError for values beyond the range of the stored dtype.
    """
    unknown = [suggest(name, refs) for name in changes if name not in refs]
    if unknown:
        raise UsageError(
            f"the checkpoint has no tensors called {listing(unknown)}", fix="names as landscape inspect shows"
        )
    stored = {name: _cast(name, values, refs[name]) for name, values in changes.items()}
    return stored | dict(_tied_values(stored, refs))


def tensor_bytes(tensor: Tensor) -> bytes:
    """A tensor's bytes, row by row."""
    flat: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return flat


def _cast(name: str, values: Tensor, ref: TensorRef) -> Tensor:
    if tuple(values.shape) != ref.shape or values.dtype != torch.float64:
        raise UsageError(
            f"the new values of {name} are {values.dtype} {tuple(values.shape)}, not torch.float64 {ref.shape}",
            fix="give as many values as the file has, in float64, so that they are rounded once",
        )
    values, dtype = values.detach().cpu(), getattr(torch, ref.dtype)
    stored = values.to(dtype).contiguous()
    if dtype.is_floating_point:
        _require_in_range(name, values, stored)
    elif not torch.equal(stored.to(torch.complex128), values.to(torch.complex128)):
        raise UsageError(f"{name} is {ref.dtype}, which cannot have its new values", fix="leave it as it is")
    return stored


def _require_in_range(name: str, values: Tensor, stored: Tensor) -> None:
    """Raises NumericalError for finite values that the cast made infinite, or clipped to the greatest of the dtype."""
    range_of = torch.finfo(stored.dtype)
    beyond = values.abs() > range_of.max * (1 + range_of.eps)  # below, they are rounded to the greatest
    lost = values.isfinite() & (beyond | ~stored.to(torch.float64).isfinite())
    if lost.any():
        raise NumericalError(
            f"{int(lost.sum())} new values of {name} are beyond {range_of.max:g}, the most that {stored.dtype} holds",
            fix="a smaller step, or convert the checkpoint to float32 first",
        )


def _tied_values(stored: Mapping[str, Tensor], refs: Mapping[str, TensorRef]) -> Iterator[tuple[str, Tensor]]:
    """The names that are tied to a changed tensor; raises UsageError for names that share a part of its memory."""
    sharing: dict[str, list[str]] = {}
    for name, ref in refs.items():
        sharing.setdefault(ref.storage.key, []).append(name)
    for name, values in stored.items():
        for other in sharing[refs[name].storage.key]:
            if other == name or not _share_bytes(refs[name], refs[other]):
                continue
            if _view_key(refs[name]) != _view_key(refs[other]):
                raise UsageError(
                    f"{name} and {other} share a part of their memory",
                    why="changing one would change the other in the model",
                    fix="save the checkpoint with .clone() of both",
                )
            if other in stored and tensor_bytes(stored[other]) != tensor_bytes(values):
                raise UsageError(
                    f"{name} and {other} are one tensor, with different new values", fix="change one of them"
                )
            yield other, values


def _view_key(ref: TensorRef) -> tuple[object, ...]:
    return ref.dtype, ref.offset, ref.shape, ref.stride


def _share_bytes(one: TensorRef, other: TensorRef) -> bool:
    """Whether two views of one storage have a byte in common."""
    marks = torch.zeros(one.storage.nbytes, dtype=torch.bool)
    _view_of_bytes(one, marks).fill_(True)
    return bool(_view_of_bytes(other, marks).any())


def _view_of_bytes(ref: TensorRef, storage: Tensor) -> Tensor:
    """The view's part of a storage `(nbytes,)`, with an axis for the bytes of each item."""
    size = ITEMSIZE[ref.dtype]
    return storage.as_strided((*ref.shape, size), (*(step * size for step in ref.stride), 1), ref.offset * size)
