"""Which weights change: the layers, with those of their parameters that are of the chosen kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.errors import UsageError, listing

if TYPE_CHECKING:
    from landscape.analyses.sensitivity.sensitivity import Sensitivity
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective


def layers_to_change(analysis: Sensitivity, objective: Objective) -> tuple[ParameterGroup, ...]:
    """One group for each module that owns parameters of the kinds that change, with these alone.

    A tied tensor belongs to the module of its first name, and changes once. Raises UsageError if nothing changes.
    """
    kinds = objective.function.parameter_kinds()
    names = {name for name in objective.space.names if kinds[name] in analysis.kinds}
    layers = objective.space.layers(names)
    if not layers:
        raise UsageError(
            f"no parameter is of the kinds that change: {', '.join(analysis.kinds)}",
            why=f"the measured parameters are of the kinds {', '.join(sorted(set(kinds.values())))}",
            fix="--kinds with one of these, or --params with more parameters",
        )
    return layers


def note_on_other_layers(objective: Objective, layers: tuple[ParameterGroup, ...]) -> str:
    """A sentence on the parameters that stay as they are; "" if there are none."""
    changed = {name for layer in layers for name in layer.names}
    kinds = objective.function.parameter_kinds()
    others = [name for name in objective.space.names if name not in changed]
    if not others:
        return ""
    return f"{len(others)} tensors stay as they are ({listing(dict.fromkeys(kinds[name] for name in others))})"
