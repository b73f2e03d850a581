"""The result of `landscape influence`: scores by sample and query, their solves, and the samples that stand out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.shared.cost import cost_scalar
from landscape.analyses.shared.meaning import percent
from landscape.errors import listing
from landscape.fields import Gauge, array, scalar

if TYPE_CHECKING:
    import numpy as np

WHOLE = 0.9  # of the parameters: beyond it what scores leave out is small
AGREEING = 0.9  # rank correlation at two dampings from which ranks are called independent of the damping
STATIONARY = 0.1  # norm of the mean gradient, relative to the samples', from which a net is at no minimum


@dataclass(frozen=True, kw_only=True)
class InfluenceResult(Result):
    """Scores of N training samples for K queries, and of each sample for itself.

    A score is g_q' (G + damping)^-1 g_t / n, with g_t the gradient of a training sample's summed loss, g_q that of the
    query's mean loss, and n the number of loss terms in the data: by so much the query's loss rises, to first order,
    when the sample is removed and the net trained to the end. Positive: the sample helps; negative: it harms.
    """

    tables: ClassVar[tuple[str, ...]] = ("query", "top", "rank", "score", "membership")
    facts: ClassVar[tuple[str, ...]] = ("damping", "covered", "loss", "products")

    query: np.ndarray | None = array("query", words=True, help="Name of the query.", optional=True)
    query_loss: np.ndarray | None = array("query", help="Mean loss of the query.", optional=True)
    residual: np.ndarray | None = array(
        "query", help="|b - (G + damping) x| / |b| of the solution x, from a product at the end.", optional=True
    )
    iterations: np.ndarray | None = array("query", help="Products of the query's solve.", optional=True, detail=True)
    error: np.ndarray | None = array(
        "query",
        help="Root mean square of the errors of the query's scores by the solve.",
        optional=True,
        label="RMS error of the scores",
    )
    error_bound: np.ndarray | None = array(
        "query",
        help="Largest error of a score by the residual r, at most |g_t| |r| / (damping n) for a semidefinite matrix.",
        optional=True,
        detail=True,
        label="bound of the error",
    )
    spread: np.ndarray | None = array(
        "query", help="Root mean square of the query's scores.", optional=True, label="RMS of the scores"
    )
    agreement: np.ndarray | None = array(
        "query",
        help="Rank correlation (Spearman) with the scores at ten times the damping.",
        optional=True,
        label="ranks at 10 x damping",
    )
    sample: np.ndarray = array("sample", help="Number of the training sample in its data.")
    scores: np.ndarray | None = array(
        "sample",
        "query",
        help="Rise of the query's loss when the sample is removed, to first order: positive helps, negative harms.",
        optional=True,
        gauge=Gauge("score_errors"),
    )
    score_errors: np.ndarray | None = array(
        "sample",
        "query",
        help="Error of that score by the solve, from how it moved while the residual fell.",
        optional=True,
    )
    top: np.ndarray | None = array("top", help="Place in the lists for the mean of all queries.", optional=True)
    helpful_sample: np.ndarray | None = array(
        "top", help="Number of a most helpful sample.", optional=True, label="helpful sample"
    )
    helpful_score: np.ndarray | None = array("top", help="Its score.", optional=True, label="its score")
    harmful_sample: np.ndarray | None = array(
        "top", help="Number of a most harmful sample.", optional=True, label="harmful sample"
    )
    harmful_score: np.ndarray | None = array("top", help="Its score.", optional=True, label="its score")
    query_helpful: np.ndarray | None = array(
        "query", "top", help="Numbers of each query's most helpful samples.", optional=True
    )
    query_harmful: np.ndarray | None = array(
        "query", "top", help="Numbers of each query's most harmful samples.", optional=True
    )
    self_influence: np.ndarray | None = array(
        "sample", help="g_t' (G + damping)^-1 g_t / n: the sample's influence on its own loss.", optional=True
    )
    sample_loss: np.ndarray = array("sample", help="Mean loss of the training sample.")
    gradient_norm2: np.ndarray = array("sample", help="Squared norm of the gradient of its summed loss.")
    sample_memorized: np.ndarray | None = array(
        "sample", help="Whether the sample is in the population memorized.", optional=True
    )
    rank: np.ndarray | None = array("rank", help="Rank by self-influence, the largest first.", optional=True)
    rank_sample: np.ndarray | None = array("rank", help="Number of the sample.", optional=True, label="sample")
    rank_self_influence: np.ndarray | None = array("rank", help="Its self-influence.", optional=True)
    rank_loss: np.ndarray | None = array("rank", help="Its loss.", optional=True)
    is_memorized: np.ndarray | None = array(
        "rank", help="Whether it is in the population memorized.", optional=True, label="memorized"
    )
    score: np.ndarray | None = array("score", words=True, help="Name of the score.", optional=True)
    auroc: np.ndarray | None = array(
        "score",
        help="Probability that a memorized sample scores above another one.",
        optional=True,
        gauge=Gauge("auroc_se", by_samples=True),
        label="AUROC",
    )
    auroc_se: np.ndarray | None = array("score", help="Standard error of the AUROC.", optional=True)
    non_member: np.ndarray | None = array(
        "non_member", help="Number of a sample that the net was not trained on, in --non-members.", optional=True
    )
    non_member_self_influence: np.ndarray | None = array(
        "non_member", help="g' (G + damping)^-1 g / n of it, with the same G and n.", optional=True
    )
    non_member_loss: np.ndarray | None = array("non_member", help="Its mean loss.", optional=True)
    membership: np.ndarray | None = array(
        "membership", words=True, help="Name of the score by which membership is told.", optional=True
    )
    membership_auroc: np.ndarray | None = array(
        "membership",
        help="Probability that a sample of --non-members scores above a training sample; 0.5 tells nothing.",
        optional=True,
        gauge=Gauge("membership_auroc_se", by_samples=True),
    )
    membership_auroc_se: np.ndarray | None = array("membership", help="Standard error of that.", optional=True)
    self_agreement: float | None = scalar(
        "Rank correlation of self-influences with those at ten times the damping.", optional=True
    )
    self_residual: float | None = scalar(
        "Largest residual of the solves for self-influences; with kfac and ekfac, of a few random samples.",
        optional=True,
    )
    damping: float = scalar("Damping: what is added to the eigenvalues; the mean of all if layers have their own.")
    eigenvalue: float | None = scalar(
        "What --damping auto is a share of: tr G^2 / tr G, or the mean eigenvalue of Kronecker factors.", optional=True
    )
    eigenvalue_se: float | None = scalar("Its standard error over random vectors.", optional=True)
    tol: float | None = scalar("Largest residual asked for; only cg has one.", optional=True)
    covered: float | None = scalar(
        "Share of the parameters in layers that have Kronecker factors; scores leave the others out.",
        optional=True,
        label="parameters with factors",
        percent=True,
    )
    stationarity: float = scalar("Norm of the mean gradient, relative to the root mean square norm of the samples'.")
    products: int = scalar("Products with the matrix over the full data.")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    solve_trouble: Trouble | None = field(default=None, repr=False, compare=False)

    @property
    def worst_residual(self) -> float:
        """The largest residual of a solve; NaN if one is not known."""
        every = [] if self.residual is None else [float(one) for one in self.residual]
        every += [] if self.self_residual is None else [self.self_residual]
        return math.nan if any(map(math.isnan, every)) else max(every, default=math.nan)

    def inconclusive(self) -> Trouble | None:
        """That scores are not finite, or that a residual of cg misses the tolerance."""
        values = [part for part in (self.scores, self.self_influence) if part is not None]
        if not all(math.isfinite(float(abs(part).max(initial=0.0))) for part in values):
            return Trouble("scores are not finite", "--dtype float64, or a larger --damping", "not finite")
        if self.tol is None or self.worst_residual <= self.tol:
            return None
        missed = f"the residual is {self.worst_residual:.2g}, {self.tol:g} was asked for"
        return self.solve_trouble or Trouble(missed, "a larger --damping, or a larger --max-iterations")

    def meaning(self) -> str:
        """The sample that helps the queries most, if nothing leaves it open; else how memorized samples stand out."""
        return self._most_helpful() or self._memorized()

    def _most_helpful(self) -> str:
        """The most helpful sample, if its score is apart from the next one's by more than their errors."""
        if self.helpful_score is None or self.helpful_sample is None or self.score_errors is None or self.tol is None:
            return ""
        if len(self.helpful_score) < 2 or self._ranks() or self._training():
            return ""
        first, second = (float(self.score_errors[self.sample == one].mean()) for one in self.helpful_sample[:2])
        score, next_one = (float(one) for one in self.helpful_score[:2])
        if not score - next_one > 2 * (first + second) or not score > 0:
            return ""
        return (
            f"training sample {self.helpful_sample[0]} helps the queries most: without it their mean loss would be "
            f"higher by {score:.2g}, to first order"
        )

    def _memorized(self) -> str:
        """How often a memorized sample has the larger self-influence, if that is beyond chance."""
        if self.score is None or self.auroc is None or self.auroc_se is None:
            return ""
        found = [index for index, name in enumerate(self.score) if str(name) == "self_influence"]
        if not found or not abs(self.auroc[found[0]] - 0.5) > 2 * self.auroc_se[found[0]]:
            return ""
        return (
            f"a memorized sample has a larger self-influence than another one in {percent(self.auroc[found[0]])} of "
            "all pairs"
        )

    def remarks(self) -> list[str]:
        """What the sign says, whose inverse the scores are of, and whether damping and training decide the ranks."""
        return [*self._signs(), *self._approximation(), *self._ranks(), *self._training()]

    def _signs(self) -> list[str]:
        if self.scores is None:
            return []
        named = zip([] if self.query is None else self.query, [] if self.spread is None else self.spread, strict=False)
        flat = [str(name) for name, spread in named if spread == 0]
        return [
            "a positive score helps: without the sample the query's loss would be higher by it, to first order",
            *([f"all scores are 0 for {listing(flat)}: the lists of samples mean nothing there"] if flat else []),
        ]

    def _approximation(self) -> list[str]:
        if self.tol is not None:
            return []
        left_out = (
            [f"the scores leave out {100 * (1 - self.covered):.2g} % of the parameters, without Kronecker factors"]
            if self.covered is not None and self.covered < WHOLE
            else []
        )
        found = f"residual {self.worst_residual:.2g}" if math.isfinite(self.worst_residual) else "residual not known"
        return [
            f"these are the scores of Kronecker factors, not of the matrix itself: under that, their solutions have "
            f"{found} (--inverse cg solves to 1e-3)",
            *left_out,
        ]

    def _ranks(self) -> list[str]:
        every = [] if self.agreement is None else [float(one) for one in self.agreement]
        every += [] if self.self_agreement is None else [self.self_agreement]
        known = [one for one in every if math.isfinite(one)]
        if not known or min(known) >= AGREEING:
            return []
        return [
            f"the damping decides the ranks: with ten times as much their correlation is {min(known):.2f} at worst; "
            "compare several --damping"
        ]

    def _training(self) -> list[str]:
        if not self.stationarity > STATIONARY:
            return []
        return [
            f"the net is at no minimum: its mean gradient has {self.stationarity:.2g} of the norm of a sample's, and "
            "the first-order change is that of a net trained to the end"
        ]
