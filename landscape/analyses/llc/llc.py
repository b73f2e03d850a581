"""The local learning coefficient by Markov chains: options and result of `llc`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Analysis, MeasurementModule, Result, Trouble
from landscape.analyses.shared.cost import cost_scalar
from landscape.errors import UsageError
from landscape.fields import Gauge, array, option, scalar

if TYPE_CHECKING:
    import numpy as np

    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

LARGEST_R_HAT = 1.05  # of chains that agree: above the 1.01 of Vehtari et al. 2021, whose chains serve for tails too
SURE_ERRORS = 3.0  # standard errors that a mean of 0 exceeds by chance in one run of 370
NEGATIVE_ERRORS = 2.0  # standard errors below 0 from which on a negative coefficient is not chance
LARGEST_STEP_BIAS = 0.2  # of the coefficient: its estimate is of first order, and misses a square of it
LOCALIZED_SHARE = 0.1  # of the coefficient, beyond which a remark says what gamma does to it
MORE_DRAWS = "the same command with a larger --draws resumes it"


@dataclass(frozen=True, kw_only=True)
class LlcResult(Result):
    """The local learning coefficient with its errors, what the chains tell of themselves, and their losses."""

    tables: ClassVar[tuple[str, ...]] = ("chain", "layer")
    facts: ClassVar[tuple[str, ...]] = ("r_hat", "effective_draws", "gamma", "loss", "cost_gradients")
    follows_loss: ClassVar[bool] = False

    llc: float = scalar(
        "n beta (E[L] - L(theta)), the local learning coefficient.",
        gauge=Gauge("llc_se", data_error="data_standard_error"),
        label="coefficient",
    )
    llc_se: float = scalar("Standard error of the coefficient over the draws of the chains.")
    lower: float = scalar("Lower end of its 95 % interval, of chance in the chains and of the step's bias.")
    upper: float = scalar("Upper end of that interval.")
    rtol: float = scalar("Largest standard error asked for, relative to the coefficient.")
    data_standard_error: float | None = scalar(
        "Standard error over the choice of samples (infinitesimal jackknife); NaN if chance in the chains hides it.",
        optional=True,
    )
    r_hat: float = scalar("Rank-normalized split R-hat of the losses: 1 if the chains agree.", label="R-hat")
    distance_r_hat: float = scalar("The same of the squared distances from the checkpoint.")
    effective_draws: float = scalar("Independent draws that the losses of all chains are worth.")
    burn_in: int = scalar("First draws of each chain that are left out (MSER).")
    draws: int = scalar("Draws of each chain, the burn-in included and the adaptation not.")
    acceptance: float = scalar("Mean probability with which a proposal was accepted; 1 without a correction.")
    step_size: float = scalar("Size of the leaps of a step; of Langevin steps with --batch.")
    leaps: int = scalar("Gradients of each step.")
    nbeta: float = scalar("n beta, the inverse temperature of the mean loss.")
    gamma: float = scalar("Precision of the localizing Gaussian.")
    gamma_effect: float = scalar(
        "-d llc / d log gamma: to first order, by how much the localization lowers a regular model's coefficient.",
        gauge=Gauge("gamma_effect_se"),
    )
    gamma_effect_se: float = scalar("Standard error of that derivative.")
    work_deviation: float = scalar(
        "Deviation of the mean of x'grad U from the number of parameters, which it is in equilibrium, in its standard "
        "errors."
    )
    step_bias: float | None = scalar(
        "Bias of steps without the Metropolis correction (--batch), which was subtracted; it is at most as much.",
        optional=True,
    )
    broken_proposals: int = scalar("Proposals at which the loss was not finite; a Metropolis correction rejects them.")
    rounding: float = scalar("Largest n beta (L - L(theta)) that may be rounding.")
    lower_loss_share: float = scalar("Share of the draws at which the loss is lower than at the checkpoint.")
    cost_gradients: float | None = cost_scalar()
    loss: float = scalar("Mean loss at the checkpoint.")
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")
    chain: np.ndarray = array("chain", words=True, help="Where the chain starts: the checkpoint, or a random point.")
    chain_llc: np.ndarray = array(
        "chain", help="Mean of n beta (L - L(theta)) over the chain's draws.", label="coefficient"
    )
    chain_distance: np.ndarray = array(
        "chain", help="Root of its mean squared distance from the checkpoint.", label="distance from the checkpoint"
    )
    chain_acceptance: np.ndarray = array("chain", help="Its mean probability of acceptance.")
    excess: np.ndarray = array("chain", "draw", help="n beta (L - L(theta)) at every draw, the burn-in included.")
    running_draws: np.ndarray = array("point", help="Numbers of draws, ...")
    running_llc: np.ndarray = array("point", help="... the coefficient estimated from as many of each chain, ...")
    running_se: np.ndarray = array("point", help="... and its standard error.")
    layer: np.ndarray | None = array(
        "layer", help="Parameters that move alone, largest coefficient first.", optional=True
    )
    layer_parameters: np.ndarray | None = array("layer", help="Their number.", optional=True)
    layer_llc: np.ndarray | None = array(
        "layer", help="Their refined coefficient.", optional=True, gauge=Gauge("layer_llc_se"), label="coefficient"
    )
    layer_llc_se: np.ndarray | None = array("layer", help="Its standard error.", optional=True)
    layer_r_hat: np.ndarray | None = array("layer", help="R-hat of its chains.", optional=True, label="R-hat")
    layer_draws: np.ndarray | None = array("layer", detail=True, help="Draws of each of its chains.", optional=True)
    layer_acceptance: np.ndarray | None = array("layer", detail=True, help="Acceptance of its chains.", optional=True)

    def inconclusive(self) -> Trouble | None:
        """That numbers are not finite or rounding, chains do not agree or are in no minimum, or the error is large."""
        if not math.isfinite(self.llc):
            return Trouble(
                "the losses of the chains are not finite", "--dtype float64, or a larger --gamma", "not finite"
            )
        if self.excess.min() == self.excess.max():
            why = f"the loss is the same at all {self.draws} draws of all chains"
            return Trouble(why, "a smaller --gamma, so that chains come farther, or other --params", "degenerate")
        if self.rounding > self.rtol * abs(self.llc):
            why = f"rounding may move the coefficient {self.llc:.3g} by {self.rounding:.2g}"
            return Trouble(why, "--dtype float64, or a larger --rtol", "degenerate")
        for values, of in ((self.r_hat, "losses"), (self.distance_r_hat, "distances from the checkpoint")):
            if values <= LARGEST_R_HAT:
                continue
            why = f"the chains do not agree after {self.draws} draws: R-hat of their {of} is {values:.3g}"
            return Trouble(why, f"{MORE_DRAWS}; or a larger --gamma, with which chains are faster")
        if self.llc + NEGATIVE_ERRORS * self.llc_se < 0:
            why = f"the coefficient is negative, {self.llc:.3g} +- {self.llc_se:.2g}: losses nearby are lower"
            return Trouble(
                f"{why}, and the checkpoint is no minimum", "train it to the end, or a larger --gamma", "degenerate"
            )
        return self._out_of_equilibrium() or self._uncertain()

    def _out_of_equilibrium(self) -> Trouble | None:
        """That a mean which is known contradicts the chains."""
        if self.step_bias is not None:
            if self.step_bias <= LARGEST_STEP_BIAS * abs(self.llc):
                return None
            why = f"steps without the Metropolis correction bias the coefficient {self.llc:.3g} by {self.step_bias:.3g}"
            return Trouble(why, "a larger --batch, or none")
        if not abs(self.work_deviation) > SURE_ERRORS:
            return None
        why = f"the chains are not in equilibrium: x'grad U is {self.work_deviation:.2g} standard errors off its mean"
        return Trouble(why, f"{MORE_DRAWS}; or --dtype float64")

    def _uncertain(self) -> Trouble | None:
        """That the error is larger than asked for, or that the chains of a layer do not agree."""
        if not self.llc_se <= self.rtol * abs(self.llc):
            why = (
                f"standard error {self.llc_se:.2g} of {self.llc:.4g} after {self.draws} draws, {self.rtol:g} of it was"
            )
            return Trouble(f"{why} asked for", f"{MORE_DRAWS}; or a larger --rtol with --restart")
        if self.layer is None or self.layer_r_hat is None:
            return None
        apart = [
            str(name) for name, value in zip(self.layer, self.layer_r_hat, strict=True) if not value <= LARGEST_R_HAT
        ]
        if not apart:
            return None
        return Trouble(f"the chains of {', '.join(apart)} do not agree (R-hat above {LARGEST_R_HAT:g})", MORE_DRAWS)

    def meaning(self) -> str:
        """How many parameters of a regular model have this coefficient: half of them is theirs (Watanabe 2009)."""
        error = max(self.upper - self.llc, self.llc - self.lower)
        if not 0 < error < self.llc:
            return ""
        of_gamma = " at this gamma" if self.depends_on_gamma else ""
        return (
            f"the loss rises around the checkpoint as with 2 llc = {2 * self.llc:.3g} ± {2 * error:.2g} (95 %) "
            f"parameters, of {self.parameters:,}{of_gamma}"
        )

    @property
    def depends_on_gamma(self) -> bool:
        """Whether the localization lowers the coefficient beyond chance, and by a share that matters."""
        return self.gamma_effect > max(LOCALIZED_SHARE * abs(self.llc), SURE_ERRORS / 2 * self.gamma_effect_se)

    def remarks(self) -> list[str]:
        """The interval, what gamma does, and what the chains say against the number."""
        remarks = [
            f"95 % interval {self.lower:.4g} to {self.upper:.4g}, R-hat {self.r_hat:.3f}, {self.effective_draws:.0f} "
            f"effective draws of {(self.draws - self.burn_in) * len(self.chain):,}"
        ]
        if self.depends_on_gamma:
            remarks.append(
                f"the coefficient depends on gamma: half of it would add about {self.gamma_effect * math.log(2):.3g} "
                "(compare checkpoints at one --gamma)"
            )
        if self.step_bias is not None:
            remarks.append(
                f"steps without the Metropolis correction: a bias of {self.step_bias:.3g} was subtracted, and the "
                "interval's upper end holds as much"
            )
        if self.lower_loss_share > 0:
            remarks.append(
                f"{100 * self.lower_loss_share:.2g} % of the draws have a lower loss: the checkpoint is not the minimum"
            )
        if self.broken_proposals:
            remarks.append(f"the loss was not finite at {self.broken_proposals} proposals")
        return remarks


@dataclass(frozen=True)
class Llc(Analysis):
    """The local learning coefficient (Lau et al. 2023) by Hamiltonian Monte Carlo, or by SGLD.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Llc(gamma=100.0, rtol=0.1), objective)
    >>> result.lower < result.llc < result.upper
    True
    """

    name: ClassVar[str] = "llc"
    summary: ClassVar[str] = "Local learning coefficient by Markov chains, with its interval."
    result: ClassVar[type[Result]] = LlcResult

    chains: int = option(4, help="Chains; they start at the checkpoint and at random points in turn.", min=2)
    draws: int = option(1600, help="Give up after so many draws of each chain (exit 3).", min=32, identity=False)
    rtol: float = option(0.05, help="Largest standard error of the coefficient, relative to it.", min=1e-9)
    gamma: float | None = option(
        None, help="Precision of the Gaussian that keeps chains near the checkpoint. Default: 1 / mean weight^2.", min=0
    )
    nbeta: float | None = option(
        None,
        help="n beta, the inverse temperature of the mean loss. Default: n / log n for n terms of the loss.",
        min=0,
    )
    batch: int = option(
        0,
        help="Samples of each gradient, without a Metropolis correction (SGLD); 0: all the data, with the correction.",
        min=0,
    )
    per_layer: bool = option(
        False, help="Also measure the refined coefficient of every module: its parameters move alone."
    )
    blocks: tuple[str, ...] = option(
        (), help="Also the refined coefficient of these parameters, a glob over names. Repeatable."
    )
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_layer and self.blocks:
            raise UsageError("--per-layer and --blocks are two ways of choosing", fix="one of them")
        for name in ("gamma", "nbeta"):
            if getattr(self, name) == 0:
                raise UsageError(f"--{name} is 0", fix="a positive number: the posterior would have no finite mass")

    def groups(self, objective: Objective) -> tuple[ParameterGroup, ...]:
        """The groups of parameters that also move alone; none without --per-layer or --blocks."""
        if self.blocks:
            return objective.space.groups_matching(self.blocks)
        return objective.space.layers() if self.per_layer else ()

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.llc import llc_measurement

        return llc_measurement
