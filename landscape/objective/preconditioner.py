"""A positive diagonal by parameter, as an optimizer keeps it, as one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from landscape.errors import UsageError, listing
from landscape.network.space import ParameterSpace

NEGLIGIBLE_ENTRY = 1e-4  # of the median: what only Adam's epsilon has left of a preconditioner's entry
NamedTensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Preconditioner:
    """The optimizer's diagonal `(P,)`, and notes on entries next to 0."""

    diagonal: Tensor
    notes: tuple[str, ...]


def read_preconditioner(
    source: NamedTensors | Callable[[], NamedTensors] | None, space: ParameterSpace, like: Tensor
) -> Preconditioner:
    """The diagonal of all parameters of `space`, on the device and in the dtype of `like`.

    Raises UsageError if there is no `source`, or if a parameter has no tensor in it.
    """
    if source is None:
        raise UsageError("no preconditioner is known", fix="Objective(..., preconditioner={name: tensor})")
    tensors = source() if callable(source) else source
    missing = [b.name for b in space.blocks if b.name not in tensors or tensors[b.name].shape != b.shape]
    if missing:
        raise UsageError(
            f"the preconditioner has no tensor that fits {listing(missing)}",
            fix="leave these parameters out with --params, or give their diagonal with --preconditioner",
        )
    diagonal = space.flatten(tensors).to(like)
    return Preconditioner(diagonal, tuple(_tiny_entries(diagonal, space)))


def _tiny_entries(diagonal: Tensor, space: ParameterSpace) -> list[str]:
    """A note on entries next to 0, or nothing."""
    tiny = diagonal < NEGLIGIBLE_ENTRY * diagonal.median()
    if not tiny.any():
        return []
    names = [name for name, part in space.unflatten(tiny).items() if part.any()]
    return [
        f"{int(tiny.sum())} of {len(tiny)} entries of the preconditioner are next to 0: {listing(names)}; "
        "where training saw no gradient (a bias before BatchNorm), leave the parameter out with --params"
    ]
