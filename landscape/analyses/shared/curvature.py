"""Options that the analyses of a curvature matrix share: which matrix, over which parameters, resampled or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Analysis
from landscape.analyses.shared.data_error import parse_share
from landscape.choices import OperatorName
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective


@dataclass(frozen=True)
class MatrixOptions(Analysis):
    """The options shared by analyses of a symmetric matrix on the parameters: the Hessian, or the named operator."""

    needs_weights: ClassVar[bool] = False

    operator: OperatorName = option(
        "hessian", title=True, help="The matrix: hessian (or PyHessian's own products of it), ggn, fisher, ..."
    )
    labels: int = option(1, help="Labels drawn for each sample or token, with --operator fisher.", min=1)
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The digest of the preconditioner, which decides the result of --operator preconditioned."""
        ingredients = super().ingredients(objective)
        if self.operator == "preconditioned":
            diagonal = objective.preconditioner.cpu().contiguous().numpy()
            ingredients |= {"preconditioner": hashlib.sha256(diagonal.data).hexdigest()}
        return ingredients


@dataclass(frozen=True)
class Curvature(MatrixOptions):
    """The options of analyses that also measure the diagonal blocks of layers, or of chosen parameters."""

    per_layer: bool = option(False, help="Also measure the diagonal block of every module that owns parameters.")
    blocks: tuple[str, ...] = option(
        (), help="Also measure the diagonal block of these parameters, a glob over names. Repeatable."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_layer and self.blocks:
            raise UsageError("--per-layer and --blocks are two ways of choosing", fix="one of them")

    def groups(self, objective: Objective) -> tuple[ParameterGroup, ...]:
        """The groups of parameters whose diagonal blocks are measured too; none without --per-layer or --blocks."""
        if self.blocks:
            return objective.space.groups_matching(self.blocks)
        return objective.space.layers() if self.per_layer else ()

    def require_parts(self) -> None:
        """Raises UsageError for what takes whole vectors: other matrices, diagonal blocks."""
        if named := [name for name, given in self.needs_whole_vectors().items() if given]:
            raise UsageError(f"--shard on excludes {' and '.join(named)}", fix="leave it out, or --shard off")

    def needs_whole_vectors(self) -> dict[str, bool]:
        """The options that take whole vectors, and whether they are given."""
        return {
            f"--operator {self.operator}": self.operator != "hessian",
            "--per-layer": self.per_layer,
            "--blocks": bool(self.blocks),
        }


@dataclass(frozen=True)
class Resampled(Curvature):
    """The options of analyses that also estimate how much another draw of the samples would change."""

    resample: int = option(
        0, help="Groups of samples for a jackknife error of the data, besides the algorithm's; 0 for none.", min=0
    )

    data_error: str | None = option(
        None,
        help="Largest error by the choice of samples, standard error and bias together, e.g. 5%: as few samples are "
        "drawn as it needs (all of them, and exit 3, if they do not suffice), and --tol or --rtol fits it.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_error is not None:
            object.__setattr__(self, "data_error", f"{100 * parse_share(self.data_error):g}%")
        if self.resample == 1:
            raise UsageError("--resample 1 leaves nothing to compare", fix="--resample 20, or any number from 2")

    def needs_whole_vectors(self) -> dict[str, bool]:
        """The options that take whole vectors, or groups of samples, and whether they are given."""
        return super().needs_whole_vectors() | {
            "--resample": self.resample > 0 and self.data_error is None,
            "--data-error": self.data_error is not None,
        }
