"""Tables and notes about the directions of a surface: the checkpoints on it, and the treatment of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from landscape.analyses.surfaces.barcode import AXIS_NAMES
from landscape.analyses.surfaces.frame import Frame
from landscape.evaluation import directions
from landscape.evaluation.directions import Treatment
from landscape.objective import Objective


def mark_columns(frame: Frame) -> dict[str, Any]:
    """The checkpoints on the plane or near it, and the shares of the variance along its axes."""
    columns: dict[str, Any] = {
        f"explained_{name}": share for name, share in zip(AXIS_NAMES, frame.explained, strict=False)
    }
    marks = frame.marks
    if marks is None:
        return columns
    columns |= {f"place_{name}": column for name, column in zip(AXIS_NAMES, marks.places.T, strict=False)}
    return columns | {"mark": np.array(marks.names), "off_plane": marks.off_plane, "own_loss": marks.losses}


def treatment_columns(treatments: Sequence[Treatment], objective: Objective) -> dict[str, Any]:
    """How directions were scaled in each tensor, and the same by kind of tensor."""
    weights, names = objective.space.unflatten(objective.theta), [treatment.block.name for treatment in treatments]
    kinds = list(dict.fromkeys((treatment.kind, treatment.how) for treatment in treatments))
    of_kind = [[treatment for treatment in treatments if (treatment.kind, treatment.how) == kind] for kind in kinds]
    return {
        "kind": np.array([kind for kind, _ in kinds]),
        "kind_treatment": np.array([how for _, how in kinds]),
        "kind_tensors": np.array([len(members) for members in of_kind]),
        "kind_parameters": np.array([sum(treatment.block.size for treatment in members) for members in of_kind]),
        "kind_filters": np.array([sum(treatment.scaled_parts for treatment in members) for members in of_kind]),
        "tensor": np.array(names),
        "tensor_kind": np.array([treatment.kind for treatment in treatments]),
        "tensor_treatment": np.array([treatment.how for treatment in treatments]),
        "tensor_filters": np.array([treatment.scaled_parts for treatment in treatments]),
        "tensor_norm": np.array(
            [float(torch.linalg.vector_norm(weights[treatment.block.name])) for treatment in treatments]
        ),
    }


def treatment_notes(treatments: Sequence[Treatment], objective: Objective) -> tuple[str, ...]:
    """Notes on filters that cannot move, and on rows of token tables whose motion changes nothing."""
    zeros = directions.zero_filter_count(objective, treatments)
    notes = [f"{zeros:,} filters are 0, and do not move"] if zeros else []
    for name, rows in directions.rows_without_gradient(objective).items():
        notes.append(f"{rows:,} rows of {name} are not reached by the data: moving them changes nothing")
    return tuple(notes)
