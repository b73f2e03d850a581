"""One function at many arguments in one pass (`torch.func.vmap`), where the function allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory


def try_vmap(function: Callable[..., Tensor], *arguments: Any) -> Tensor | None:
    """`function` over the first axis of every argument (`torch.func.vmap`); None if it cannot be vectorized.

    A model whose control flow depends on its data cannot be vectorized. An error of memory is raised.
    """
    try:
        result: Tensor = torch.func.vmap(function)(*arguments)
        return result
    except Exception as error:  # the user's model may raise anything
        if is_out_of_memory(error):
            raise
    return None
