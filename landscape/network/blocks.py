"""The blocks of a model: the modules that it repeats, such as a transformer's layers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def find_repeated_blocks(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules of the outermost lists and sequences whose modules are of one class and made of other modules.

    None of them is a part of another: a model may hold the same layers in a list and in stages.
    These are the decoder layers of transformers, the encoder layers of torch, and the stages of residual nets.

    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> len(find_repeated_blocks(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)))
    3
    """
    found = tuple(dict.fromkeys(_blocks(model)))
    inside = {id(part) for block in found for part in block.modules() if part is not block}
    return tuple(block for block in found if id(block) not in inside)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.ModuleList | nn.Sequential) and _is_repeated(list(module)):
        yield from module
        return
    for child in module.children():
        yield from _blocks(child)


def _is_repeated(modules: list[nn.Module]) -> bool:
    """Whether there are several modules of one class, which have parts and parameters."""
    if len(modules) < 2 or len({type(module) for module in modules}) > 1:
        return False
    if isinstance(modules[0], nn.ModuleList | nn.ModuleDict):  # containers are not called
        return False
    return all(any(True for _ in module.children()) and any(True for _ in module.parameters()) for module in modules)
