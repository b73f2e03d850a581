"""What a module keeps as plain attributes, so that a change from pass to pass can be named, and undone in a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Attribute:
    """An attribute of a module as it was: the object, and what tells whether it changed."""

    value: Any
    mark: Any


def plain_state(module: nn.Module) -> dict[str, Attribute]:
    """The attributes of a module and its parts by name, but for parameters, buffers, and torch's own."""
    return {
        f"{path}.{name}".removeprefix("."): Attribute(value, _mark(value))
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if not name.startswith("_") and name not in ("training", "sparse")
    }


def attribute_changes(module: nn.Module, before: Mapping[str, Attribute]) -> list[str]:
    """The names of the attributes that are not as they were in `before`, a `plain_state`."""
    after = plain_state(module)
    names = {*before, *after}
    return sorted(n for n in names if n not in before or n not in after or before[n].mark != after[n].mark)


def reset_attributes(module: nn.Module, names: Iterable[str], before: Mapping[str, Attribute]) -> None:
    """Gives the attributes of these names the objects that they had in `before`; others than those are removed."""
    for name in names:
        path, _, own = name.rpartition(".")
        part = module.get_submodule(path)
        if name in before:
            setattr(part, own, copy.copy(before[name].value))
        elif own in vars(part):
            delattr(part, own)


def _mark(value: Any) -> Any:
    """What is equal for an attribute that did not change: its value, or its identity with its version or length."""
    if isinstance(value, bool | int | float | str | type(None)):
        return value if value == value else "nan"
    if isinstance(value, Tensor):
        return id(value), value._version
    return (id(value), len(value)) if isinstance(value, list | dict | set) else id(value)
