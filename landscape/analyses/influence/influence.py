"""The description of `landscape influence`: its options."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import MeasurementModule, Result
from landscape.analyses.influence.influence_result import InfluenceResult
from landscape.analyses.shared.curvature import MatrixOptions
from landscape.choices import OperatorName, stored_population
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective

Inverse = Literal["cg", "kfac", "ekfac"]
Preconditioner = Literal["nystrom", "kfac", "ekfac", "none"]
MAX_EACH = 32  # queries up to which each has scores of its own by default
AUTO = "auto"
SEMIDEFINITE = ("ggn", "fisher", "empirical-fisher")
MIN_PARAMETERS = 64  # of a matrix that is sketched: smaller systems take few iterations anyway


@dataclass(frozen=True)
class Influence(MatrixOptions):
    """What removing each training sample does to the loss of queries, to first order, and to its own loss.

    Source: Koh and Liang 2017 (influence functions); Grosse et al. 2023 (EK-FAC, damping).

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Influence(query="samples:0,5", damping="0.1"), objective)
    >>> result.scores.shape, bool(result.residual.max() <= 1e-3)
    ((100, 2), True)
    """

    name: ClassVar[str] = "influence"
    summary: ClassVar[str] = "Which training samples help or harm the loss of a query."
    result: ClassVar[type[Result]] = InfluenceResult
    needs_weights: ClassVar[bool] = True

    operator: OperatorName = option(
        "ggn", title=True, help="The matrix that is inverted: ggn, hessian, fisher, empirical-fisher or pyhessian."
    )
    query: str | None = option(
        None,
        kind="reference",
        title="query {}",
        help="Samples whose loss is explained: samples:0,5,10-19 of the data, the name of a population, also in part "
        "(held-out:0-9), or other data as for --data, with arguments behind commas (digits,split=test).",
    )
    train: str | None = option(
        None,
        kind="reference",
        title="train {}",
        help="Samples that are scored, named as for --query; the matrix is that of the data, or of other data that are "
        "named here. Default: all of the data.",
    )
    each: bool | None = option(
        None, help=f"Scores for each query by itself; otherwise for their mean loss. Default: up to {MAX_EACH} queries."
    )
    self_: bool = option(
        False, help="Also score each training sample's influence on itself; the default where there is no --query."
    )
    non_members: str | None = option(
        None,
        kind="reference",
        help="Samples that the net was not trained on, named as for --query: with which AUROC loss, squared gradient "
        "and self-influence tell them from the training samples that are scored.",
    )
    inverse: Inverse | None = option(
        None,
        help="cg solves with the matrix itself, to --tol; kfac and ekfac invert Kronecker factors of the Fisher matrix "
        "in its place. Default cg; ekfac without a query.",
    )
    damping: str = option(
        AUTO,
        help="Added to the eigenvalues before they are inverted: a number, or auto, 0.03 of their mean weighted by "
        "themselves, and for kfac and ekfac a tenth of each layer's mean. Scores are also measured with ten times as "
        "much.",
    )
    tol: float = option(1e-3, help="Largest residual |b - (G + damping) x| / |b| of cg (exit 3).", min=1e-12, max=0.5)
    max_iterations: int = option(
        2000, help="Give a column of cg up after so many products (exit 3).", min=1, identity=False
    )
    precondition: Preconditioner | None = option(
        None,
        help="Preconditioner of cg: nystrom from products with random vectors, Kronecker factors, or none. Default "
        f"nystrom, for semidefinite matrices of at least {MIN_PARAMETERS} parameters.",
    )
    sketch: int = option(
        256, help="Products of the nystrom preconditioner, which all solves share, if memory allows.", min=1
    )
    population: tuple[str, ...] = option(
        (),
        kind="named-references",
        shared=True,
        help="More samples by name, NAME=DATA[,KEY=VALUE...]. AUROC is how well scores part memorized from others.",
        identity=False,  # `ingredients` identifies their samples instead
    )
    top: int = option(10, help="Rows of the table: most helpful and most harmful samples.", min=1, identity=False)

    def __post_init__(self) -> None:
        population = (self.population,) if isinstance(self.population, str) else tuple(self.population)
        object.__setattr__(self, "population", population)
        object.__setattr__(self, "damping", _damping_text(self.damping))
        super().__post_init__()
        if self.operator == "preconditioned":
            raise UsageError(
                "--operator preconditioned is the curvature in other coordinates than the gradients'",
                fix="--operator ggn",
            )
        if self.query is None and self.each is not None:
            raise UsageError("--each and --no-each are about queries", fix="--query samples:0,5,7")

    @property
    def scores_itself(self) -> bool:
        """Whether the influence of samples on themselves is measured."""
        return self.self_ or self.query is None or self.non_members is not None

    def fit_budget(self, objective: Objective) -> Influence:
        """The analysis with the inverse, its preconditioner and the kind of columns that the defaults mean here."""
        inverse = self.inverse or ("ekfac" if self.query is None else "cg")
        each = self.each
        if each is None and self.query is not None:
            measuring: Any = self.measurement()
            each = measuring.query_count(self, objective) <= MAX_EACH
        return replace(self, inverse=inverse, each=each, precondition=self._preconditioner(inverse, objective))

    def _preconditioner(self, inverse: Inverse, objective: Objective) -> Preconditioner:
        """The preconditioner as given, or what is fast: none of an inverse that does not iterate."""
        if inverse != "cg":
            return "none"
        if self.precondition is not None:
            return self.precondition
        return "nystrom" if self.operator in SEMIDEFINITE and objective.space.size >= MIN_PARAMETERS else "none"

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """The samples of populations, and of data that --query and --train name, as the beginnings of their hashes."""
        from landscape.analyses.influence.references import digests
        from landscape.evaluation.populations import populations

        every = populations(objective, self.population)
        named = {stored_population(name): one.batches.sha256[:8] for name, one in every.items()}
        return {
            **super().ingredients(objective),
            "populations": ", ".join(f"{name} {sha256}" for name, sha256 in named.items()),
            **digests(self, objective),
        }

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.influence import influence_measurement

        return influence_measurement


def _damping_text(damping: object) -> str:
    """The damping as it is stored: auto, or a number; raises UsageError for anything else."""
    if damping == AUTO:
        return AUTO
    try:
        value = float(str(damping))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"--damping is {damping}", fix="auto, or a positive number: --damping 1e-3")
    return f"{value:.12g}"
