"""Models whose forward pass takes a dictionary as its only argument, rather than the dictionary's entries by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from landscape.data.batches import Batch
from landscape.data.items import as_batch, as_iterable

NOTE = "the model takes each batch's dictionary as one argument: its forward pass has no parameters of those names"


class AsOneArgument:
    """Data whose dictionaries of inputs a model takes as one argument where it has no parameters of their names.

    After a pass `used` says whether there were such dictionaries.
    """

    def __init__(self, data: Any, model: nn.Module) -> None:
        self.source, self.model = as_iterable(data), model
        self.used = False

    def __iter__(self) -> Iterator[Batch]:
        for item in self.source:
            batch = as_batch(item)
            if isinstance(batch.inputs, dict) and takes_dictionary(self.model, batch.arguments[1]):
                self.used = True
                batch = replace(batch, inputs=(batch.inputs,))
            yield batch


def takes_dictionary(model: nn.Module, inputs: dict[str, Any]) -> bool:
    """Whether the model's forward pass takes the dictionary as one argument, and not its entries by name."""
    return not _bind(model, **inputs) and _bind(model, inputs)


def _bind(model: nn.Module, *args: Any, **kwargs: Any) -> bool:
    """Whether the forward pass can be called with these arguments, by its signature."""
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except (TypeError, ValueError):  # other parameters, or no signature
        return False
    return True
