"""What a module keeps as plain attributes, so that a change from pass to pass can be named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def plain_state(module: nn.Module) -> dict[str, Any]:
    """The numbers, texts and lengths of containers that a module and its parts keep as attributes, by name."""
    return {
        f"{path}.{name}".removeprefix("."): value
        for path, part in module.named_modules()
        for name, attribute in vars(part).items()
        if not name.startswith("_") and name != "training"
        for value in _comparable(attribute)
    }


def changed_attributes(module: nn.Module, before: Mapping[str, Any]) -> list[str]:
    """The names of the attributes that are not as they were in `before`, a `plain_state`."""
    after = plain_state(module)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _comparable(attribute: Any) -> Iterator[Any]:
    """The attribute as a value that can be compared later, or nothing."""
    if isinstance(attribute, bool | int | float | str | type(None)):
        yield attribute
    elif isinstance(attribute, Tensor) and attribute.numel() <= 1:
        yield attribute.detach().clone().tolist()
    elif isinstance(attribute, list | tuple | dict | set) and not isinstance(attribute, nn.Module):
        yield len(attribute)
