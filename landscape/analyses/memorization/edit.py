"""Removes components of low curvature from weights, and tells what that costs every population."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import Plan, Progress, Result, State
from landscape.analyses.memorization.edit_result import WHOLE, EditResult
from landscape.analyses.memorization.factors import (
    PHASE,
    Factored,
    Setting,
    Sums,
    edited,
    input_bases,
    kept,
    matrices,
    rotated,
)
from landscape.analyses.memorization.outcomes import Found, tried
from landscape.analyses.shared.phases import Phases
from landscape.choices import CLEAN, DATA, HELD_OUT, population_name
from landscape.errors import UsageError
from landscape.fields import option

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from landscape.algorithms.matrices.removal import Removal, RemovalMethod
    from landscape.evaluation.layers.kfac import Factor
    from landscape.objective import Objective

MethodName = Literal["kfac", "coupled", "activation", "svd", "random", "noise"]
SWEEP = (0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Edit(Factored):
    """Keeps the components of largest curvature mass (Merullo et al. 2025, section 3), or removes others to compare."""

    name: ClassVar[str] = "edit"
    summary: ClassVar[str] = "Remove flat components of the weights, where memorized samples sit."
    result: ClassVar[type[Result]] = EditResult

    rho: tuple[float, ...] = option(
        (), help="Share of the curvature mass to keep; several are a sweep, from which --max-loss-increase chooses."
    )
    method: MethodName = option(
        "kfac",
        help="What is removed: flat components by kfac or coupled factors, input directions by activation, singular "
        "values (svd), random components or noise of the norm of kfac's.",
    )
    max_loss_increase: float | None = option(
        None, help="Sweep rho downwards, and stop before the loss of --bounded-by rises by more.", min=0
    )
    bounded_by: str | None = option(
        None, help="Population whose loss --max-loss-increase bounds. Default clean, else held-out, else data."
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", tuple(self.rho) if isinstance(self.rho, tuple | list) else (self.rho,))
        if self.bounded_by is not None:
            object.__setattr__(self, "bounded_by", population_name(self.bounded_by))
        super().__post_init__()
        if bad := [rho for rho in self.rho if not 0 <= rho <= 1]:
            raise UsageError(f"--rho is {bad[0]}", fix="a share of the curvature mass, between 0 and 1")
        if not self.rho and self.max_loss_increase is None:
            raise UsageError(
                "neither --rho nor --max-loss-increase is given",
                why="a useful rho is 0.6 for one model and 0.99 for another",
                fix="--max-loss-increase 0.01 sweeps rho and stops there; landscape memorization shows what each costs",
            )

    @property
    def coupled(self) -> bool:
        return self.method == "coupled"

    def plan(self, objective: Objective) -> Plan:
        facts = {"rho": ", ".join(f"{rho:g}" for rho in self._rhos)}
        setting = self.setting(objective)
        facts["bounded by"] = self._bounding(setting.populations)
        return self.planned(objective, setting, 2, len(self._rhos), facts)

    @property
    def _rhos(self) -> tuple[float, ...]:
        """What is tried, downwards; the first is the weights as they are."""
        return (WHOLE, *sorted({*(self.rho or SWEEP)} - {WHOLE}, reverse=True))

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, EditResult]:
        reference, phases, setting = objective.reference, Phases(resume), self.setting(objective)
        measured = dict(setting.populations) or {DATA: objective}
        bounding = self._bounding(measured)
        found, sums = yield from phases.run(PHASE, partial(self.factors, setting))
        methods = self._methods(objective, setting, found)
        if bounding not in measured:
            measured[bounding] = objective
        points = {_point(rho): partial(self._theta, objective, setting, methods, rho) for rho in self._rhos}
        tried_out = yield from phases.run(
            "sweep", lambda saved: tried(measured, points, saved, note="sweep", enough=partial(self._beyond, bounding))
        )
        chosen = self._chosen(tried_out, bounding)
        recitals = yield from phases.run("recitation", partial(_recitals, measured, points, list(tried_out)))
        removed = {name: method.remove(chosen) for name, method in methods.items()}
        rise, error = _rise(tried_out, chosen, bounding)
        return EditResult(
            **(sweep := _sweep(tried_out, recitals, list(measured))),
            **_compared(sweep, list(tried_out).index(_point(chosen))),
            bound_loss=_numbers(one[bounding].loss for one in tried_out.values()),
            population_samples=_numbers(one.batches.samples for one in measured.values()),
            **_known(kept(methods, [rho for rho in self._rhos if _point(rho) in tried_out])),
            layer=_words(methods),
            layer_kept_fraction=_numbers(one.kept / one.size for one in removed.values()),
            layer_weight_energy=_numbers(one.energy for one in removed.values()),
            chosen_rho=chosen,
            loss_increase=rise,
            loss_increase_se=error,
            max_loss_increase=self.max_loss_increase,
            loss=reference.loss,
            parameters=objective.space.size,
            edited_parameters=sum(layer.size for layer in setting.layers),
            samples=objective.batches.samples,
            factors=sums,
            weights=Sums({} if chosen == WHOLE else _weights(setting, removed)),
            bounded_by=_words({bounding: None}),
        )

    def check_outputs(self, objective: Objective, output: Path) -> None:
        from landscape.analyses.memorization import edited_checkpoint as editing

        editing.require_room(objective, output)

    def write_outputs(self, result: Any, objective: Objective, output: Path) -> list[Path]:
        """Writes the edited checkpoint beside the results, with what undoes it."""
        from landscape.analyses.memorization import edited_checkpoint as editing

        if not result.weights:
            return []
        about = {
            "method": self.method,
            "rho": result.chosen_rho,
            "layers": [str(name) for name in result.layer],
            "bounded_by": str(result.bounded_by[0]),
            "loss_increase": result.loss_increase,
        }
        written: list[Path] = editing.write(objective, result.weights, output, about)
        return written

    def _methods(self, objective: Objective, setting: Setting, found: Mapping[str, Factor]) -> dict[str, RemovalMethod]:
        from landscape.algorithms.matrices.removal import (
            ActivationDirections,
            MatchedNoise,
            RandomComponents,
            RotatedComponents,
            SingularValues,
            eigenbasis,
        )

        weights = matrices(objective, setting.layers)
        if self.method == "svd":
            return {name: SingularValues(weight) for name, weight in weights.items()}
        if self.method == "activation":
            bases = input_bases(found)
            return {name: ActivationDirections(weight, bases[name]) for name, weight in weights.items()}
        if self.method == "coupled":
            pairs = {name: factor.coupled_factors for name, factor in found.items()}
            return {n: RotatedComponents(weights[n], eigenbasis(g), eigenbasis(a)) for n, (a, g) in pairs.items()}
        flat = rotated(objective, setting, found)
        if self.method == "kfac":
            return dict(flat)
        control = RandomComponents if self.method == "random" else MatchedNoise
        return {name: control(method, self.seed, "edit", name) for name, method in flat.items()}

    def _theta(
        self, objective: Objective, setting: Setting, methods: Mapping[str, RemovalMethod], rho: float
    ) -> Tensor:
        if rho == WHOLE:
            return objective.theta
        return edited(objective, {name: one.remove(rho).weight for name, one in methods.items()}, setting.layers)

    def _bounding(self, measured: Mapping[str, Objective]) -> str:
        """The population whose loss bounds the edit."""
        from landscape.errors import suggest

        if self.bounded_by is None:
            return next((name for name in (CLEAN, HELD_OUT) if name in measured), DATA)
        if self.bounded_by not in (DATA, *measured):
            raise UsageError(
                f"there is no population {suggest(self.bounded_by, measured)} for --bounded-by",
                fix=f"one of {', '.join(dict.fromkeys((DATA, *measured)))}, or --population {self.bounded_by}=DATA",
            )
        return self.bounded_by

    def _beyond(self, bounding: str, found: Found) -> bool:
        """Whether the last point costs more than it may."""
        if self.max_loss_increase is None:
            return False
        last, first = list(found.values())[-1][bounding], found[_point(WHOLE)][bounding]
        return not last.loss - first.loss <= self.max_loss_increase  # NaN is too much

    def _chosen(self, found: Found, bounding: str) -> float:
        """The smallest rho within the budget; without one, the only one that was asked for."""
        tried_rhos = [rho for rho in self._rhos if _point(rho) in found]
        if self.max_loss_increase is None:
            return tried_rhos[-1] if len(self.rho) == 1 else WHOLE
        if self._beyond(bounding, found):
            tried_rhos = tried_rhos[:-1]
        return tried_rhos[-1]


def _point(rho: float) -> str:
    return f"rho {rho!r}"


def _rise(found: Found, rho: float, name: str) -> tuple[float, float]:
    """The rise of a population's mean loss and its standard error, by the same samples."""
    import numpy as np

    from landscape.algorithms.estimators.resampling import standard_errors

    was, now = found[_point(WHOLE)][name], found[_point(rho)][name]
    apart, counts = (now.losses - was.losses).numpy(), was.counts.numpy()
    error = standard_errors(apart[:, None], counts)[0] if len(counts) > 1 else np.nan
    return float(apart.sum() / counts.sum()), float(error)


def _recitals(
    measured: Mapping[str, Objective], points: Mapping[str, Callable[[], Tensor]], names: list[str], saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """Of each population of texts, by point, what is recited whole and token by token: `(2, populations)`."""
    import numpy as np

    from landscape.evaluation.per_sample.recitation import recite, texts

    known = dict(saved)
    found = {name: texts(one) for name, one in measured.items()}
    if not any(found.values()):
        return {}
    for done, point in enumerate(names, start=1):
        if point not in known:
            theta = points[point]()
            pairs = {n: recite(measured[n], one, theta) for n, one in found.items() if one}
            rows = [(pairs[n].whole, pairs[n].tokens) if n in pairs else (np.nan, np.nan) for n in measured]
            known[point] = np.array(rows).T
            yield Progress(done, len(names), f"recitation, {point}", lambda now=dict(known): now)  # type: ignore[misc]
    return known


def _sweep(found: Found, recitals: Mapping[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    import numpy as np

    right = np.array([[found[point][name].accuracy for point in found] for name in names])
    columns: dict[str, Any] = {
        "population": np.array(names),
        "population_loss": np.array([[found[point][name].loss for point in found] for name in names]),
    }
    columns |= {} if np.isnan(right).all() else {"accuracy": right}
    if recitals:
        rows = np.array([recitals[point] for point in found])
        columns |= {"recitation": rows[:, 0].T, "greedy_match": rows[:, 1].T}
    return columns


def _compared(sweep: Mapping[str, np.ndarray], chosen: int) -> dict[str, Any]:
    """What each population has before, and at the chosen point."""
    pairs = {"loss": "population_loss", "accuracy": "accuracy", "recitation": "recitation"}
    held = {name: sweep[field] for name, field in pairs.items() if field in sweep}
    before = {f"{name}_before": values[:, 0] for name, values in held.items()}
    return before | {f"{name}_after": values[:, chosen] for name, values in held.items()}


def _known(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The columns of an edit's sweep: noise and random components have no mass."""
    import numpy as np

    names = ("rho", "kept_fraction", "weight_energy", "curvature_mass")
    return {name: columns[name] for name in names if not np.isnan(columns[name]).any()}


def _weights(setting: Setting, removed: Mapping[str, Removal]) -> dict[str, np.ndarray]:
    """The new weights by parameter, in their own shapes."""
    return {one.parameter: one.weight(removed[one.name].weight).cpu().numpy().copy() for one in setting.layers}


def _words(names: Mapping[str, Any]) -> np.ndarray:
    import numpy as np

    return np.array(list(names))


def _numbers(values: Any) -> np.ndarray:
    import numpy as np

    return np.array(list(values))
