"""Where memorized samples sit in the spectrum of the loss' curvature, and which samples they are."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Plan, Progress, Result, State
from landscape.analyses.memorization import bands, scoring
from landscape.analyses.memorization.bands import Bands, Spectrum
from landscape.analyses.memorization.factors import PHASE, Factored, Setting, kept, rotated
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.analyses.shared.phases import Phases
from landscape.choices import CLEAN, DATA
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    import numpy as np

    from landscape.algorithms.matrices.removal import RotatedComponents
    from landscape.analyses.memorization.outcomes import Found
    from landscape.evaluation.layers.kfac import Factor
    from landscape.objective import Objective

RHOS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
SHARES = 60  # points of the cumulative spectrum, evenly in the logarithm of the rank
SMALLEST_SHARE = 1e-4
QUARTERS = 4
SCORED = 16  # gradients that input curvature and the edit's scores take


@dataclass(frozen=True)
class Memorization(Factored):
    """Spectra of K-FAC factors, and what bands of low curvature hold (Merullo et al. 2025, arXiv 2510.24256)."""

    name: ClassVar[str] = "memorization"
    summary: ClassVar[str] = "What flat directions of the weights hold, and which samples are memorized there."
    result: ClassVar[type[Result]] = MemorizationResult

    bands: tuple[float, ...] = option(
        (0.001, 0.01, 0.05, 0.1, 0.25, 0.5), help="Shares of the components, by rank, between which bands lie."
    )
    controls: int = option(2, help="Draws of noise and of random components beside each band; 0: none.", min=0, max=100)
    per_layer: bool = option(True, help="Also remove each band from each layer alone.")
    resamples: int = option(1000, help="Bootstrap resamples for the intervals.", min=10, max=100_000)
    scores: bool = option(True, help="Score each sample.")
    score_rho: float = option(0.97, help="Share of the mass that the edit behind the scores keeps.", min=0, max=1)
    trajectory: str | None = option(
        None, kind="path", help="Folder with checkpoints of the run, over which scores are averaged.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "trajectory", None if self.trajectory is None else str(self.trajectory))
        edges = (0.0, *self.bands, 1.0)
        if not self.bands or any(not low < high for low, high in pairwise(edges)):
            raise UsageError(f"--bands is {self.bands}", fix="ascending shares between 0 and 1: --bands 0.01,0.1,0.5")

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        from landscape.evaluation.other_checkpoints import find_trajectory, other_checkpoint

        steps = find_trajectory(self.trajectory).checkpoints if self.trajectory else ()
        digests = [other_checkpoint(objective, one, "--trajectory").digest for one in steps]
        return {**super().ingredients(objective), **({"trajectory": digests} if digests else {})}

    def plan(self, objective: Objective) -> Plan:
        from landscape.evaluation import fisher_labels
        from landscape.evaluation.layers import kfac

        setting = self.setting(objective)
        per_pass = fisher_labels.backward_passes(objective, setting.recipe.labels, setting.recipe.draws)
        passes = len(list(kfac.layer_groups(objective, setting.layers, coupled=self.coupled)))
        layers = len(setting.layers) if self.per_layer else 0
        points = 1 + len(self._bands.names) * (1 + 2 * self.controls + layers)
        facts = {
            "labels": f"{setting.recipe.labels}, {per_pass} backward passes for each forward pass",
            "passes for the factors": f"{passes}",
            "points": f"{points:,}",
        }
        scored = SCORED + 1 + per_pass if self.scores else 0
        return self.planned(objective, setting, passes * (1 + per_pass) + scored, points, facts)

    @property
    def _bands(self) -> Bands:
        return Bands((0.0, *self.bands, 1.0))

    def measure(
        self, objective: Objective, resume: State | None = None
    ) -> Generator[Progress, None, MemorizationResult]:
        reference, phases, setting = objective.reference, Phases(resume), self.setting(objective)
        found, sums = yield from phases.run(PHASE, partial(self.factors, setting))
        methods = rotated(objective, setting, found)
        measured = setting.populations or {DATA: objective}
        spectrum = Spectrum(objective, setting.layers, methods, self._bands, self.controls, self.seed)
        removed = yield from phases.run(
            "bands", lambda saved: spectrum.measured(measured, saved, per_layer=self.per_layer)
        )
        energies = yield from phases.run("activations", partial(_energies, setting, objective, methods))
        columns: dict[str, Any] = {}
        if self.scores:
            columns |= yield from phases.run("scores", partial(self._scores, objective, setting, methods))
        names = [layer.name for layer in setting.layers]
        return MemorizationResult(
            **_populations(setting, measured, removed),
            **_layers(setting, found, methods),
            **kept(methods, RHOS),
            **self._by_band(methods),
            **bands.columns(removed, list(measured), self._bands, names, self.controls, self.resamples, self.seed),
            **_ratios(energies, list(measured)),
            **columns,
            loss=reference.loss,
            parameters=objective.space.size,
            edited_parameters=sum(layer.size for layer in setting.layers),
            samples=objective.batches.samples,
            factors=sums,
        )

    def _scores(
        self, objective: Objective, setting: Setting, methods: Mapping[str, RotatedComponents], saved: State
    ) -> Generator[Progress, None, dict[str, Any]]:
        weights = {name: method.remove(self.score_rho).weight for name, method in methods.items()}
        found = yield from scoring.scored(objective, setting, weights, self.trajectory, self.seed, saved)
        return {**found, "score_rho": self.score_rho}

    def _by_band(self, methods: Mapping[str, RotatedComponents]) -> dict[str, Any]:
        import numpy as np

        counts = np.array([self._bands.counts(method.weight.numel()) for method in methods.values()]).sum(axis=0)
        return {"band": np.array(self._bands.names), "band_components": np.diff(counts)}


def _energies(
    setting: Setting, objective: Objective, methods: Mapping[str, RotatedComponents], saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The inputs' energy in each quarter of A's eigenvectors, `(layers, 4)`, by population, data first."""
    from landscape.evaluation.layers.activations import activation_energies

    every = {DATA: objective, **setting.populations}
    known: dict[str, np.ndarray] = dict(saved)
    vectors = [methods[layer.name].right.vectors for layer in setting.layers]
    for done, (name, one) in enumerate(every.items(), start=1):
        if name not in known:
            known[name] = activation_energies(one, setting.layers, vectors, QUARTERS).cpu().numpy()
            yield Progress(done, len(every), f"activations of {name}", lambda now=dict(known): now)  # type: ignore[misc]
    return known


def _ratios(energies: Mapping[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    """Shares of energy relative to the clean population's, or the data's; a mean over layers of both."""
    import numpy as np

    def shares(name: str) -> np.ndarray:
        found: np.ndarray = (energies[name] / energies[name].sum(axis=1, keepdims=True)).mean(axis=0)
        return found

    base = shares(CLEAN if CLEAN in energies else DATA)
    return {
        "quarter": np.arange(1, QUARTERS + 1),
        "activation_ratio": np.array([shares(name) / base for name in names]),
    }


def _populations(setting: Setting, measured: Mapping[str, Objective], found: Found) -> dict[str, Any]:
    import numpy as np

    from landscape.evaluation.per_sample.recitation import recite, texts
    from landscape.evaluation.populations import sample_digests

    whole = found[bands.WHOLE]
    labelled = setting.recipe.labels == "gold"  # other curvature does not depend on the data's labels
    inside = set(sample_digests(setting.factored, targets=labelled))
    own = {name: sample_digests(one, targets=labelled) for name, one in measured.items()}
    columns: dict[str, Any] = {
        "population": np.array(list(measured)),
        "population_samples": np.array([one.batches.samples for one in measured.values()]),
        "population_loss": np.array([whole[name].loss for name in measured]),
        "population_in_factors": np.array([np.mean([d in inside for d in own[name]]) for name in measured]),
    }
    right = np.array([whole[name].accuracy for name in measured])
    columns |= {"accuracy": right} if not np.isnan(right).all() else {}
    recitations = {name: recite(one, known) for name, one in measured.items() if (known := texts(one))}
    if recitations:
        nothing = float("nan")
        pairs = [recitations.get(name) for name in measured]
        columns["recitation"] = np.array([pair.whole if pair else nothing for pair in pairs])
        columns["greedy_match"] = np.array([pair.tokens if pair else nothing for pair in pairs])
    return columns


def _layers(setting: Setting, found: Mapping[str, Factor], methods: Mapping[str, RotatedComponents]) -> dict[str, Any]:
    import numpy as np

    longest = max(max(layer.outputs, layer.inputs) for layer in setting.layers)
    shares = np.geomspace(SMALLEST_SHARE, 1, SHARES)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, longest - len(values)), constant_values=np.nan)

    spectra = [_spectrum(methods[layer.name], shares) for layer in setting.layers]
    every = [found[layer.name] for layer in setting.layers]
    return {
        "layer": np.array([layer.name for layer in setting.layers]),
        "layer_outputs": np.array([layer.outputs for layer in setting.layers]),
        "layer_inputs": np.array([layer.inputs for layer in setting.layers]),
        "layer_tokens": np.array([int(factor.tokens) for factor in every]),
        "layer_trace": np.array([float(factor.a.trace() * factor.g.trace()) for factor in every]),
        "layer_independence": np.array([factor.independence for factor in every]),
        "activation_eigenvalues": np.array([padded(m.right.values) for m in methods.values()]),
        "gradient_eigenvalues": np.array([padded(m.left.values) for m in methods.values()]),
        "share": shares,
        "component_mass": np.array([mass for mass, _ in spectra]),
        "cumulative_mass": np.array([cumulative for _, cumulative in spectra]),
    }


def _spectrum(method: RotatedComponents, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mass of the component at each share of the ranks, and that of all up to it."""
    import numpy as np

    from landscape.algorithms.matrices import staircase

    rows, columns, size = method.left.values, method.right.values, method.weight.numel()
    total = rows.sum() * columns.sum()
    masses, cumulative = [], []
    for share in shares:
        prefix = staircase.largest_products(rows, columns, max(1, round(share * size)))
        cumulative.append(prefix.mass(rows, columns) / total if total else np.nan)
        last = prefix.columns > 0
        masses.append((rows[last] * columns[prefix.columns[last] - 1]).min())
    return np.array(masses), np.array(cumulative)
