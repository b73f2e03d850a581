"""A model function whose weights lie in parts on the ranks, and are gathered unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from landscape.network.block_recomputation import without_caches
from landscape.network.gathered_units import Passage, gather_units
from landscape.network.scope import work_within
from landscape.network.units import Unit
from landscape.objective.model_function import ModelFunction, Theta

T = TypeVar("T")


@dataclass(frozen=True)
class ShardedFunction(ModelFunction):
    """A module's output as a function of the part of theta that this rank holds, `(length,)`; all ranks call it.

    The parameters of the module have no values: what reads them outside of their module is told so.
    `loose` are parameters outside of the `units`, which are whole while a pass lasts.
    """

    passage: Passage = field(kw_only=True)
    units: tuple[Unit, ...] = field(kw_only=True)
    loose: Unit = field(kw_only=True)

    in_parts: ClassVar[bool] = True

    def device_of(self, theta: Tensor) -> torch.device:
        """Where units run: theta may lie in the memory of the host."""
        del theta
        return self.passage.anchor.device

    @property
    def is_plain(self) -> bool:
        """False: no copy of the module holds theta."""
        return False

    def state(self, theta: Theta, bare: Any = ()) -> dict[str, Tensor]:
        """The buffers by name, with copies of those that a forward pass changes."""
        del theta, bare
        return {name: tensor.clone() if name in self.written else tensor for name, tensor in self.fixed.items()}

    def _within(self, theta: Theta, work: Callable[[], T]) -> T:
        assert isinstance(theta, Tensor)
        passage = self.passage
        passage.theta = theta.detach()
        named: dict[str, Tensor] = {**self.state(theta), **self._whole_loose()}
        state = {self.scope_name(name): tensor for name, tensor in named.items()}
        with ExitStack() as stack:
            for context in self._contexts(named):
                stack.enter_context(context)
            return work_within(self.scope, state, work)

    def _whole_loose(self) -> Mapping[str, Tensor]:
        """The parameters outside of units; measured ones are leaves, where gradients are recorded."""
        if not (self.loose.measured or self.loose.fixed):
            return {}
        whole = dict(zip([*self.loose.measured, *self.loose.fixed], self.passage.weights(self.loose), strict=True))
        leaves = [whole[name].requires_grad_(torch.is_grad_enabled()) for name in self.loose.measured]
        self.passage.leaves = leaves
        return whole

    def _contexts(self, named: Mapping[str, Tensor]) -> Iterator[AbstractContextManager[Any]]:
        """The blocks in which a pass runs."""
        del named
        double = self.passage.theta.dtype == torch.float64
        yield from self.kernels(double)
        yield without_caches(self.module)
        yield gather_units(self.units, lambda: self.kernels(double), self.passage)
