"""Counts what torch computes: operations of matrix products and convolutions, numbers written by the rest, calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class OperationCount(TorchDispatchMode):
    """Counts what is computed while it is active; the counts follow from shapes alone, on the meta device as on others.

    `operations` are those of matrix products and convolutions, a multiplication and an addition being two; `numbers`
    are the entries of the tensors that all other operations write, views left out; `calls` are operations of any kind.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0.0
        self.numbers = self.calls = 0

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        count = flop_registry.get(function._overloadpacket)  # type: ignore[attr-defined]
        if count is not None:
            self.operations += float(count(*args, **(kwargs or {}), out_val=result))
        elif not function.is_view:  # type: ignore[attr-defined]
            self.numbers += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result
