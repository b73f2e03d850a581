"""Which numbers of a result a history keeps, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.fields import Array, Scalar, described_fields, dimensions, gauge_of, number_fields

STEP = "step"
OF_THE_CHECKPOINT = ("loss", "gradient_norm")  # fields that stand once, and not for each analysis
OF_THE_RUN = ("parameters", "samples")  # fields that are the same at all checkpoints


@dataclass(frozen=True)
class Quantity:
    """What a number of a history is: the names of its dimensions besides the step, and of its error."""

    dims: tuple[str, ...] = ()
    help: str = ""
    unit: str = "1"
    error: str = ""
    words: bool = False


CHECKPOINT_QUANTITIES: Mapping[str, Quantity] = {
    "loss": Quantity((), "Mean loss at the checkpoint."),
    "gradient_norm": Quantity((), "Norm of the gradient of the mean loss."),
}


def quantities_of(analysis: str, result: Any) -> dict[str, tuple[Quantity, Any]]:
    """The numbers and printed columns of a result by name, `eig.eigenvalues` for one, with what they are.

    Dimensions bear the name of the analysis too. Curves, and words that are no coordinate, are left out.
    """
    found = dict(_columns(analysis, result))
    for field in described_fields(type(result), Scalar):
        value = getattr(result, field.name)
        if value is not None and field.name not in (*OF_THE_CHECKPOINT, *OF_THE_RUN):
            error = _error(analysis, type(result), field.name)
            found[f"{analysis}.{field.name}"] = Quantity((), field.about.help, field.about.unit, error), value
    return found


def _columns(analysis: str, result: Any) -> Iterator[tuple[str, tuple[Quantity, np.ndarray]]]:
    """The arrays over dimensions of printed tables alone."""
    kind = type(result)
    held = {field.name for field in described_fields(kind, Array) if getattr(result, field.name) is not None}
    for field in described_fields(kind, Array):
        if field.name not in held:
            continue
        dims, values = dimensions(kind, field, held), np.asarray(getattr(result, field.name))
        words, coordinate = values.dtype.kind == "U", dims == (field.name,)
        if not set(dims) <= set(kind.tables) or (words and not coordinate):
            continue
        error = "" if coordinate else _error(analysis, kind, field.name)
        own = tuple(f"{analysis}.{dim}" for dim in dims)
        yield f"{analysis}.{field.name}", (Quantity(own, field.about.help, field.about.unit, error, words), values)


def _error(analysis: str, kind: type, field: str) -> str:
    """The name of a number's error; "" if it has none."""
    error = gauge_of(kind, field).error if field in number_fields(kind) else ""
    return f"{analysis}.{error}" if error else ""
