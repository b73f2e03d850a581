"""The result of `landscape memorization`: spectra of curvature, bands, populations, and scores of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from landscape.analyses.base import Result, Trouble
from landscape.analyses.memorization.kronecker import population_names
from landscape.analyses.shared.work_budget import describe_seconds
from landscape.choices import CLEAN, DATA, MEMORIZED, NEVER_SEEN, NORMAL_HALF_WIDTH
from landscape.fields import array, scalar

if TYPE_CHECKING:
    import numpy as np

CONTROLS = 2  # draws, where --per-layer or --no-per-layer is given
NOTABLE_OVERLAP = 0.01  # share of a population in the data of the factors from which a remark mentions it


@dataclass(frozen=True, kw_only=True)
class MemorizationResult(Result):
    """Columns over populations, layers, rho, bands of components, scores and samples.

    Bands consist of components by rank, the sharpest first. The changes of the loss are those of removing a band from
    all layers together; `_lo` and `_hi` are the ends of 95 % bootstrap intervals over samples. `factors` are the sums
    behind the Kronecker factors, which are written to a file of their own.
    """

    tables: ClassVar[tuple[str, ...]] = ("population", "layer", "rho", "band", "score", "rank")
    more_tables: ClassVar[tuple[str, ...]] = ("layer", "rho", "rank")
    captions: ClassVar[Mapping[str, str]] = {
        "population": "the samples, and how many of them the curvature was measured on too",
        "layer": "curvature mass: tr A tr G, with A and G the second moments of a layer's inputs and of its outputs' "
        "gradients; independence of norms: 1 where this product is the trace of the layer's curvature",
        "rho": "what is left if the components of smallest curvature are removed until the share rho of the curvature "
        "mass is left in every layer",
        "band": "change of the mean loss when a band of components is removed from all layers; components are "
        "ordered by curvature, and 0-0.1 % are the sharpest",
        "score": "AUROC: how often a memorized sample has the higher score of a pair; edit_damage and edit_kl: change "
        "of the loss and of the predictions when flat components are removed",
        "rank": "samples with the largest edit damage",
    }
    facts: ClassVar[tuple[str, ...]] = ("loss", "score_rho")
    across: ClassVar[tuple[str, ...]] = ("population",)

    population: np.ndarray = array("population", words=True, help="Name of the samples.")
    population_samples: np.ndarray = array("population", help="Number of samples.")
    population_loss: np.ndarray = array("population", help="Mean loss of the samples.")
    accuracy: np.ndarray | None = array("population", help="Share of right predictions.", optional=True, percent=True)
    recitation: np.ndarray | None = array(
        "population",
        help="Share of the first 64 texts whose second half (50 tokens at most) is recited to the last token.",
        optional=True,
        percent=True,
    )
    greedy_match: np.ndarray | None = array(
        "population",
        help="Share of right tokens in the greedy continuations of these texts.",
        optional=True,
        label="tokens recited",
        percent=True,
    )
    population_in_factors: np.ndarray = array(
        "population",
        help="Share of the samples that are in the data of the factors.",
        label="in the data of the factors",
        percent=True,
    )
    layer: np.ndarray = array("layer", words=True, help="Linear layer.")
    layer_outputs: np.ndarray = array("layer", help="Outputs: rows p of the layer's matrix.")
    layer_inputs: np.ndarray = array("layer", help="Inputs: columns q of the layer's matrix.")
    layer_tokens: np.ndarray = array("layer", help="Input vectors whose outer products the factors average.")
    layer_trace: np.ndarray = array("layer", help="Curvature mass of the layer, tr A tr G.", label="curvature mass")
    layer_independence: np.ndarray = array(
        "layer",
        help="tr A tr G / E ||a||^2 ||g||^2: 1 where the norms of inputs and of output gradients are independent.",
        label="independence of norms",
    )
    activation_eigenvalues: np.ndarray = array(
        "layer", "direction", help="Eigenvalues of A in descending order, padded with NaN."
    )
    gradient_eigenvalues: np.ndarray = array(
        "layer", "direction", help="Eigenvalues of G in descending order, padded with NaN."
    )
    share: np.ndarray = array("share", help="Share of a layer's components, counted from the sharpest.")
    component_mass: np.ndarray = array(
        "layer", "share", help="Curvature mass lambda_i mu_j of the component at that rank."
    )
    cumulative_mass: np.ndarray = array(
        "layer", "share", help="Share of the curvature mass of the components up to that rank."
    )
    rho: np.ndarray = array("rho", help="Share of the curvature mass that is kept.")
    kept_fraction: np.ndarray = array(
        "rho", help="Share of components that are kept, over all layers.", percent=True, label="components kept"
    )
    curvature_mass: np.ndarray = array(
        "rho",
        help="Curvature mass of the kept components, mean over layers.",
        label="curvature mass kept",
        percent=True,
    )
    weight_energy: np.ndarray = array(
        "rho",
        help="Squared norm of the kept weights, relative to all, over all layers.",
        label="squared norm kept",
        percent=True,
    )
    ties: np.ndarray = array(
        "rho", help="Components with the mass of the last kept one, of which some are removed.", label="ties at the cut"
    )
    layer_kept_fraction: np.ndarray = array(
        "layer", "rho", help="Share of components that are kept in each layer.", percent=True, label="components kept"
    )
    band: np.ndarray = array("band", words=True, help="Band of components by rank, the sharpest first.")
    band_components: np.ndarray = array("band", help="Components in the band, over all layers.")
    delta_loss: np.ndarray = array(
        "population", "band", help="Change of the loss when the band is removed.", label="change of the loss"
    )
    delta_loss_lo: np.ndarray = array(
        "population",
        "band",
        help="Lower end of the 95 % interval of that change.",
        detail=True,
        label="lower end (95 %)",
    )
    delta_loss_hi: np.ndarray = array(
        "population",
        "band",
        help="Upper end of the 95 % interval of that change.",
        detail=True,
        label="upper end (95 %)",
    )
    noise_delta_loss: np.ndarray | None = array(
        "population",
        "band",
        help="Change of the loss when noise of the band's norm is added instead.",
        detail=True,
        optional=True,
        label="with noise instead",
    )
    random_delta_loss: np.ndarray | None = array(
        "population",
        "band",
        help="Change of the loss when as many random components are removed.",
        detail=True,
        optional=True,
        label="with random components",
    )
    layer_delta_loss: np.ndarray | None = array(
        "population",
        "layer",
        "band",
        help="Change of the loss when the band is removed from one layer alone.",
        optional=True,
    )
    quarter: np.ndarray = array("quarter", help="Quarter of A's eigenvectors, the largest eigenvalues first.")
    activation_ratio: np.ndarray = array(
        "population",
        "quarter",
        help="Share of the inputs' energy in that quarter, relative to the clean population's or the data's. It shows "
        "rarity, not memorization: compare memorized with never-seen samples.",
    )
    score: np.ndarray | None = array("score", words=True, help="Name of the score.", optional=True)
    auroc: np.ndarray | None = array(
        "score", help="Probability that a memorized sample scores above another one.", optional=True, label="AUROC"
    )
    auroc_se: np.ndarray | None = array("score", help="Standard error of the AUROC.", optional=True)
    score_memorised: np.ndarray | None = array(
        "score", help="Median score of memorized samples.", optional=True, label="median of memorized"
    )
    score_other: np.ndarray | None = array(
        "score", help="Median score of the other samples.", optional=True, label="median of others"
    )
    rank: np.ndarray | None = array("rank", help="Rank by edit damage, the largest first.", optional=True)
    rank_sample: np.ndarray | None = array("rank", help="Index of the sample in the data.", optional=True)
    is_memorised: np.ndarray | None = array(
        "rank", help="Whether the sample is in the memorized population.", optional=True, label="memorized"
    )
    rank_edit_damage: np.ndarray | None = array("rank", help="Edit damage of the sample.", optional=True)
    rank_edit_kl: np.ndarray | None = array("rank", help="Edit KL of the sample.", optional=True, label="edit KL")
    rank_loss: np.ndarray | None = array("rank", help="Loss of the sample.", optional=True)
    sample: np.ndarray | None = array(
        "sample",
        help="Index of the sample; memorized samples outside the data come last.",
        optional=True,
    )
    sample_memorised: np.ndarray | None = array(
        "sample", help="Whether the sample is in the memorized population.", optional=True
    )
    sample_loss: np.ndarray | None = array("sample", help="Mean loss of the sample.", optional=True)
    edit_damage: np.ndarray | None = array(
        "sample", help="Rise of the sample's loss when flat components are removed.", optional=True
    )
    edit_kl: np.ndarray | None = array(
        "sample", help="KL(predictions before || predictions after) of that edit; needs no labels.", optional=True
    )
    input_curvature: np.ndarray | None = array(
        "sample", help="E ||change of the sample's input gradient per step||^2 over random signs.", optional=True
    )
    fisher_trace: np.ndarray | None = array(
        "sample", help="Trace of the sample's Fisher matrix in the layers' weights.", optional=True
    )
    gradient_norm2: np.ndarray | None = array(
        "sample", help="Squared norm of the sample's gradient in the layers' weights.", optional=True
    )
    trajectory_loss: np.ndarray | None = array("sample", help="Mean of the loss over the trajectory.", optional=True)
    trajectory_input_curvature: np.ndarray | None = array(
        "sample", help="Mean of the input curvature over the trajectory.", optional=True
    )
    trajectory_gradient_norm2: np.ndarray | None = array(
        "sample", help="Mean of the squared gradient over the trajectory.", optional=True
    )
    loss: float = scalar("Mean loss on the data.")
    score_rho: float | None = scalar(
        "Share of the curvature mass that is kept by the edit behind the scores.",
        optional=True,
        label="rho of the edit behind the scores",
    )
    controls: int | None = scalar("Draws of each control of a band.", optional=True)
    checkpoints: int | None = scalar("Number of checkpoints in the trajectory.", optional=True)
    parameters: int = scalar("Size of the parameter vector.")
    edited_parameters: int = scalar("Entries in the weights of the layers.")
    samples: int = scalar("Samples in the data.")

    factors: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "population", population_names(self.population))

    def inconclusive(self) -> Trouble | None:
        """Inconclusive if the factors of a layer are not finite, or all zero: nothing then ranks its components."""
        traces = {str(name): float(trace) for name, trace in zip(self.layer, self.layer_trace, strict=True)}
        bad = [name for name, trace in traces.items() if not math.isfinite(trace)]
        flat = [name for name, trace in traces.items() if trace == 0]
        fix = "--layers without them, other --labels, or --dtype float64"
        if bad:
            return Trouble(f"the factors of {', '.join(bad)} are not finite", fix, "not finite")
        if flat:
            why = f"the curvature of {', '.join(flat)} is zero: nothing ranks its components"
            return Trouble(why, fix, "degenerate")
        return None

    def meaning(self) -> str:
        """The band whose removal parts memorized from clean samples most, if the intervals of both are apart."""
        names = [str(name) for name in self.population]
        if MEMORIZED not in names or CLEAN not in names:
            return ""
        memorized, clean = names.index(MEMORIZED), names.index(CLEAN)
        gaps = self.delta_loss_lo[memorized] - self.delta_loss_hi[clean]
        if not (gaps > 0).any():
            return ""
        band = max(range(len(gaps)), key=lambda place: gaps[place] if gaps[place] > 0 else -math.inf)
        rises = [f"{self.delta_loss[row, band]:.2g}" for row in (memorized, clean)]
        return (
            f"without the components of band {self.band[band]} the loss of memorized samples changes by {rises[0]}, "
            f"that of clean ones by {rises[1]}"
        )

    def remarks(self) -> list[str]:
        """Sentences about overlapping and missing populations, ties in the ranking, and samples without scores."""
        return [*self._overlaps(), *self._missing_populations(), *self._ties_at_cuts(), *self._samples_without_target()]

    def bought(self) -> str:
        """The controls and the bands by layer, and what the scores separate by them."""
        if self.controls is None:
            return ""
        each = "together and of each alone" if self.layer_delta_loss is not None else "together"
        draws = f"{self.controls} draw{'' if self.controls == 1 else 's'} of both controls"
        sizes = f"{self._points(self.controls, each=self.layer_delta_loss is not None)} points"
        bought = f"{sizes} bought the bands of all layers {each}, with {draws}"
        if self.score is None or self.auroc is None or self.auroc_se is None:
            return bought
        errors = {str(name): error for name, error in zip(self.score, self.auroc_se, strict=True)}
        return f"{bought}, and the AUROC of edit damage to {NORMAL_HALF_WIDTH * errors['edit_damage']:.2g} (95 %)"

    def more(self, seconds: float) -> str:
        """Bands of each layer, or four times the controls, and the time if every point takes as long as the others."""
        if self.controls is None:
            return ""
        before = self._points(self.controls, each=self.layer_delta_loss is not None)
        if self.layer_delta_loss is None:
            longer = seconds * self._points(CONTROLS, each=True) / before
            sizes = f"--controls {CONTROLS} --per-layer"
            return f"more would buy the bands of each layer alone: {sizes}, {describe_seconds(longer)} at most"
        draws = 4 * self.controls or CONTROLS
        longer = seconds * self._points(draws, each=True) / before
        effect = "halve the noise of the controls" if self.controls else "buy controls"
        return f"{draws} draws would {effect}: --controls {draws}, {describe_seconds(longer)} at most"

    def _points(self, controls: int, *, each: bool) -> int:
        """The points at which losses are measured, with so many controls, and with bands of each layer or without."""
        return 1 + len(self.band) * (1 + 2 * controls + (len(self.layer) if each else 0))

    def _overlaps(self) -> list[str]:
        inside = [
            f"{100 * share:.3g} % of {name}"
            for name, share in zip(self.population, self.population_in_factors, strict=True)
            if share > NOTABLE_OVERLAP and name != DATA
        ]
        if not inside:
            return []
        return [f"in the factors' own data: {', '.join(inside)}; --factors-on a population apart from them avoids it"]

    def _missing_populations(self) -> list[str]:
        names = set(map(str, self.population))
        if MEMORIZED not in names:
            return [f"no population is called {MEMORIZED}: --population {MEMORIZED}=DATA compares it with the others"]
        missing = [name for name in (CLEAN, NEVER_SEEN) if name not in names]
        if NEVER_SEEN not in missing:
            return []
        return [
            f"no population is called {' or '.join(missing)}: without never-seen samples of the same kind as the "
            "memorized ones, activation ratios show rarity, not memorization"
        ]

    def _ties_at_cuts(self) -> list[str]:
        rhos = [f"{rho:g}" for rho, ties in zip(self.rho, self.ties, strict=True) if ties]
        return [f"at rho {', '.join(rhos)} components of equal mass lie on both sides of the cut"] if rhos else []

    def _samples_without_target(self) -> list[str]:
        count = 0 if self.sample_loss is None else sum(map(math.isnan, self.sample_loss))
        return [f"{count} samples have no target that counts, and no scores"] if count else []
