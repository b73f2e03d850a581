"""Forward and backward passes of units whose weights are gathered from all ranks while they run, and dropped again.

Theta moves along one direction v, by an anchor that is 0: theta + anchor v. The derivative of the loss in the anchor is
the gradient times v, and the derivative of that in theta the product of the Hessian with v (Pearlmutter 1994). So only
two tensors of activations a unit stay in the graph. What a unit adds to a gradient, or to a product, is summed over the
ranks as soon as it is known, and each of them keeps its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.utils._pytree import tree_flatten

from landscape.compute.shards import Shards
from landscape.errors import TaskError
from landscape.network.block_recomputation import CAPTURES, OPAQUE, PLAIN, BlockCall, NotPlainError, with_graph
from landscape.network.inner_leaves import as_leaves, leaks, operations_so_far, uses_others
from landscape.network.units import Unit

Stage = Literal["forward", "gradient", "slope", "curvature"]
Contexts = Callable[[], Iterable[AbstractContextManager[Any]]]
Key = tuple[int, str, int]  # a unit's number, the pass that adds to its parameters, and how often it has done so
CYCLE = 1000  # of numbers in labels
UNSHARDED = "--shard off: each rank then holds all weights"


@dataclass
class Passage:
    """One pass through a model of which this rank holds parts of the weights.

    `measured` and `fixed` say how the weights are cut, `held` has the fixed ones; `theta` are the measured ones, and
    `vector` is the direction of a product. They may lie in the memory of the host: whole tensors are on the device of
    the `anchor`. `stage` says what a backward pass is for: none, a gradient, its slope along
    the vector, or the curvature, which differentiates the slope. `having` tells which ranks have data in this step, and
    `take(key, part)` gets what a unit adds. While it is `differentiating` a backward pass is that of the
    measurement, and none that the model makes for itself.
    """

    measured: Shards
    fixed: Shards
    held: Tensor
    anchor: Tensor
    theta: Tensor
    vector: Tensor | None = None
    stage: Stage = "forward"
    having: tuple[bool, ...] = (True,)
    take: Callable[[Key, Tensor], None] | None = None
    shapes: tuple[torch.Size, ...] = ()
    fixed_shapes: tuple[torch.Size, ...] = ()
    watching: bool = False
    differentiating: bool = False
    leaves: list[Tensor] = field(default_factory=list)  # weights that no unit has, whole while a pass lasts
    _counts: dict[tuple[int, str], int] = field(default_factory=dict)
    _exchanges: int = 0

    def begin(self, stage: Stage) -> None:
        """Begins a step of a pass."""
        self.stage = stage
        self._counts.clear()

    def weights(self, unit: Unit) -> list[Tensor]:
        """The weights of a unit: the measured ones, then the fixed ones."""
        named = self._whole(self.theta, unit)
        indices = list(unit.fixed.values())
        rest = self.fixed.gather(self.held, indices, self._label(unit), self.anchor.device) if indices else []
        return named + [part.view(self.fixed_shapes[i]) for part, i in zip(rest, indices, strict=True)]

    def directions(self, unit: Unit) -> list[Tensor]:
        """The direction of the product in a unit's measured weights."""
        assert self.vector is not None
        return self._whole(self.vector, unit)

    def add(self, unit: Unit, by: str, parts: Sequence[Tensor]) -> None:
        """Takes what a unit adds to the gradient, or the product, in its measured weights."""
        if not parts:
            return
        place = unit.number, by
        count = self._counts[place] = self._counts.get(place, -1) + 1
        total = self.measured.scatter(parts, list(unit.measured.values()), self.having, self._label(unit))
        if self.take is not None:
            self.take((*place, count), total.to(self.theta.device))

    def _label(self, unit: Unit) -> int:
        """A number for the next exchange, which other ranks have for the same one: how many were before, and whose."""
        self._exchanges += 1
        return self._exchanges % CYCLE * CYCLE + unit.number % CYCLE

    def _whole(self, vector: Tensor, unit: Unit) -> list[Tensor]:
        indices = list(unit.measured.values())
        parts = self.measured.gather(vector, indices, self._label(unit), self.anchor.device) if indices else []
        return [part.view(self.shapes[index]) for part, index in zip(parts, indices, strict=True)]


@contextmanager
def gather_units(units: Sequence[Unit], contexts: Contexts, passage: Passage) -> Iterator[None]:
    """Within the block these units gather their weights while they run.

    Where gradients are recorded they keep their inputs alone, and run again inside of the `contexts`.
    """
    own = [(unit.module, vars(unit.module).get("forward")) for unit in units]
    try:
        for unit in units:
            unit.module.forward = _gathering(unit, unit.module.forward, contexts, passage)
        yield
    finally:
        for module, forward in own:
            if forward is None:
                vars(module).pop("forward", None)
            else:
                module.forward = forward


def _gathering(unit: Unit, forward: Callable[..., Any], contexts: Contexts, passage: Passage) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        """The unit's forward pass."""
        if torch._C._are_functorch_transforms_active():
            raise _not_plain(unit, "runs inside of torch.func.vmap, or another transform")
        leaves, form = tree_flatten((args, kwargs))
        if not all(isinstance(leaf, PLAIN) for leaf in leaves):
            raise _not_plain(unit, OPAQUE)
        buffers = dict(unit.module.named_buffers())
        names = dict.fromkeys((*unit.measured, *unit.fixed, *buffers))
        call = BlockCall(unit.module, forward, contexts, names, leaves, form)
        given = [*buffers.values(), *(leaf for leaf in leaves if isinstance(leaf, Tensor))]
        try:
            if torch.is_grad_enabled():
                outputs = _Unit.apply(call, unit, passage, passage.anchor, *given)  # type: ignore[no-untyped-call]
            else:
                outputs = call.run([*passage.weights(unit), *given])
        except NotPlainError as error:
            raise _not_plain(unit, str(error)) from None
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            raise _not_plain(unit, "writes into a tensor that it is given") from error
        return call.restore(outputs)

    return run


def _not_plain(unit: Unit, what: str) -> TaskError:
    name = type(unit.module).__name__
    return TaskError(
        f"{name} {what}, and --shard runs it again from its inputs",
        fix=f"let {name} take and return tensors, in lists, tuples and dictionaries; {UNSHARDED}",
    )


def require_no_leaks(total: Tensor) -> None:
    """Raises TaskError if a loss is computed from what a unit has left somewhere, beside what it returned."""
    if leaks([total]):
        raise TaskError(
            "a module leaves a tensor in an attribute or a list, from which the loss is computed",
            why="--shard runs modules again from their inputs, and the derivatives through that tensor would be lost",
            fix=f"return the tensor from the module's forward; {UNSHARDED}",
        )


class _Unit(Function):
    """The tensors of a unit's output as a function of the tensors that it is given."""

    @staticmethod
    def forward(ctx: Any, call: BlockCall, unit: Unit, passage: Passage, anchor: Tensor, *given: Tensor) -> Any:
        """The outputs, computed as if for a graph, which a model may notice."""
        weights, needed = passage.weights(unit), [*_flags(unit), *ctx.needs_input_grad[4:]]
        before = [weight.clone() for weight in weights] if passage.watching else []
        with torch.enable_grad():
            points, began = as_leaves([*weights, *given], needed), operations_so_far()
            outputs = call.run(points)
        if uses_others(outputs, points, passage.leaves, began):
            raise NotPlainError(CAPTURES)
        _require_same_weights(unit, weights, before)
        results = tuple(output.detach() for output in outputs)
        fixed = [result for result, output in zip(results, outputs, strict=True) if not output.requires_grad]
        ctx.mark_non_differentiable(*fixed)
        ctx.save_for_backward(anchor, *given)
        ctx.call, ctx.unit, ctx.passage = call, unit, passage
        return results

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Any, ...]:
        """The gradients in what the unit was given; in the anchor the slope along the vector."""
        anchor, *given = ctx.saved_tensors
        needed = ctx.needs_input_grad[4:]
        if not ctx.passage.differentiating:  # what it would add belongs to no gradient of the loss
            raise TaskError(
                f"the model differentiates {type(ctx.unit.module).__name__} inside of its forward pass",
                why="--shard gathers weights in the backward passes of the measurement alone",
                fix=UNSHARDED,
            )
        about = ctx.call, ctx.unit, ctx.passage, needed
        slope, *found = _UnitGradient.apply(*about, anchor, *given, *vectors)  # type: ignore[no-untyped-call]
        each = iter(found)
        slope = slope if ctx.passage.stage == "slope" else None
        return (None, None, None, slope, *(next(each) if wanted else None for wanted in needed))


class _UnitGradient(Function):
    """The slope of a unit along the vector, and its gradients in what it was given, as a function of that and of the
    vectors of its outputs.

    The slope is 0 here: its value is never needed, only its derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any,
        call: BlockCall,
        unit: Unit,
        passage: Passage,
        needed: Sequence[bool],
        anchor: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """The gradients; in the measured weights they are handed over, unless their slope is asked for."""
        ctx.save_for_backward(*tensors)
        ctx.call, ctx.unit, ctx.passage, ctx.needed = call, unit, passage, needed
        given, vectors = tensors[: len(needed)], tensors[len(needed) :]
        wanted = [passage.stage != "slope" and own for own in _flags(unit)] + list(needed)
        points = as_leaves([*passage.weights(unit), *given], wanted)
        outputs, rows = with_graph(call.run_again(points), vectors)
        inputs = [point for point, flag in zip(points, wanted, strict=True) if flag]
        found = _gradients(outputs, inputs, rows)
        count = len(inputs) - sum(needed)
        passage.add(unit, "forward", found[:count])
        return (torch.zeros_like(anchor), *found[count:])

    @staticmethod
    def backward(ctx: Any, _: Tensor, *directions: Tensor) -> tuple[Any, ...]:
        """The second derivatives along the vector and the directions; those in the weights are handed over."""
        call, unit, passage, needed = ctx.call, ctx.unit, ctx.passage, ctx.needed
        given, flags = ctx.saved_tensors, ctx.needs_input_grad[5:]
        own = _flags(unit)
        weights = as_leaves(passage.weights(unit), own)
        others = as_leaves(given, flags)
        measured = [weight for weight, flag in zip(weights, own, strict=True) if flag]
        points = [*measured, *(tensor for tensor, flag in zip(others, flags, strict=True) if flag)]
        outputs, vectors = with_graph(call.run_again([*weights, *others[: len(needed)]]), others[len(needed) :])
        inputs = [*measured, *(tensor for tensor, flag in zip(others, needed, strict=False) if flag)]
        curved: list[Tensor] = []
        rows: list[Tensor] = []
        if outputs and inputs:
            with torch.enable_grad():
                gradients = torch.autograd.grad(outputs, inputs, vectors, create_graph=True, allow_unused=True)
            known = [gradient if gradient is not None else torch.zeros(()) for gradient in gradients]
            curved, rows = with_graph(known, [*passage.directions(unit), *directions])
        images = _gradients(curved, points, rows)
        passage.add(unit, "gradient", images[: len(measured)])
        each = iter(images[len(measured) :])
        return (None, None, None, None, None, *(next(each) if flag else None for flag in flags))


def _gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The gradients in the inputs; zeros where there is nothing to differentiate."""
    if not outputs or not inputs:
        return [torch.zeros_like(point) for point in inputs]
    return torch.autograd.grad(outputs, inputs, vectors, allow_unused=True, materialize_grads=True)


def _flags(unit: Unit) -> list[bool]:
    """Which of a unit's weights are measured."""
    return [True] * len(unit.measured) + [False] * len(unit.fixed)


def _require_same_weights(unit: Unit, weights: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Raises TaskError if a forward pass has changed the weights."""
    names = [*unit.measured, *unit.fixed]
    changed = [name for name, new, old in zip(names, weights, before, strict=False) if not torch.equal(new, old)]
    if changed:
        raise TaskError(
            f"the forward pass changes the parameter {', '.join(changed)} of {type(unit.module).__name__}",
            why="the loss would not be measured at the checkpoint's weights, and its derivatives do not see the change",
            fix="leave the weights alone in forward (weight.data.clamp_, max_norm, ...): apply it once, save, measure",
        )
