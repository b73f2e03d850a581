"""How many vectors the Lanczos basis of `eig` holds, and in which memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from landscape.algorithms.lanczos.certificate import search_length
from landscape.algorithms.lanczos.lanczos import fewest_rows
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.compute.budget import is_large, vector_room
from landscape.errors import UsageError

if TYPE_CHECKING:
    from landscape.analyses.eig import Eig
    from landscape.objective import Objective

# 2 k + 20 for large models; with fewer, restarts cost more products than a basis in the host's memory costs time
MIN_ROWS = (2, 20)
DEFAULT_ROWS = (4, 80)  # 4 k + 80 vectors: an unrestarted run needs about 3 k + 10 on real spectra (20 of an MLP: 57)


@dataclass(frozen=True)
class BasisRows:
    """Rows of the basis: how many, how many of them fit beside the data, and whether they lie in the host's memory."""

    count: int
    beside: int
    spill: bool


def search_target(analysis: Eig) -> WantedPairs:
    """The eigenpairs that the options ask for, as the algorithm takes them."""
    gap = analysis.certify_gap if analysis.certify else None
    return WantedPairs(analysis.k, analysis.which, analysis.tol, analysis.confirm, gap, analysis.certify_probability)


def plan_basis(analysis: Eig, objective: Objective) -> BasisRows:
    """The rows of the basis; raises UsageError if there are too few parameters, or too few rows, for k eigenvalues."""
    k, block, size = analysis.k, analysis.block, objective.space.size
    if k > size:
        raise UsageError(f"-k {k} eigenvalues of {size} parameters", fix=f"-k {size} or fewer")
    # the certificate's bound holds for searches without a restart, and a second search may follow the first
    search = search_length(search_target(analysis), 2, size) if analysis.certify else 0
    per_value, more = MIN_ROWS if is_large(size) else DEFAULT_ROWS
    default = max(per_value * k + more * block, fewest_rows(k, block) + search * block)
    fewest = min(max(fewest_rows(k, block), k + (search + 1) * block + 1), size)
    beside = _fitting_rows(objective, objective.theta.device)
    tight = beside < min(max(MIN_ROWS[0] * k + MIN_ROWS[1], fewest), analysis.max_basis or default, size)
    spill = tight and objective.theta.device.type != "cpu"
    fitting = _fitting_rows(objective, torch.device("cpu")) if spill else beside
    rows = min(analysis.max_basis or min(default, fitting), size)
    if rows < fewest:
        raise UsageError(
            f"{rows} basis vectors are too few for {k} eigenvalues"
            + (f" in blocks of {block}" if block > 1 else "")
            + (" and --certify" if analysis.certify else ""),
            why="" if analysis.max_basis else f"only so many of {objective.theta.nbytes:.3g} bytes fit into memory",
            fix=f"--max-basis {fewest} or more, or a smaller -k"
            + (", or a larger --certify-gap" if analysis.certify else ""),
        )
    return BasisRows(rows, min(rows, beside), spill)


def keeps_vectors(analysis: Eig, objective: Objective) -> bool:
    """Whether the eigenvectors are computed: those of large models only if something asks for them."""
    if objective.function.in_parts:
        return False
    asked = analysis.save_vectors or analysis.resample or analysis.by or analysis.operator == "fisher"
    return bool(asked) or not is_large(objective.space.size)


def _fitting_rows(objective: Objective, device: torch.device) -> int:
    return vector_room(device, objective.theta.nbytes, objective.graph_bytes) // objective.theta.nbytes
