"""One function at many arguments in one pass, where it allows that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.compute import memory


def try_vmap(function: Callable[..., Tensor], *arguments: Any) -> Tensor | None:
    """`function` over the first axis of every argument (`torch.func.vmap`); None if it cannot be vectorized.

    Models whose control flow depends on their data cannot. Running out of memory is not hidden.
    """
    try:
        result: Tensor = torch.func.vmap(function)(*arguments)
        return result
    except Exception as error:  # the user's model may raise anything
        if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
            raise
    return None
