"""Forward passes that keep what goes into chosen layers and comes out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landscape.batches import Batch, leaves
from landscape.objective import Objective
from landscape.predictions import class_axis
from landscape.projections import Projection, input_rows, output_rows


@dataclass(frozen=True)
class Call:
    """One application of a module: its input, and its output, in which the loss can be differentiated."""

    module: nn.Module
    given: Tensor
    output: Tensor
    place: int  # in the order of all calls
    version: int  # of the input when it was seen: another one later says that it was written into

    @property
    def rows(self) -> Tensor:
        """The inputs `(samples, rows, q)`."""
        return input_rows(self.module, self.given)


@dataclass(frozen=True)
class Pass:
    """A forward pass: the model's output as the loss takes it, and the calls of each layer."""

    output: Any
    calls: tuple[tuple[Call, ...], ...]

    def slopes(self, total: Tensor, *, keep: bool = False) -> list[list[Tensor]]:
        """The derivatives of a scalar in each layer's outputs, `(samples, rows, p)` by call; with `keep` once more."""
        every = [call for calls in self.calls for call in calls]
        found = torch.autograd.grad(total, [call.output for call in every], retain_graph=keep, allow_unused=True)
        rows = iter(
            output_rows(call.module, torch.zeros_like(call.output) if slope is None else slope)
            for call, slope in zip(every, found, strict=True)
        )
        return [[next(rows) for _ in calls] for calls in self.calls]


class Capture:
    """Runs an objective's model at theta and keeps the inputs and outputs of the layers.

    The model's own hooks, and whatever it does to its tensors in place, stay as they are.
    """

    def __init__(self, objective: Objective, layers: Sequence[Projection]) -> None:
        self.objective = objective
        self.layers = layers
        self._copied: set[int] = set()  # modules whose inputs are written into later

    def run(self, batch: Batch, theta: Tensor | None = None) -> Pass:
        """One batch's pass, with a graph from the layers' outputs to the loss."""
        point = (self.objective.theta if theta is None else theta).detach()
        while True:
            seen: dict[int, list[Call]] = {}
            with torch.enable_grad(), self._watched(seen):
                output = self.objective.batch_output(point, batch)
            calls = tuple(tuple(c for module in one.modules for c in seen.get(id(module), [])) for one in self.layers)
            written = {id(call.module) for each in calls for call in each if call.given._version != call.version}
            if not written:
                return Pass(output, calls)
            self._copied |= written

    @contextmanager
    def _watched(self, seen: dict[int, list[Call]]) -> Iterator[None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            given = (args[0] if args else next(iter(kwargs.values()))).detach()
            given = given.clone() if id(module) in self._copied else given
            kept = output if output.requires_grad else output.detach().requires_grad_()
            place = sum(map(len, seen.values()))
            seen.setdefault(id(module), []).append(Call(module, given, kept, place, given._version))
            return kept.clone()  # what follows may write into it

        modules = {id(module): module for one in self.layers for module in one.modules}
        handles = [module.register_forward_hook(hook, with_kwargs=True) for module in modules.values()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def called(objective: Objective, layers: Sequence[Projection]) -> tuple[list[Projection], list[str]]:
    """The layers in the order in which the model first calls them, and the paths of those that it never calls."""
    passed = Capture(objective, layers).run(next(iter(objective.first(1).batches)))
    first = {
        id(one): min((call.place for call in calls), default=None)
        for one, calls in zip(layers, passed.calls, strict=True)
    }
    used = [one for one in layers if first[id(one)] is not None]
    return sorted(used, key=lambda one: first[id(one)] or 0), [one.name for one in layers if first[id(one)] is None]


def without_head(objective: Objective, layers: Sequence[Projection]) -> list[Projection]:
    """The layers without the last that is called, if it has as many outputs as the model: it is the head then."""
    with torch.no_grad():
        output = objective.batch_output(objective.theta, batch := next(iter(objective.first(1).batches)))
    axis = class_axis(objective.loss, output, batch.targets)
    widths = {leaf.shape[-1 if axis is None else axis] for leaf in leaves(output) if leaf.ndim}
    return [*layers[:-1]] if layers[-1].outputs in widths else [*layers]
