"""New values for a checkpoint's tensors, in the dtypes in which they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from landscape.checkpoints.formats.tensor_refs import ITEMSIZE, TensorRef
from landscape.errors import NumericalError, UsageError, listing, suggest


def cast_values(changes: Mapping[str, Tensor], refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The new values as they are stored, on the processor and contiguous, of all names that share them.

    Each is cast once, from float64, by torch (whose cast to 16 bits itself goes through float32). Raises UsageError
    for unknown names, other shapes or dtypes, values that an integer cannot have, and tensors that share a part of
    their memory; NumericalError for values beyond what the stored dtype can hold.
    """
    unknown = [suggest(name, refs) for name in changes if name not in refs]
    if unknown:
        raise UsageError(
            f"the checkpoint has no tensors called {listing(unknown)}", fix="names as landscape inspect shows"
        )
    stored = {name: _stored(name, values, refs[name]) for name, values in changes.items()}
    return stored | dict(_tied(stored, refs))


def tensor_bytes(tensor: Tensor) -> bytes:
    """A tensor's bytes, row by row."""
    flat: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return flat


def _stored(name: str, values: Tensor, ref: TensorRef) -> Tensor:
    if tuple(values.shape) != ref.shape or values.dtype != torch.float64:
        raise UsageError(
            f"the new values of {name} are {values.dtype} {tuple(values.shape)}, not torch.float64 {ref.shape}",
            fix="give as many values as the file has, in float64, so that they are rounded once",
        )
    values, dtype = values.detach().cpu(), getattr(torch, ref.dtype)
    stored = values.to(dtype).contiguous()
    if dtype.is_floating_point:
        _require_held(name, values, stored)
    elif not torch.equal(stored.to(torch.complex128), values.to(torch.complex128)):
        raise UsageError(f"{name} is {ref.dtype}, which cannot have its new values", fix="leave it as it is")
    return stored


def _require_held(name: str, values: Tensor, stored: Tensor) -> None:
    """Raises NumericalError for finite values that became infinite, or that a dtype without infinities cut off."""
    range_of = torch.finfo(stored.dtype)
    beyond = values.abs() > range_of.max * (1 + range_of.eps)  # below, they are rounded to the greatest
    lost = values.isfinite() & (beyond | ~stored.to(torch.float64).isfinite())
    if lost.any():
        raise NumericalError(
            f"{int(lost.sum())} new values of {name} are beyond {range_of.max:g}, the most that {stored.dtype} holds",
            fix="a smaller step, or convert the checkpoint to float32 first",
        )


def _tied(stored: Mapping[str, Tensor], refs: Mapping[str, TensorRef]) -> Iterator[tuple[str, Tensor]]:
    """The names that are the same view of a storage as a changed one; UsageError for views that overlap otherwise."""
    sharing: dict[str, list[str]] = {}
    for name, ref in refs.items():
        sharing.setdefault(ref.storage.key, []).append(name)
    for name, values in stored.items():
        for other in sharing[refs[name].storage.key]:
            if other == name or not _overlap(refs[name], refs[other]):
                continue
            if _view(refs[name]) != _view(refs[other]):
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


def _view(ref: TensorRef) -> tuple[object, ...]:
    return ref.dtype, ref.offset, ref.shape, ref.stride


def _overlap(one: TensorRef, other: TensorRef) -> bool:
    """Whether two views of one storage have a byte in common: marked by the first, then looked for by the second."""
    marks = torch.zeros(one.storage.nbytes, dtype=torch.bool)
    _bytes_of(one, marks).fill_(True)
    return bool(_bytes_of(other, marks).any())


def _bytes_of(ref: TensorRef, storage: Tensor) -> Tensor:
    """The view's part of a storage `(nbytes,)`, with an axis for the bytes of each item."""
    size = ITEMSIZE[ref.dtype]
    return storage.as_strided((*ref.shape, size), (*(step * size for step in ref.stride), 1), ref.offset * size)
