"""What `landscape memorization` finds: spectra of curvature, bands, populations, and scores of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.memorization.factors import Sums, population_names
from landscape.choices import CLEAN, MEMORIZED, NEVER_SEEN
from landscape.fields import array, scalar

if TYPE_CHECKING:
    import numpy as np

OVERLAPPING = 0.01  # share of a population in the factors' data from which that is said


@dataclass(frozen=True, kw_only=True)
class MemorizationResult(Result):
    """Columns over layers, rho, bands of components, populations and samples.

    Bands hold components by rank, the sharpest first. Changes of the loss are those of removing a band from all layers
    together; `_lo` and `_hi` end 95 % bootstrap intervals over samples.
    """

    tables: ClassVar[tuple[str, ...]] = ("population", "layer", "rho", "band", "score", "rank")
    across: ClassVar[tuple[str, ...]] = ("population",)

    population: np.ndarray = array("population", words=True, help="Samples that the model was measured on.")
    population_samples: np.ndarray = array("population", help="How many.")
    population_loss: np.ndarray = array("population", help="Their mean loss.")
    accuracy: np.ndarray | None = array("population", help="Share of right predictions.", optional=True)
    recitation: np.ndarray | None = array(
        "population",
        help="Share of the first 64 texts whose second half, or 50 tokens of it, is recited to the last token.",
        optional=True,
    )
    greedy_match: np.ndarray | None = array(
        "population", help="Share of right tokens in these greedy continuations.", optional=True
    )
    population_in_factors: np.ndarray = array("population", help="Share of them in the data of the factors.")
    layer: np.ndarray = array("layer", words=True, help="Linear layer.")
    layer_outputs: np.ndarray = array("layer", help="Rows p of its matrix.")
    layer_inputs: np.ndarray = array("layer", help="Columns q of its matrix.")
    layer_tokens: np.ndarray = array("layer", help="Inputs that its factors are means over.")
    layer_trace: np.ndarray = array("layer", help="tr A tr G, its curvature mass.")
    layer_independence: np.ndarray = array(
        "layer", help="tr A tr G / E ||a||^2 ||g||^2: 1 where inputs and slopes are independent in size."
    )
    activation_eigenvalues: np.ndarray = array("layer", "direction", help="Eigenvalues of A, descending; then NaN.")
    gradient_eigenvalues: np.ndarray = array("layer", "direction", help="Eigenvalues of G, descending; then NaN.")
    share: np.ndarray = array("share", help="Share of a layer's components, the sharpest first.")
    component_mass: np.ndarray = array("layer", "share", help="lambda_i mu_j of the component at that rank.")
    cumulative_mass: np.ndarray = array("layer", "share", help="Share of the curvature mass up to that rank.")
    rho: np.ndarray = array("rho", help="Share of the curvature mass that is kept.")
    kept_fraction: np.ndarray = array("rho", help="Share of components that then are kept, over all layers.")
    curvature_mass: np.ndarray = array("rho", help="Share of the mass that they have, mean over layers.")
    weight_energy: np.ndarray = array("rho", help="Share of the squared norm of the weights, over all layers.")
    ties: np.ndarray = array("rho", help="Components as heavy as the last that is kept, some of which are not.")
    layer_kept_fraction: np.ndarray = array("layer", "rho", help="Share of components that are kept in each layer.")
    band: np.ndarray = array("band", words=True, help="Band of components by rank, the sharpest first.")
    band_components: np.ndarray = array("band", help="Components in it, over all layers.")
    delta_loss: np.ndarray = array("population", "band", help="Change of the loss when the band is removed.")
    delta_loss_lo: np.ndarray = array("population", "band", help="Lower end of its 95 % interval.", detail=True)
    delta_loss_hi: np.ndarray = array("population", "band", help="Upper end of its 95 % interval.", detail=True)
    noise_delta_loss: np.ndarray | None = array(
        "population", "band", help="The same with noise of the band's norm added instead.", detail=True, optional=True
    )
    random_delta_loss: np.ndarray | None = array(
        "population", "band", help="The same with as many random components removed.", detail=True, optional=True
    )
    layer_delta_loss: np.ndarray | None = array(
        "population", "layer", "band", help="The same with the band removed from one layer alone.", optional=True
    )
    quarter: np.ndarray = array("quarter", help="Quarter of A's eigenvectors, the largest eigenvalues first.")
    activation_ratio: np.ndarray = array(
        "population",
        "quarter",
        help="Share of the inputs' energy in that quarter, relative to the clean population's (or the data's): rarity, "
        "not memorization; compare memorized with never-seen samples.",
    )
    score: np.ndarray | None = array("score", words=True, help="Score of samples.", optional=True)
    auroc: np.ndarray | None = array(
        "score", help="Chance that a memorized sample scores above another one.", optional=True
    )
    auroc_se: np.ndarray | None = array("score", help="Its standard error.", optional=True)
    score_memorised: np.ndarray | None = array("score", help="Median score of memorized samples.", optional=True)
    score_other: np.ndarray | None = array("score", help="Median score of the others.", optional=True)
    rank: np.ndarray | None = array("rank", help="Rank by edit damage.", optional=True)
    rank_sample: np.ndarray | None = array("rank", help="Place of the sample in the data.", optional=True)
    is_memorised: np.ndarray | None = array("rank", help="Whether it is known to be memorized.", optional=True)
    rank_edit_damage: np.ndarray | None = array("rank", help="Its edit damage.", optional=True)
    rank_edit_kl: np.ndarray | None = array("rank", help="Its edit KL.", optional=True)
    rank_loss: np.ndarray | None = array("rank", help="Its loss.", optional=True)
    sample: np.ndarray | None = array(
        "sample", help="Place of a sample in the data; memorized ones that the data lack come after.", optional=True
    )
    sample_memorised: np.ndarray | None = array(
        "sample", help="Whether it is in the memorized population.", optional=True
    )
    sample_loss: np.ndarray | None = array("sample", help="Its mean loss.", optional=True)
    edit_damage: np.ndarray | None = array(
        "sample", help="Rise of its loss when flat components are removed.", optional=True
    )
    edit_kl: np.ndarray | None = array(
        "sample", help="KL(its predictions before || after that edit); needs no labels.", optional=True
    )
    input_curvature: np.ndarray | None = array(
        "sample", help="E ||change of its input gradient per step||^2 over random signs.", optional=True
    )
    fisher_trace: np.ndarray | None = array("sample", help="Trace of its Fisher matrix in the layers.", optional=True)
    gradient_norm2: np.ndarray | None = array("sample", help="Square of its gradient in the layers.", optional=True)
    trajectory_loss: np.ndarray | None = array("sample", help="Loss, mean over the trajectory.", optional=True)
    trajectory_input_curvature: np.ndarray | None = array(
        "sample", help="Input curvature, mean over the trajectory.", optional=True
    )
    trajectory_gradient_norm2: np.ndarray | None = array(
        "sample", help="Square of the gradient, mean over the trajectory.", optional=True
    )
    loss: float = scalar("Mean loss on the data.")
    score_rho: float | None = scalar("Share of the mass that the edit for the scores keeps.", optional=True)
    checkpoints: int | None = scalar("Checkpoints of the trajectory.", optional=True)
    parameters: int = scalar("Size of the parameter vector.")
    edited_parameters: int = scalar("Size of the layers' weights.")
    samples: int = scalar("Samples in the data.")

    factors: Sums | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "population", population_names(self.population))

    def trouble(self) -> Trouble | None:
        import numpy as np

        bad = [str(name) for name, row in zip(self.layer, self.layer_trace, strict=True) if not np.isfinite(row)]
        flat = [str(name) for name, row in zip(self.layer, self.layer_trace, strict=True) if row == 0]
        fix = "--layers without them, other --labels, or --dtype float64"
        if bad:
            return Trouble(f"the factors of {', '.join(bad)} are not finite", fix, "not finite")
        if flat:
            why = f"the curvature of {', '.join(flat)} is zero: nothing ranks its components"
            return Trouble(why, fix, "degenerate")
        return None

    def remarks(self) -> list[str]:
        return [*self._overlap(), *self._control(), *self._tied(), *self._untold()]

    def _overlap(self) -> list[str]:
        inside = [
            f"{100 * share:.3g} % of {name}"
            for name, share in zip(self.population, self.population_in_factors, strict=True)
            if share > OVERLAPPING and name != "data"
        ]
        if not inside:
            return []
        return [f"in the factors' own data: {', '.join(inside)}; --factors-on a population apart from them avoids it"]

    def _control(self) -> list[str]:
        names = set(map(str, self.population))
        if MEMORIZED not in names:
            return [f"no population is called {MEMORIZED}: --population {MEMORIZED}=DATA compares it with the others"]
        missing = [name for name in (CLEAN, NEVER_SEEN) if name not in names]
        if NEVER_SEEN in missing:
            said = "activation ratios then tell rarity, not memorization"
            return [
                f"no population is called {' or '.join(missing)}: {said} (samples of the same kind, never trained on)"
            ]
        return []

    def _untold(self) -> list[str]:
        import numpy as np

        missing = 0 if self.sample_loss is None else int(np.isnan(self.sample_loss).sum())
        return [f"{missing} samples have no target that counts, and no scores"] if missing else []

    def _tied(self) -> list[str]:
        tied = [f"{rho:g}" for rho, ties in zip(self.rho, self.ties, strict=True) if ties]
        return [f"at rho {', '.join(tied)} components of equal mass lie on both sides of the cut"] if tied else []
