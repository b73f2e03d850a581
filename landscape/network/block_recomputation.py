"""Forward passes that keep only the inputs of blocks: activations inside a block are computed again when needed.

The gradient of a block is a function of the block's inputs, its parameters and the gradient of its outputs. This
function is differentiated by computing it again too. A graph of the gradient, through which Hessian-vector products
go, then holds two tensors a block, and a product the graph of one block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.utils._pytree import tree_flatten, tree_unflatten

from landscape.errors import TaskError
from landscape.network.inner_leaves import as_leaves, uses_others
from landscape.network.scope import MODEL, Scope, work_within
from landscape.network.stored_weights import cast_weight

Stored = Mapping[int, Mapping[str, Tensor]]
NO_WEIGHTS: Stored = {}
Contexts = Callable[[], Iterable[AbstractContextManager[Any]]]
PLAIN = (Tensor, int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


OPAQUE = "takes or returns objects that may hold tensors"
WRITES = "writes into a list or a dictionary that it is given"
CAPTURES = "uses a tensor that it is not given: one that another part of the model has left in an attribute or a list"


class NotPlainError(Exception):
    """A block is no function of the tensors that it is given; the message says why, after its name."""


@contextmanager
def recompute_blocks(blocks: Sequence[nn.Module], contexts: Contexts, stored: Stored = NO_WEIGHTS) -> Iterator[None]:
    """Within the block of code these modules keep their inputs alone; later they run again inside of the `contexts`.

    `stored` holds, by a block's identity, weights by name that are added to what the block holds wherever it runs.
    Without gradients, inside transforms of `torch.func`, with hooks on a block's parts, and with arguments or results
    of unknown types, a block runs as it is.
    """
    own = [(block, vars(block).get("forward")) for block in blocks]
    try:
        for block in blocks:
            block.forward = _keep_inputs_of(block, block.forward, contexts, stored.get(id(block), {}))
        yield
    finally:
        for block, forward in own:
            if forward is None:
                vars(block).pop("forward", None)
            else:
                block.forward = forward


@contextmanager
def without_caches(model: nn.Module) -> Iterator[None]:
    """Within the block of code Hugging Face's models keep no keys and values for later tokens.

    A layer would add to them again where it is computed again.
    """
    configs: list[Any] = [getattr(module, "config", None) for module in model.modules()]
    configs += [getattr(config, "text_config", None) for config in configs]
    caching = [config for config in configs if getattr(config, "use_cache", None) is True]
    try:
        for config in caching:
            config.use_cache = False
        yield
    finally:
        for config in caching:
            config.use_cache = True


def _keep_inputs_of(
    block: nn.Module, forward: Callable[..., Any], contexts: Contexts, stored: Mapping[str, Tensor]
) -> Callable[..., Any]:
    def as_it_is(*args: Any, **kwargs: Any) -> Any:
        """The block's forward pass."""
        if not stored:
            return forward(*args, **kwargs)
        held = dict(block.named_parameters())
        state = {f"{MODEL}.{name}": cast_weight(held[name], weight) for name, weight in stored.items()}
        return work_within(Scope(block), state, lambda: forward(*args, **kwargs))

    def keep_inputs(*args: Any, **kwargs: Any) -> Any:
        """The block's forward pass, of which only the inputs are kept."""
        if not torch.is_grad_enabled() or torch._C._are_functorch_transforms_active() or _has_hooks(block):
            return as_it_is(*args, **kwargs)
        leaves, form = tree_flatten((args, kwargs))
        if not all(isinstance(leaf, PLAIN) for leaf in leaves):
            return as_it_is(*args, **kwargs)
        state = {**dict(block.named_parameters()), **dict(block.named_buffers())}
        call = BlockCall(block, forward, contexts, {name: stored.get(name) for name in state}, leaves, form)
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        try:
            outputs = _Block.apply(call, *state.values(), *given)  # type: ignore[no-untyped-call]
        except NotPlainError as error:
            if str(error) == OPAQUE:
                return as_it_is(*args, **kwargs)
            raise TaskError(
                f"{type(block).__name__} {error}, and --recompute runs it again from its inputs", fix="--recompute off"
            ) from None
        return call.restore(outputs)

    return keep_inputs


def _has_hooks(block: nn.Module) -> bool:
    """Whether something looks at the inputs, outputs or gradients of the block's parts."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(part, kind) for part in block.modules() if part is not block for kind in kinds)


class BlockCall:
    """One call of a block as a function of its tensors: those that it holds, in the order of `stored`, and arguments.

    `stored` has their names, and what is added to them.
    """

    def __init__(
        self,
        block: nn.Module,
        forward: Callable[..., Any],
        contexts: Contexts,
        stored: Mapping[str, Tensor | None],
        leaves: list[Any],
        form: Any,
    ) -> None:
        self.scope, self.forward, self.contexts, self.stored, self.form = Scope(block), forward, contexts, stored, form
        self.are_tensors = [isinstance(leaf, Tensor) for leaf in leaves]
        self.constants = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.results: list[Any] = []
        self.result_form: Any = None
        self.autocast = _autocast_contexts()

    def run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors of the block's output, with these tensors in it; raises NotPlainError for unknown objects."""
        held, given = tensors[: len(self.stored)], iter(tensors[len(self.stored) :])
        pairs = zip(self.are_tensors, self.constants, strict=True)
        passed = [next(given) if is_tensor else other for is_tensor, other in pairs]
        args, kwargs = tree_unflatten(passed, self.form)
        weights = zip(self.stored.items(), held, strict=True)
        state = {f"{MODEL}.{name}": cast_weight(tensor, kept) for (name, kept), tensor in weights}
        output = work_within(self.scope, state, lambda: self.forward(*args, **kwargs))
        after, form = tree_flatten((args, kwargs))
        if form != self.form or any(one is not other for one, other in zip(after, passed, strict=True)):
            raise NotPlainError(WRITES)
        leaves, self.result_form = tree_flatten(output)
        if not all(isinstance(leaf, PLAIN) for leaf in leaves):
            raise NotPlainError(OPAQUE)
        self.results = [_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def run_again(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The same at a later time, under the conditions of the first."""
        with torch.enable_grad(), ExitStack() as stack:
            for context in (*self.contexts(), *(make() for make in self.autocast)):
                stack.enter_context(context)
            return self.run(tensors)

    def restore(self, outputs: Sequence[Tensor]) -> Any:
        """The block's output with these tensors."""
        each = iter(outputs)
        return tree_unflatten([next(each) if leaf is _TENSOR else leaf for leaf in self.results], self.result_form)


def _autocast_contexts() -> list[Callable[[], AbstractContextManager[Any]]]:
    """What makes the precision anew to which operations are cast here by `torch.autocast`, by kind of device."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return [partial(torch.autocast, kind, torch.get_autocast_dtype(kind), cache_enabled=False) for kind in kinds]


_TENSOR = object()  # stands for a tensor among results


class _Block(Function):
    """The tensors of a block's output as a function of the tensors that it holds and is given."""

    @staticmethod
    def forward(ctx: Any, call: BlockCall, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs, computed as if for a graph, which a model may notice."""
        points = as_leaves(tensors, ctx.needs_input_grad[1:])
        with torch.enable_grad():
            outputs = call.run(points)
        if uses_others(outputs, points):
            raise NotPlainError(CAPTURES)
        results = tuple(output.detach() for output in outputs)
        fixed = [result for result, output in zip(results, outputs, strict=True) if not output.requires_grad]
        ctx.mark_non_differentiable(*fixed)
        ctx.save_for_backward(*tensors)
        ctx.call = call
        return results

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients in the tensors, times the vectors of the outputs."""
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        found = _BlockGradient.apply(ctx.call, needed, len(tensors), *tensors, *vectors)  # type: ignore[no-untyped-call]
        each = iter(found)
        return (None, *(next(each) if wanted else None for wanted in needed))


class _BlockGradient(Function):
    """The gradients in the needed tensors of a block, as a function of its tensors and the vectors of its outputs."""

    @staticmethod
    def forward(ctx: Any, call: BlockCall, needed: Sequence[bool], count: int, *given: Tensor) -> tuple[Tensor, ...]:
        """The gradients; zeros for tensors on which the outputs do not depend."""
        ctx.save_for_backward(*given)
        ctx.call, ctx.needed, ctx.count = call, needed, count
        tensors = as_leaves(given[:count], needed)
        outputs, vectors = with_graph(call.run_again(tensors), given[count:])
        inputs = [tensor for tensor, wanted in zip(tensors, needed, strict=True) if wanted]
        if not outputs:
            return tuple(torch.zeros_like(tensor) for tensor in inputs)
        return torch.autograd.grad(outputs, inputs, vectors, allow_unused=True, materialize_grads=True)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
        """The second derivatives along the directions, in the tensors and in the vectors of the outputs."""
        call, needed, count = ctx.call, ctx.needed, ctx.count
        given, flags, further = ctx.saved_tensors, ctx.needs_input_grad[3:], torch.is_grad_enabled()
        # in a graph of this graph views of their own, since the tensors depend on each other
        given = [tensor.view_as(tensor) for tensor in given] if further else as_leaves(given, flags)
        points = [tensor for tensor, wanted in zip(given, flags, strict=True) if wanted]
        outputs, vectors = with_graph(call.run_again(given[:count]), given[count:])
        inputs = points[: sum(needed)]
        with torch.enable_grad():
            gradients = torch.autograd.grad(outputs, inputs, vectors, create_graph=True, allow_unused=True)
        curved = [gradient if gradient is not None else torch.zeros(()) for gradient in gradients]
        curved, rows = with_graph(curved, directions)
        images: Sequence[Tensor | None] = [None] * len(points)
        if curved:
            images = torch.autograd.grad(curved, points, rows, allow_unused=True, create_graph=further)
        each = iter(images)
        return (None, None, None, *(next(each) if wanted else None for wanted in flags))


def with_graph(outputs: Sequence[Tensor], vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs that have a graph, and their vectors."""
    pairs = [(out, vector) for out, vector in zip(outputs, vectors, strict=True) if out.requires_grad]
    return [out for out, _ in pairs], [vector for _, vector in pairs]
