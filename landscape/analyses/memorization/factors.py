"""What analyses of Kronecker factors share: which layers, on what data, and the factors kept for the next command."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis, Plan, Progress, State
from landscape.analyses.shared.timing import seconds_per_gradient
from landscape.choices import Labels, population_name, stored_population
from landscape.errors import OutputError, TaskError, listing
from landscape.fields import option
from landscape.storage import paths

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from landscape.algorithms.matrices.removal import Eigenbasis, RemovalMethod, RotatedComponents
    from landscape.evaluation.layers.kfac import Factor, FactorSettings
    from landscape.network.linear_maps import LinearMap
    from landscape.objective import Objective
    from landscape.storage.read import StoredResult

PHASE = "factors"
SAME_LOSS = 1e-4  # relative: factors of a model whose loss differs more are those of another one
SHOWN = 6  # layers in a plan
FORWARD = 3  # passes without a graph take about a third of a gradient
WIDE = 8  # bytes of a float64: eigenvectors with their workspace, and each weight four times
EIGEN, RATE = 25, 2e10  # operations of an eigendecomposition over n^3, and in a second of float64 on two cores


class Sums(dict[str, Any]):
    """Arrays by name that a result carries for its sidecar; equal if all their bits are."""

    def __eq__(self, other: object) -> bool:
        import numpy as np

        if not isinstance(other, dict) or self.keys() != other.keys():
            return False
        return all(np.array_equal(value, other[name]) for name, value in self.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def population_names(stored: np.ndarray) -> np.ndarray:
    """The names of populations in a result, in today's spelling."""
    import numpy as np

    return np.array([population_name(str(name)) for name in stored])


@dataclass(frozen=True)
class Setting:
    """The objective's populations, the one whose curvature is taken, its layers, and how labels are chosen."""

    populations: Mapping[str, Objective]
    factored: Objective
    layers: tuple[LinearMap, ...]
    recipe: FactorSettings

    @property
    def identity(self) -> str:
        """What decides the factors, as a hash."""
        about = {
            **self.factored.identity(),
            **asdict(self.recipe),
            "layers": [one.parameter for one in self.layers],
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Factored(Analysis):
    """Options of analyses that begin with the Kronecker factors of some layers."""

    population: tuple[str, ...] = option(
        (),
        kind="named-references",
        shared=True,
        help="More samples to measure on, NAME=DATA[,KEY=VALUE...] with data as for --data; memorized, clean, held-out "
        "and never-seen have a meaning. Repeatable; flags stand for those of the settings. The checkpoint's own are "
        "there too.",
        identity=False,  # what they hold counts
    )
    layers: tuple[str, ...] = option(
        (), help="Glob over linear layers and convolutions. Repeatable. Default all but the last, the head."
    )
    labels: Labels | None = option(
        None,
        help="Labels of the curvature: sampled from the model, exact (their expectation), gold (the data's). Default "
        "exact up to 32 outputs a sample, else sampled.",
    )
    draws: int = option(1, help="Labels drawn for each position with --labels sampled.", min=1, max=10_000)
    factors_on: str = option("data", help="Population whose curvature is taken; data is what --data names.")
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        for name in ("population", "layers"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        object.__setattr__(self, "factors_on", population_name(self.factors_on))
        super().__post_init__()

    def setting(self, objective: Objective) -> Setting:
        """The populations and the layers; raises UsageError and TaskError for what is not there."""
        from landscape.evaluation import fisher_labels, populations
        from landscape.evaluation.layers.kfac import FactorSettings
        from landscape.evaluation.layers.layer_io import measurable_layers, without_head
        from landscape.network.linear_maps import linear_maps, select_linear_maps

        every = populations.populations(objective, self.population)
        factored = populations.population(every, objective, self.factors_on, "--factors-on")
        found, left_out = linear_maps(objective.model, objective.space.names)
        found, unused = measurable_layers(objective, found)
        if not found:
            raise TaskError(
                "the model calls no linear layer whose weight is a parameter", fix="see landscape inspect, and --params"
            )
        hidden = without_head(objective, found)
        layers = select_linear_maps(found, self.layers, "--layers") if self.layers else hidden or found
        self._say(objective, left_out + unused, [one.name for one in found if one not in layers])
        labels = fisher_labels.choose_labels(objective, self.labels)
        fisher_labels.backward_passes(objective, labels, self.draws)
        recipe = FactorSettings(labels, self.draws if labels == "sampled" else 1, self.seed, coupled=self.coupled)
        return Setting(every, factored, tuple(layers), recipe)

    def planned(
        self, objective: Objective, setting: Setting, gradients: float, points: int, facts: Mapping[str, str]
    ) -> Plan:
        """So many gradients for the factors, then the losses of every population at so many points."""
        from landscape.evaluation.layers import kfac

        measured = sum(one.batches.samples for one in setting.populations.values()) or objective.batches.samples
        passes = points * measured / objective.batches.samples / FORWARD
        sides = sum(layer.inputs**2 + layer.outputs**2 for layer in setting.layers)
        taken = WIDE * (3 * sides + 4 * sum(layer.size for layer in setting.layers))
        dense = sum(
            EIGEN * (one.inputs**3 + one.outputs**3) + 4 * points * one.size * (one.inputs + one.outputs)
            for one in setting.layers
        )
        return Plan(
            bytes=kfac.factor_bytes(objective, setting.layers, coupled=self.coupled) + taken,
            products=0,
            seconds=seconds_per_gradient(objective) * (gradients + passes) + dense / RATE,
            facts={
                "layers": listing((layer.name for layer in setting.layers), SHOWN),
                "populations": ", ".join(setting.populations) or "none",
                **facts,
            },
        )

    @property
    def coupled(self) -> bool:
        """Whether the coupled sums are collected too."""
        return False

    def _say(self, objective: Objective, impossible: list[str], others: list[str]) -> None:
        if impossible:
            said = (
                f"not measured, since tied, grouped, parametrised, never called, or not W a + b: {listing(impossible)}"
            )
            _note(objective, said)
        if others and not self.layers:
            _note(objective, f"the head is left out: {listing(others)} (--layers '*' takes every layer)")

    def factors(self, setting: Setting, saved: State) -> Generator[Progress, None, tuple[dict[str, Factor], Sums]]:
        """The factors by layer, and their sums as arrays."""
        import numpy as np
        import torch

        from landscape.evaluation.layers.kfac import assemble_factors, stream_factors

        sums: Mapping[str, Tensor] = {n: torch.tensor(a, device=setting.factored.device) for n, a in saved.items()}
        for done, total, sums in stream_factors(setting.factored, setting.layers, setting.recipe, saved):
            now = partial(_arrays, sums)
            yield Progress(done, total, "factors", now)
        identity = np.frombuffer(bytes.fromhex(setting.identity), np.uint8)
        loss = np.array(float(setting.factored.value()))
        return assemble_factors(setting.layers, sums), Sums(_arrays(sums), identity=identity, loss=loss)

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        from landscape.evaluation import populations

        every = populations.populations(objective, self.population)
        return {
            "populations": ", ".join(
                f"{stored_population(name)} {one.batches.sha256[:8]}" for name, one in every.items()
            )
        }

    def identity(self) -> dict[str, Any]:
        options = super().identity()
        named = {name: options.get(name) for name in ("factors_on", "bounded_by")}
        return options | {option: stored_population(name) for option, name in named.items() if name is not None}

    def warm_start(self, objective: Objective, stored: Mapping[str, StoredResult], output: Path) -> State | None:
        from landscape.analyses.shared.phases import prefix_state
        from landscape.storage.array_files import load_arrays

        sidecar = paths.beside(output, paths.FACTORS)
        if not sidecar.exists():
            return None
        try:
            arrays, _ = load_arrays(sidecar)
        except OutputError:
            return None
        identity, loss = arrays.pop("identity", None), arrays.pop("loss", None)
        setting = self.setting(objective)
        if identity is None or loss is None or identity.tobytes().hex() != setting.identity:
            return None
        if not math.isclose(float(loss), float(setting.factored.value()), rel_tol=SAME_LOSS):
            return None  # another model of the same weights
        _note(objective, f"the factors are those in {sidecar.name}")
        return prefix_state(PHASE, arrays)

    def sidecars(self, result: Any, objective: Objective) -> dict[str, dict[str, np.ndarray]]:
        return {paths.FACTORS: dict(result.factors)} if result.factors else {}


def _note(objective: Objective, said: str) -> None:
    if said not in objective.notes:
        objective.notes.append(said)


def _arrays(sums: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.cpu().numpy().copy() for name, value in sums.items()}


def edited(objective: Objective, weights: Mapping[str, Tensor], layers: tuple[LinearMap, ...]) -> Tensor:
    """Theta `(P,)` with new matrices `(p, q)` for some layers, by their names."""
    theta = objective.theta.clone()
    views = objective.space.unflatten(theta)
    for layer in layers:
        if layer.name in weights:
            views[layer.parameter].copy_(layer.weight(weights[layer.name]))
    return theta


def matrices(objective: Objective, layers: tuple[LinearMap, ...]) -> dict[str, Tensor]:
    """The weights `(p, q)`, float64, by layer."""
    named = objective.space.unflatten(objective.theta)
    return {layer.name: layer.matrix(named[layer.parameter]).double() for layer in layers}


def input_bases(found: Mapping[str, Factor]) -> dict[str, Eigenbasis]:
    """The eigenvectors of each layer's A; layers that share it share them."""
    from landscape.algorithms.matrices.removal import eigenbasis

    known: dict[int, Eigenbasis] = {}
    for factor in found.values():
        if factor.activations.data_ptr() not in known:
            known[factor.activations.data_ptr()] = eigenbasis(factor.a)
    return {name: known[factor.activations.data_ptr()] for name, factor in found.items()}


def rotated(objective: Objective, setting: Setting, found: Mapping[str, Factor]) -> dict[str, RotatedComponents]:
    """Each layer's weight between the eigenbases of its factors."""
    from landscape.algorithms.matrices.removal import RotatedComponents, eigenbasis

    weights, right = matrices(objective, setting.layers), input_bases(found)
    return {name: RotatedComponents(weights[name], eigenbasis(factor.g), right[name]) for name, factor in found.items()}


def kept(methods: Mapping[str, RemovalMethod], rhos: Sequence[float]) -> dict[str, Any]:
    """What is left of the weights at each rho, over all layers; the mass is a mean over them."""
    import numpy as np

    every = [[method.remove(rho) for method in methods.values()] for rho in rhos]
    energy = np.array([float(method.weight.square().sum()) for method in methods.values()])
    return {
        "rho": np.array(rhos),
        "kept_fraction": np.array([sum(one.kept for one in row) / sum(one.size for one in row) for row in every]),
        "curvature_mass": np.array([[one.mass for one in row] for row in every]).mean(axis=1),
        "weight_energy": np.array([[one.energy for one in row] for row in every]) @ energy / max(energy.sum(), 1e-300),
        "ties": np.array([sum(one.ties for one in row) for row in every]),
        "layer_kept_fraction": np.array([[one.kept / one.size for one in row] for row in every]).T,
    }
