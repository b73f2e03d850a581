"""Results of one file that were measured of the same matrix, to be drawn together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from landscape.analyses import ANALYSES
from landscape.session.attributes import has_readable_attributes
from landscape.session.stored import result_of
from landscape.storage.read import StoredResult

# parts of a fingerprint that tell one matrix from another
MATRIX_PARTS = ("weights", "data", "loss", "mode", "parameters", "operator", "preconditioner")
SAMPLED_MATRIX_PARTS = ("seed", "labels")  # of the Fisher matrix, whose labels are drawn


def results_of_same_matrix(groups: Mapping[str, StoredResult], name: str) -> dict[str, Any]:
    """The other results of a file that are of the same matrix as `name`: same weights, data, loss and operator."""
    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    others = {
        other: group
        for other, group in groups.items()
        if other in kinds and other != name and has_readable_attributes(group.attributes)
    }
    matrix = _matrix_parts(groups[name])
    return {other: result_of(kinds[other], group) for other, group in others.items() if _matrix_parts(group) == matrix}


def _matrix_parts(group: StoredResult) -> dict[str, Any]:
    """What a result's fingerprint says of its matrix."""
    parts = json.loads(str(group.attributes.get("fingerprint_parts", "{}")))
    drawn = SAMPLED_MATRIX_PARTS if parts.get("operator") == "fisher" else ()
    return {key: parts.get(key) for key in (*MATRIX_PARTS, *drawn)}
