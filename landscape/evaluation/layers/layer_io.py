"""Forward passes that keep the inputs and outputs of chosen layers, row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor, is_gradtrackingtensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils.checkpoint import CheckpointError as RecomputationError

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.network.linear_maps import LinearMap, input_rows, output_rows
from landscape.objective import Objective

SAMPLE_RTOL = 1e-4  # of the largest input: a pass over several samples may round otherwise than a pass over one
PROBE_SAMPLES = 64  # that show which layers are called: a routed expert may wait for the right sample


class HasModules(Protocol):
    """A layer: the modules whose calls are its own."""

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules, each once."""


L = TypeVar("L", bound=HasModules)


@dataclass(frozen=True)
class LayerCall:
    """One call of a module: its input, and its output, in which the loss can be differentiated.

    `argument` is the tensor that the model passed, `argument_version` its version then; `input` is a detached view or
    copy of it. `axis` is the axis of the input along which samples lie; None if rows belong to no sample.
    """

    module: nn.Module
    argument: Tensor
    argument_version: int
    input: Tensor
    input_version: int
    output: Tensor
    order: int  # among all calls of the forward pass
    axis: int | None = 0

    @property
    def is_overwritten(self) -> bool:
        """Whether the model has written into the input since the call."""
        return self.input._version != self.input_version

    @property
    def rows(self) -> Tensor:
        """The inputs `(samples, rows, q)`; `(rows, 1, q)` if they belong to no sample."""
        return self._by_sample(input_rows(self.module, self._samples_first(self.input)))

    def gradient_rows(self, gradient: Tensor | None) -> Tensor:
        """A gradient in the output, or zeros for None, `(samples, rows, p)`."""
        whole = torch.zeros_like(self.output) if gradient is None else gradient
        return self._by_sample(output_rows(self.module, self._samples_first(whole)))

    def has_input_of(self, other: LayerCall) -> bool:
        """Whether both calls got the same tensor object, with the same values, and read the same rows from it."""
        same = self.argument is other.argument and self.argument_version == other.argument_version
        return same and _patches(self.module) == _patches(other.module)

    def _samples_first(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1) if self.axis == 1 else tensor

    def _by_sample(self, rows: Tensor) -> Tensor:
        return rows.flatten(0, 1)[:, None] if self.axis is None else rows


@dataclass(frozen=True)
class CapturedForward(Generic[L]):
    """A forward pass: the batch, the part of the model's output that the loss takes, and the calls of each layer."""

    objective: Objective
    batch: Batch
    output: Any
    layers: Sequence[L]
    calls: tuple[tuple[LayerCall, ...], ...]

    def gradients(self, total: Tensor, *, keep_graph: bool = False) -> list[list[Tensor]]:
        """The gradients of a scalar in each layer's outputs, `(samples, rows, p)` by call.

        `keep_graph` allows another backward pass. Raises TaskError if the model recomputes parts of itself.
        """
        every = [call for calls in self.calls for call in calls]
        outputs = [call.output for call in every]
        try:
            gradients = torch.autograd.grad(total, outputs, retain_graph=keep_graph, allow_unused=True)
        except RecomputationError as error:
            raise _cannot_follow() from error
        rows = iter(call.gradient_rows(gradient) for call, gradient in zip(every, gradients, strict=True))
        return [[next(rows) for _ in calls] for calls in self.calls]

    def scored_inputs(self: CapturedForward[LinearMap]) -> list[Tensor]:
        """Each layer's inputs at the tokens whose target counts, `(tokens, q)`."""
        pairs = zip(self.layers, self.calls, strict=True)
        return [self._scored_rows(calls, [call.rows for call in calls], one.inputs) for one, calls in pairs]

    def scored_gradients(self: CapturedForward[LinearMap], gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Each layer's `gradients` at the tokens whose target counts, `(tokens, p)`."""
        triples = zip(self.layers, self.calls, gradients, strict=True)
        return [self._scored_rows(calls, parts, one.outputs) for one, calls, parts in triples]

    def _scored_rows(self, calls: Sequence[LayerCall], rows: Sequence[Tensor], width: int) -> Tensor:
        """The rows of all calls whose target counts; none for a layer that was not called."""
        masks = [self._mask(call, tuple(part.shape[:2])) for call, part in zip(calls, rows, strict=True)]
        scored = [part.flatten(0, 1) if mask is None else part[mask] for part, mask in zip(rows, masks, strict=True)]
        if not scored:
            return self.objective.theta.new_zeros((0, width))
        return scored[0] if len(scored) == 1 else torch.cat(scored)

    @cached_property
    def _label_mask(self) -> Tensor | None:
        """Which labels count, `(samples, labels)`; None: all."""
        structure = self.objective.loss.structure
        mask = structure.label_mask(self.output, self.batch.targets)
        if mask is None or (bool(mask.all()) and not structure.shift):
            return None
        mask = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
        if structure.shift:  # the last token has no successor
            mask = torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1)
        return mask

    def _mask(self, call: LayerCall, shape: tuple[int, ...]) -> Tensor | None:
        """Which rows have a target that counts, `(samples, rows)`; None: all.

        Where rows and targets do not correspond one to one, a row counts if any target of its sample does.
        """
        mask = None if call.axis is None else self._label_mask
        if mask is None:
            return None
        if mask.numel() == shape[0] * shape[1]:
            return mask.reshape(shape)
        return mask.any(dim=1, keepdim=True).expand(shape) if len(mask) == shape[0] else None


class LayerCapture(Generic[L]):
    """Runs an objective's model and keeps the inputs and outputs of the layers.

    The model's own hooks, and its in-place operations, have their usual effects. Raises TaskError for a model that runs
    parts of itself again in the backward pass.
    """

    def __init__(self, objective: Objective, layers: Sequence[L]) -> None:
        if objective.function.resident is not None:
            raise _cannot_follow()
        self.objective = objective
        self.layers = layers
        self._copied: set[int] = set()  # ids of modules whose inputs the model overwrites after the call
        self._axes: dict[int, int | None] = {}
        self._axes = self._sample_axes()

    def run(self, batch: Batch, theta: Tensor | None = None) -> CapturedForward[L]:
        """One batch's forward pass, with a graph from the layers' outputs to the model's output."""
        point = (self.objective.theta if theta is None else theta).detach()
        while True:
            seen: dict[int, list[LayerCall]] = {}
            with torch.enable_grad(), self._record(seen):
                output = self.objective.batch_output(point, batch)
            calls = tuple(tuple(c for module in one.modules for c in seen.get(id(module), [])) for one in self.layers)
            overwritten = {id(call.module) for each in calls for call in each if call.is_overwritten}
            if not overwritten:
                return CapturedForward(self.objective, batch, output, self.layers, calls)
            self._copied |= overwritten

    @contextmanager
    def _record(self, seen: dict[int, list[LayerCall]]) -> Iterator[None]:
        """Puts the calls of the layers' modules into `seen`, by the module's id."""

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            """Keeps the input of one call and its output, whose gradient is asked for later."""
            argument: Tensor = args[0] if args else next(iter(kwargs.values()))
            plain, given = _unwrap(output), _unwrap(argument)
            if plain is None or given is None:
                raise TaskError(
                    f"a {type(module).__name__} is called inside torch.func.vmap, which hides its inputs",
                    fix="a forward pass over all samples at once in place of torch.func.vmap",
                )
            inputs = given.detach()
            inputs = inputs.clone() if id(module) in self._copied else inputs
            with temporarily_clear_interpreter_stack():  # a leaf outside the transforms of torch.func
                kept = plain if plain.requires_grad else plain.detach().requires_grad_()
                zero = None if plain is output or kept is plain else kept - kept.detach()
            order, axis = sum(map(len, seen.values())), self._axes.get(id(module), 0)
            call = LayerCall(module, given, given._version, inputs, inputs._version, kept, order, axis)
            seen.setdefault(id(module), []).append(call)
            # a copy, since later layers may write into it; inside torch.func.grad, whose own graph must go on, the
            # output itself plus a zero that has its derivative
            return (kept if plain is output else output).clone() if zero is None else output + zero

        modules = {id(module): module for one in self.layers for module in one.modules}
        # before the model's own hooks, which may change the output
        handles = [module.register_forward_hook(hook, with_kwargs=True, prepend=True) for module in modules.values()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _sample_axes(self) -> dict[int, int | None]:
        """The axis of each module's input along which samples lie, by comparing one sample with several."""
        most = min(PROBE_SAMPLES, self.objective.micro_batch)  # the planned micro-batch fits into memory
        passes = [self.run(next(iter(self.objective.first(samples).batches))) for samples in (1, most)]
        if passes[1].batch.size == 1:  # one at a time: all rows belong to it
            return {}
        alone, together = ({id(c.module): c for calls in one.calls for c in calls} for one in passes)
        samples = passes[1].batch.size
        return {m: _sample_axis(alone[m], call, samples) for m, call in together.items() if m in alone}


def _unwrap(tensor: Tensor) -> Tensor | None:
    """The tensor inside those that `torch.func.grad` wraps around it; None inside `torch.func.vmap`."""
    while is_gradtrackingtensor(tensor):
        tensor = get_unwrapped(tensor)
    return None if is_functorch_wrapped_tensor(tensor) else tensor


def _cannot_follow() -> TaskError:
    return TaskError(
        "the model computes parts of itself a second time (gradient checkpointing), which cannot be followed",
        fix="turn it off: torch's own is undone, another library's is not",
    )


def _sample_axis(alone: LayerCall, together: LayerCall, samples: int) -> int | None:
    """The first of two axes along which the inputs of several samples begin with those of the first, else None."""
    one, several = alone.input, together.input
    for axis in range(min(2, one.ndim - 1)):
        shape = (*one.shape[:axis], samples * one.shape[axis], *one.shape[axis + 1 :])
        separate = axis == 0 or one.shape[axis] == 1  # samples behind the first axis need an axis of their own
        if several.shape == shape and separate:
            begin = several.narrow(axis, 0, one.shape[axis])
            scale = float(one.abs().max() if one.numel() else 0)
            if not math.isfinite(scale):
                raise TaskError(
                    f"the inputs of a {type(alone.module).__name__} are not finite: {scale}",
                    why="for the first sample alone; the model may divide by what is 0 there",
                    fix="--layers without it, or look at that sample",
                )
            if torch.allclose(begin, one, rtol=SAMPLE_RTOL, atol=SAMPLE_RTOL * scale):
                return axis
    return None


def _patches(module: nn.Module) -> tuple[str, ...]:
    """How a convolution cuts its input into patches; the same words for all linear layers."""
    names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    return tuple(str(getattr(module, name, None)) for name in names)
