"""The units of a model: modules that own parameters, and that run with nothing but their weights and their inputs.

They are its repeated blocks, and outside of these the modules that own parameters themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from landscape.network.blocks import find_repeated_blocks


@dataclass(frozen=True)
class Unit:
    """A module, and its parameters by their names in it: `measured` and `fixed` ones, by their indices among these."""

    number: int
    module: nn.Module
    measured: Mapping[str, int]
    fixed: Mapping[str, int]


def find_units(model: nn.Module, measured: Mapping[int, int], fixed: Mapping[int, int]) -> tuple[Unit, ...]:
    """The units of a model, whose parameters' indices are given by their identities.

    The last one, number 0, has the parameters that no other unit has, under their names in the model: those of modules
    that hold repeated blocks beside them.
    """
    modules = list(dict.fromkeys(_units(model, set(find_repeated_blocks(model)))))
    inside = {id(parameter) for module in modules for parameter in module.parameters()}
    loose = {name: p for name, p in model.named_parameters() if id(p) not in inside}
    named = [*(dict(module.named_parameters()) for module in modules), loose]
    return tuple(
        Unit(
            number,
            module,
            {name: measured[id(p)] for name, p in parameters.items() if id(p) in measured},
            {name: fixed[id(p)] for name, p in parameters.items() if id(p) in fixed},
        )
        for number, module, parameters in zip([*range(1, len(modules) + 1), 0], [*modules, model], named, strict=True)
    )


def _units(module: nn.Module, blocks: set[nn.Module]) -> Iterator[nn.Module]:
    """The modules of units within a module; a module with parameters of its own that holds blocks is none."""
    if not any(True for _ in module.parameters()):
        return
    owns = any(parameter is not None for parameter in module._parameters.values())
    if module in blocks or (owns and not any(part in blocks for part in module.modules())):
        yield module
        return
    for child in module.children():
        yield from _units(child, blocks)
