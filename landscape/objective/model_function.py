"""A model's output as a function of one flat parameter vector. Only here is a model called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.choices import Mode
from landscape.compute.precision import default_float64
from landscape.compute.random_state import begin_at_seed, seed_all
from landscape.data.batches import Batch
from landscape.data.trees import copy_containers, map_tensors
from landscape.errors import UsageError
from landscape.network.attention import without_fast_path
from landscape.network.block_recomputation import recompute_blocks, without_caches
from landscape.network.parameter_kinds import ParameterKind, parameter_kinds
from landscape.network.recomputation import without_recomputation
from landscape.network.scope import CRITERION, MODEL, Resident, Scope, Substitution, work_within
from landscape.network.space import ParameterSpace
from landscape.network.stored_weights import cast_weight, in_dtype, weights_of_blocks
from landscape.network.weight_norm import UnfusedWeightNorm
from landscape.network.wrappers import hold_mode

T = TypeVar("T")
Theta = Tensor | Mapping[str, Tensor]  # the parameters as one vector `(P,)`, or by name
FORWARD_SEED = 0  # at which every forward pass of a model that draws random numbers begins


@dataclass(frozen=True)
class ModelFunction:
    """A module's output as a function of theta `(P,)`; parameters outside `space`, and buffers, are `fixed`.

    The other fields say what the module needs beyond a plain forward pass, as the checks found out:

    - `criterion`: a loss that is a module with parameters, whose names begin with `prefix` in `space` and `fixed`.
    - `needs_gradients`: the module computes its output only, or only rightly, while gradients are recorded: it
      differentiates in its inputs (forces, physics-informed nets), or torch runs another kernel without gradients.
    - `captured`: the names of the model's parameters that the loss keeps as objects, by the objects' identities.
    - `loss_uses_parameters`: the loss depends on theta not only through the output (penalties, losses with parameters).
    - `written`: the buffers that a forward pass changes; each pass gets copies of them.
    - `draws_numbers`: a forward pass draws from a global random generator; each pass begins at the same seed.
    - `mode`: the mode of the module during a pass. In train mode random numbers begin at the place of each batch's
      first sample, so that every pass draws the same masks of dropout.
    - `user_pass`: a function of the module and a batch's inputs in the place of the module's forward pass.
    - `resident`: a copy of the module that keeps theta after the forward pass, since parts of it run again in the
      backward pass. Gradients are then gathered as `Tensor.backward` does, and graphs serve only once.
    - `fused`: attention may run in torch's fused kernels, which have first derivatives alone.
    - `blocks`: parts of the module that keep their inputs alone, and run again in each backward pass.
    - `stored`: weights by name in fewer bits, or elsewhere, from which theta is the difference.
    - `casts_by_block`: blocks add the stored weights that they alone use, wherever they run.
    """

    module: nn.Module
    space: ParameterSpace
    fixed: Mapping[str, Tensor]
    criterion: nn.Module | None = None
    prefix: str = ""
    weight_norm: bool = False
    needs_gradients: bool = False
    captured: Mapping[int, str] = field(default_factory=dict)
    loss_uses_parameters: bool = False
    written: frozenset[str] = frozenset()
    draws_numbers: bool = False
    mode: Mode = "eval"
    user_pass: Callable[[nn.Module, Any], Any] | None = None
    resident: Resident | None = None
    fused: bool = False
    blocks: tuple[nn.Module, ...] = ()
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    casts_by_block: bool = True

    in_parts: ClassVar[bool] = False  # whether this rank holds a part of theta alone

    @cached_property
    def scope(self) -> Scope:
        """The module and the criterion as one module."""
        return Scope(self.module, self.criterion)

    @property
    def is_plain(self) -> bool:
        """Whether a copy of the module that holds theta computes the outputs, and the loss follows from these alone."""
        if self.user_pass is not None and self.user_pass is self.criterion:
            return False
        special = self.captured, self.loss_uses_parameters, self.written, self.draws_numbers, self.resident, self.stored
        return not any(special) and self.mode == "eval"

    @property
    def may_run_again(self) -> bool:
        """Whether a part of the module gives the same a second time, after the forward pass."""
        return not (self.captured or self.written or self.draws_numbers or self.resident) and self.mode == "eval"

    @property
    def recomputes(self) -> bool:
        """Whether blocks keep their inputs alone."""
        return bool(self.blocks) and self.may_run_again

    def output(self, theta: Theta, batch: Batch) -> Any:
        """Everything that the module returns for a batch, differentiable in theta as often as needed."""
        return self.forward(theta, lambda: self.call(batch))

    def forward(self, theta: Theta, work: Callable[[], T]) -> T:
        """The result of `work`, during which the module, and the criterion, hold theta.

        Under `torch.no_grad` a module that needs gradients gets them, and the result is detached.
        """
        if not self.needs_gradients or torch.is_grad_enabled():
            return self._within(theta, work)
        with torch.enable_grad():
            result: T = map_tensors(Tensor.detach, self._within(self._with_gradients(theta), work))
            return result

    def call(self, batch: Batch) -> Any:
        """The module's output with the tensors that it holds now; for the work given to `forward`."""
        if self.mode == "train":
            seed_all(batch.first)
        scope = self.scope if self.resident is None else self.resident.scope
        if self.user_pass is not None and self.user_pass is self.criterion:
            return scope.criterion(scope.model, copy_containers(batch.inputs))
        return self.pass_through(scope.model, batch)

    def pass_through(self, module: nn.Module, batch: Batch) -> Any:
        """The output of this module, or a copy of it, with the tensors that it holds now."""
        if self.user_pass is not None:
            return self.user_pass(module, copy_containers(batch.inputs))
        args, kwargs = batch.arguments
        return module(*args, **kwargs)

    def device_of(self, theta: Tensor) -> torch.device:
        """Where the module runs at theta."""
        return theta.device

    def state(self, theta: Theta, bare: Collection[str] = ()) -> dict[str, Tensor]:
        """The weights at theta and the fixed tensors by name, with copies of the buffers that a forward pass changes.

        The stored weights of the `bare` names are left for others to add.
        """
        fixed = {name: tensor.clone() if name in self.written else tensor for name, tensor in self.fixed.items()}
        named = {**fixed, **(self.space.unflatten(theta) if isinstance(theta, Tensor) else theta)}
        return {n: t if n in bare else cast_weight(t, self.stored.get(n)) for n, t in named.items()}

    def weights(self, theta: Theta) -> Theta:
        """The weights at theta, in its form; theta itself unless weights are stored."""
        if not self.stored:
            return theta
        named = self.state(theta)
        return self.space.flatten(named) if isinstance(theta, Tensor) else {name: named[name] for name in theta}

    def require_weights(self, purpose: str) -> None:
        """Raises UsageError if theta does not hold the weights, but the difference from those that are stored."""
        if self.stored:
            raise UsageError(
                f"{purpose} needs weights in the precision that it computes in, and --weights-dtype keeps fewer bits",
                fix="leave --weights-dtype out; eig, trace and density take it",
            )

    @cached_property
    def _weights_of_blocks(self) -> tuple[frozenset[str], Mapping[int, Mapping[str, Tensor]]]:
        """The stored weights that blocks cast by themselves: their names, and by block."""
        blocks = self.blocks if self.recomputes and self.casts_by_block else ()
        return weights_of_blocks(self.module, blocks, self.stored)

    def to(self, dtype: torch.dtype) -> ModelFunction:
        """The function with its fixed tensors in another precision; theta and batches have to be given in it."""
        fixed = {n: in_dtype(t, dtype) if t.is_floating_point() else t for n, t in self.fixed.items()}
        return replace(self, fixed=fixed)

    def parameter_kinds(self) -> dict[str, ParameterKind]:
        """The kind of every parameter of the module and the criterion by name."""
        own = {} if self.criterion is None else parameter_kinds(self.criterion)
        return {**parameter_kinds(self.module), **{f"{self.prefix}{name}": kind for name, kind in own.items()}}

    def in_criterion(self, name: str) -> bool:
        """Whether a tensor of this name belongs to the criterion."""
        return self.criterion is not None and name.startswith(self.prefix)

    def scope_name(self, name: str) -> str:
        """The name of a tensor in the scope."""
        if self.in_criterion(name):
            return f"{CRITERION}.{name.removeprefix(self.prefix)}"
        return f"{MODEL}.{name}"

    def modes(self) -> Iterator[AbstractContextManager[None]]:
        """The blocks in which the module, and the criterion, are in the mode of the measurement."""
        yield hold_mode(self.module, self.mode)
        if self.criterion is not None:
            yield hold_mode(self.criterion, self.mode)

    def _with_gradients(self, theta: Theta) -> Theta:
        if isinstance(theta, Tensor):
            return theta.detach().requires_grad_()
        names = set(self.space.names)
        return {name: t.detach().requires_grad_() if name in names else t for name, t in theta.items()}

    def _within(self, theta: Theta, work: Callable[[], T]) -> T:
        named = self.state(theta, self._weights_of_blocks[0])
        state = {self.scope_name(name): tensor for name, tensor in named.items()}
        with ExitStack() as stack:
            for context in self._contexts(named):
                stack.enter_context(context)
            if self.resident is not None:
                self.resident.hold(state)
            return work_within(self.scope, state, work)

    def _contexts(self, named: Mapping[str, Tensor]) -> Iterator[AbstractContextManager[Any]]:
        """The blocks in which a pass runs."""
        double = bool(self.space.names) and named[self.space.names[0]].dtype == torch.float64
        yield from self.kernels(double)
        if self.recomputes:
            yield without_caches(self.module)
            yield recompute_blocks(self.blocks, lambda: self.kernels(double), self._weights_of_blocks[1])
        if self.draws_numbers or self.mode == "train":
            yield begin_at_seed(FORWARD_SEED)
        if self.captured:
            yield Substitution({key: named[name] for key, name in self.captured.items()})

    def kernels(self, double: bool) -> Iterator[AbstractContextManager[Any]]:
        """The blocks that decide how a part of the module computes; `double` says that it computes in float64."""
        yield from self.modes()
        if not self.fused:
            yield sdpa_kernel(SDPBackend.MATH)  # the fused attention kernels have no second derivative
        yield without_fast_path()
        yield without_recomputation()
        if double:
            yield default_float64()
        if self.weight_norm:
            yield UnfusedWeightNorm()
