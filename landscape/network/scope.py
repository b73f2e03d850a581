"""One module around a model and its loss, inside which any work sees other parameters, and what else that takes.

`torch.func.functional_call` puts tensors into a module for the time of its forward pass. The forward pass of a `Scope`
is whatever work it is given: a model's own forward pass, a loss that looks at the model's parameters, or both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from landscape.choices import Mode

T = TypeVar("T")
MODEL, CRITERION = "model", "criterion"  # names of the parts of a scope


class Scope(nn.Module):
    """A model, and a loss that is a module with parameters of its own if there is one."""

    def __init__(self, model: nn.Module, criterion: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        if criterion is not None:
            self.criterion = criterion

    def forward(self, work: Callable[[], T]) -> T:
        """The result of the work."""
        return work()


def work_within(scope: Scope, state: Mapping[str, Tensor], work: Callable[[], T]) -> T:
    """The result of `work`, during which the scope holds the tensors of `state` wherever it holds those of their names.

    Afterwards it holds its own again. A module that is there under two names is one place: torch's own search for tied
    tensors takes it for two, and would leave a plain tensor behind in the place of the parameter.
    """
    result: T = functional_call(scope, _by_place(scope, state), (work,), tie_weights=False)
    return result


def _by_place(scope: Scope, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` by the name of each place that holds a tensor of theirs, each place once."""
    places = {
        f"{path}.{key}" if path else key: id(tensor)
        for path, module in scope.named_modules()  # each module once
        for held in (module._parameters, module._buffers)
        for key, tensor in held.items()
        if tensor is not None
    }
    if state.keys() - places.keys():  # names by which a module is reached another time
        named = [*scope.named_parameters(remove_duplicate=False), *scope.named_buffers(remove_duplicate=False)]
        ids = {name: id(tensor) for name, tensor in named}
    else:
        ids = places
    given = {ids[name]: tensor for name, tensor in state.items()}
    return {name: given[key] for name, key in places.items() if key in given}


class Resident:
    """A copy of a scope that keeps the tensors that were put into it until others are.

    Modules that run again in the backward pass (adjoint solvers of differential equations, reversible nets, a user's
    own checkpointing) then run with the tensors of their forward pass. Raises what copying the modules raises.
    """

    def __init__(self, scope: Scope, mode: Mode = "eval") -> None:
        tensors = [*scope.parameters(), *scope.buffers()]
        self.scope: Scope = copy.deepcopy(scope, {id(tensor): tensor for tensor in tensors}).eval()
        if mode == "train":
            self.scope.train()
        names = {id(t): n for n, t in [*scope.named_parameters(), *scope.named_buffers()]}
        self._slots: list[tuple[dict[str, Any], str, str]] = [
            (held, key, names[id(tensor)])
            for module in self.scope.modules()
            for held in (module._parameters, module._buffers)
            for key, tensor in held.items()
            if id(tensor) in names
        ]

    def hold(self, state: Mapping[str, Tensor]) -> None:
        """Puts the tensors of these names into every place where the scope has them."""
        for held, key, name in self._slots:
            if name in state:
                held[key] = state[name]


class Substitution(TorchFunctionMode):
    """Within the block every operation of torch takes other tensors in the place of those with the given identities.

    A loss that keeps the parameters of a model, instead of the model, sees the parameters at which it is measured.
    """

    def __init__(self, tensors: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.tensors = tensors

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return function(*self._substitute(args), **self._substitute(kwargs or {}))

    def _substitute(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self.tensors.get(id(tree), tree)
        if type(tree) in (tuple, list):
            return type(tree)(self._substitute(part) for part in tree)
        if type(tree) is dict:
            return {key: self._substitute(part) for key, part in tree.items()}
        return tree
