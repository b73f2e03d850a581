"""Forward passes that keep what goes into chosen layers and comes out of them, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError as RecomputationError

from landscape.data.batches import Batch, leaves
from landscape.errors import TaskError
from landscape.network.linear_maps import LinearMap, input_rows, output_rows
from landscape.objective import Objective

SAME = 1e-4  # relative: a pass over several samples may round otherwise
LINEAR = 1e-3  # relative, and another formula is further away
PROBED = 64  # samples on which is seen which layers are called: experts may wait for the right one


@dataclass(frozen=True)
class LayerCall:
    """One application of a module: its input, and its output, in which the loss can be differentiated.

    `axis` is where the input's samples lie; None if rows belong to no sample.
    """

    module: nn.Module
    given: Tensor
    output: Tensor
    place: int  # in the order of all calls
    version: int  # of the input when it was seen: another one later says that it was written into
    axis: int | None = 0

    @property
    def rows(self) -> Tensor:
        """The inputs `(samples, rows, q)`; `(rows, 1, q)` if they belong to no sample."""
        return self._alone(input_rows(self.module, self._turned(self.given)))

    def slopes(self, slope: Tensor | None) -> Tensor:
        """Slopes in the output, `(samples, rows, p)`."""
        whole = torch.zeros_like(self.output) if slope is None else slope
        return self._alone(output_rows(self.module, self._turned(whole)))

    def _turned(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1) if self.axis == 1 else tensor

    def _alone(self, rows: Tensor) -> Tensor:
        return rows.flatten(0, 1)[:, None] if self.axis is None else rows


@dataclass(frozen=True)
class CapturedForward:
    """A forward pass: the batch, the model's output as the loss takes it, and the calls of each layer."""

    objective: Objective
    batch: Batch
    output: Any
    layers: Sequence[LinearMap]
    calls: tuple[tuple[LayerCall, ...], ...]

    def slopes(self, total: Tensor, *, keep: bool = False) -> list[list[Tensor]]:
        """The derivatives of a scalar in each layer's outputs, `(samples, rows, p)` by call; with `keep` once more."""
        every = [call for calls in self.calls for call in calls]
        try:
            found = torch.autograd.grad(total, [call.output for call in every], retain_graph=keep, allow_unused=True)
        except RecomputationError as error:
            raise TaskError(
                "the model computes parts of itself a second time (gradient checkpointing), which cannot be followed",
                fix="turn it off: torch's own is undone, another library's is not",
            ) from error
        rows = iter(call.slopes(slope) for call, slope in zip(every, found, strict=True))
        return [[next(rows) for _ in calls] for calls in self.calls]

    def inputs(self) -> list[Tensor]:
        """Of each layer the inputs that count, `(tokens, q)`."""
        pairs = zip(self.layers, self.calls, strict=True)
        return [self._counting(calls, [call.rows for call in calls], one.inputs) for one, calls in pairs]

    def outputs(self, slopes: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Of each layer the slopes that count, `(tokens, p)`."""
        triples = zip(self.layers, self.calls, slopes, strict=True)
        return [self._counting(calls, parts, one.outputs) for one, calls, parts in triples]

    def _counting(self, calls: Sequence[LayerCall], rows: Sequence[Tensor], width: int) -> Tensor:
        """The rows of all calls whose target counts; none for a layer that was not called."""
        masks = [self._mask(call, tuple(part.shape[:2])) for call, part in zip(calls, rows, strict=True)]
        kept = [part.flatten(0, 1) if mask is None else part[mask] for part, mask in zip(rows, masks, strict=True)]
        if not kept:
            return self.objective.theta.new_zeros((0, width))
        return kept[0] if len(kept) == 1 else torch.cat(kept)

    @cached_property
    def _labels(self) -> Tensor | None:
        """Which labels count, `(samples, labels)`; None: all."""
        structure = self.objective.loss.structure
        labels = structure.label_mask(self.output, self.batch.targets)
        if labels is None or (bool(labels.all()) and not structure.shift):
            return None
        labels = labels.flatten(1) if labels.ndim > 1 else labels[:, None]
        if structure.shift:  # the last token has no successor
            labels = torch.cat([labels, torch.zeros_like(labels[:, :1])], dim=1)
        return labels

    def _mask(self, call: LayerCall, shape: tuple[int, ...]) -> Tensor | None:
        """Which rows have a target that counts, `(samples, rows)`; None: all.

        Where rows and targets do not correspond one to one, a row counts if anything of its sample does.
        """
        labels = None if call.axis is None else self._labels
        if labels is None:
            return None
        if labels.numel() == shape[0] * shape[1]:
            return labels.reshape(shape)
        return labels.any(dim=1, keepdim=True).expand(shape) if len(labels) == shape[0] else None


class LayerCapture:
    """Runs an objective's model at theta and keeps the inputs and outputs of the layers.

    The model's own hooks, and whatever it does to its tensors in place, stay as they are.
    """

    def __init__(self, objective: Objective, layers: Sequence[LinearMap]) -> None:
        self.objective = objective
        self.layers = layers
        self._copied: set[int] = set()  # modules whose inputs are written into later
        self._axes: dict[int, int | None] = {}
        self._axes = self._sample_axes()

    def run(self, batch: Batch, theta: Tensor | None = None) -> CapturedForward:
        """One batch's pass, with a graph from the layers' outputs to the loss."""
        point = (self.objective.theta if theta is None else theta).detach()
        while True:
            seen: dict[int, list[LayerCall]] = {}
            with torch.enable_grad(), self._watched(seen):
                output = self.objective.batch_output(point, batch)
            calls = tuple(tuple(c for module in one.modules for c in seen.get(id(module), [])) for one in self.layers)
            written = {id(call.module) for each in calls for call in each if call.given._version != call.version}
            if not written:
                return CapturedForward(self.objective, batch, output, self.layers, calls)
            self._copied |= written

    @contextmanager
    def _watched(self, seen: dict[int, list[LayerCall]]) -> Iterator[None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            given = (args[0] if args else next(iter(kwargs.values()))).detach()
            given = given.clone() if id(module) in self._copied else given
            kept = output if output.requires_grad else output.detach().requires_grad_()
            place, axis = sum(map(len, seen.values())), self._axes.get(id(module), 0)
            seen.setdefault(id(module), []).append(LayerCall(module, given, kept, place, given._version, axis))
            return kept.clone()  # what follows may write into it

        modules = {id(module): module for one in self.layers for module in one.modules}
        # before the model's own hooks, which may change what comes out
        handles = [module.register_forward_hook(hook, with_kwargs=True, prepend=True) for module in modules.values()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _sample_axes(self) -> dict[int, int | None]:
        """The axis of each module's input along which samples lie: seen on one sample, and on more."""
        most = min(PROBED, self.objective.micro_batch)  # what was planned fits into memory
        passes = [self.run(next(iter(self.objective.first(samples).batches))) for samples in (1, most)]
        if passes[1].batch.size == 1:  # one at a time: all rows are its own
            return {}
        alone, together = ({id(c.module): c for calls in one.calls for c in calls} for one in passes)
        return {m: _samples(alone[m], call, passes[1].batch.size) for m, call in together.items() if m in alone}


def _samples(alone: LayerCall, together: LayerCall, samples: int) -> int | None:
    """The first of two axes along which the inputs of several samples hold those of the first, all else being equal."""
    one, several = alone.given, together.given
    for axis in range(min(2, one.ndim - 1)):
        shape = (*one.shape[:axis], samples * one.shape[axis], *one.shape[axis + 1 :])
        whole = axis == 0 or one.shape[axis] == 1  # samples are told apart along an axis of their own
        if several.shape == shape and whole:
            begin = several.narrow(axis, 0, one.shape[axis])
            if torch.allclose(begin, one, rtol=SAME, atol=SAME * float(one.abs().max() if one.numel() else 0)):
                return axis
    return None


def measurable_layers(objective: Objective, layers: Sequence[LinearMap]) -> tuple[list[LinearMap], list[str]]:
    """The layers in the order in which the model first calls them, and the paths of those that cannot be measured.

    These are never called, or do not give W a + b: a subclass may standardise its weight first.
    """
    capture, weights = LayerCapture(objective, layers), objective.space.unflatten(objective.theta)
    places: dict[int, int] = {}
    odd: set[int] = set()
    for piece in next(iter(objective.first(PROBED).batches)).split(objective.micro_batch):
        for number, (one, calls) in enumerate(zip(layers, capture.run(piece).calls, strict=True)):
            if calls:
                places.setdefault(number, calls[0].place)
            if not all(_is_linear(one, weights[one.parameter], call) for call in calls):
                odd.add(number)
    used = sorted(places.keys() - odd, key=lambda number: places[number])
    return [layers[number] for number in used], [o.name for n, o in enumerate(layers) if n not in used]


def _is_linear(layer: LinearMap, weight: Tensor, call: LayerCall) -> bool:
    """Whether the output of a call is W a + b."""
    rows = input_rows(call.module, call.given) @ layer.matrix(weight).T
    bias = getattr(call.module, "bias", None)
    wanted = rows if bias is None else rows + bias.detach().to(rows)
    found = output_rows(call.module, call.output.detach())
    scale = float(wanted.abs().max()) if wanted.numel() else 0.0
    return wanted.shape == found.shape and torch.allclose(wanted, found, rtol=LINEAR, atol=LINEAR * scale)


def without_head(objective: Objective, layers: Sequence[LinearMap]) -> list[LinearMap]:
    """The layers without the last that is called, if it has as many outputs as the model: it is the head then."""
    with torch.no_grad():
        output = objective.batch_output(objective.theta, batch := next(iter(objective.first(1).batches)))
    axis = objective.loss.structure.axis(output, batch.targets)
    widths = {leaf.shape[-1 if axis is None else axis] for leaf in leaves(output) if leaf.ndim}
    return [*layers[:-1]] if layers[-1].outputs in widths else [*layers]
