"""Low-rank adapters on a model: each adapted layer computes W x + scale B A x (Hu et al. 2021, equation 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.checkpoints.adapter_config import BY_HAND, LoraSettings
from landscape.errors import CheckpointError, listing

PREFIX = "base_model.model."  # of every name in a PEFT file
FIRST, SECOND = "lora_A.weight", "lora_B.weight"
TABLE_FIRST, TABLE_SECOND = "lora_embedding_A", "lora_embedding_B"
BASE = "base_layer"
OTHER_BASE = "name the model that it was trained on: --base DIR"
PROMPT = "prompt_embeddings"  # the tensor of a file that teaches tokens before each text
ADAPTER = "default"  # PEFT's name of an adapter, in the names of its own modules


class LowRank(nn.Module):
    """A linear layer, or an embedding, with a low-rank addition; other attributes are those of the layer."""

    def __init__(self, base_layer: nn.Module, first: Tensor, second: Tensor, scale: float, dropout: float) -> None:
        super().__init__()
        self.base_layer, self.scale, self.dropout = base_layer, scale, dropout
        if isinstance(base_layer, nn.Embedding):
            self.lora_embedding_A, self.lora_embedding_B = nn.Parameter(first), nn.Parameter(second)
        else:
            self.lora_A, self.lora_B = _matrix(first), _matrix(second)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the addition."""
        if isinstance(self.base_layer, nn.Embedding):
            added: Tensor = functional.embedding(x, self.lora_embedding_A.T) @ self.lora_embedding_B.T
        else:
            added = self.lora_B(self.lora_A(functional.dropout(x, self.dropout, self.training)))
        out: Tensor = self.base_layer(x) + self.scale * added
        return out

    def __getattr__(self, name: str) -> Any:
        """An attribute of the layer below, where this one has none: models read `weight.dtype`."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__(BASE), name)


def adapter_names(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names, in a model with the adapter on it, of the parameters that are the adapter's."""
    return tuple(_inner(name) for name in tensors if not name.endswith(f".{BASE}.weight"))  # which were not trained


def attach(model: nn.Module, settings: LoraSettings, tensors: Mapping[str, Tensor], where: str) -> None:
    """Puts an adapter on the model, whose layers it replaces; raises CheckpointError for one of another model."""
    left = {
        _inner(name): tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for name, tensor in tensors.items()
    }
    modules = _modules_with_adapters(left)
    if not modules:
        raise CheckpointError(f"{where} holds no low-rank matrices", fix=BY_HAND)
    for module, (first, second) in modules.items():
        if second not in left:
            raise CheckpointError(f"{where} is incomplete: it has no {second}", fix="save the adapter again")
        layer = _fitting_layer(model, module, left[first], left[second], where)
        scale = settings.scale(module, len(left[first]))
        _replace(model, module, LowRank(layer, left.pop(first), left.pop(second), scale, settings.dropout))
    _fill(model, left, where)


def attach_by_name(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """Loads an adapter into a model that PEFT has put it on; returns its names there, which are then trainable.

    Raises CheckpointError if the model has no place for one of its tensors.
    """
    state = model.state_dict()
    named = {name: next((place for place in _places(name) if place in state), None) for name in tensors}
    missing = [name for name, place in named.items() if place is None or state[place].shape != tensors[name].shape]
    if missing:
        raise CheckpointError(f"{where} does not fit the model: it has no place for {listing(missing)}", fix=BY_HAND)
    places = {str(place): tensors[name] for name, place in named.items()}
    model.load_state_dict(places, strict=False)
    return tuple(places)


def _inner(name: str) -> str:
    """The name of a PEFT file's tensor in the model itself."""
    return name.removeprefix(PREFIX)


def _matrix(weight: Tensor) -> nn.Linear:
    """The product with a matrix, as a layer."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    return layer


def _modules_with_adapters(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, str]]:
    """The names of the modules that have low-rank matrices, with the names of these two."""
    pairs: dict[str, tuple[str, str]] = {}
    for first, second in ((FIRST, SECOND), (TABLE_FIRST, TABLE_SECOND)):
        modules = [name.removesuffix(f".{first}") for name in tensors if name.endswith(f".{first}")]
        pairs |= {module: (f"{module}.{first}", f"{module}.{second}") for module in modules}
    return pairs


def _fitting_layer(model: nn.Module, name: str, first: Tensor, second: Tensor, where: str) -> nn.Module:
    """The layer of this name; raises CheckpointError if there is none, or the matrices are not for it."""
    try:
        layer, parent = model.get_submodule(name), model.get_submodule(name.rpartition(".")[0])
    except AttributeError:
        raise CheckpointError(f"{where} does not fit the model: it has no {name}", fix=OTHER_BASE) from None
    kind = type(layer).__name__
    plain = isinstance(layer, nn.Linear) or type(layer) is nn.Embedding or kind == "Conv1D"  # GPT-2's linear layer
    if not plain or isinstance(parent, nn.MultiheadAttention):  # which reads the weights of its layers
        raise CheckpointError(f"{where} adapts {name}, a {kind}, which is no plain linear layer", fix=BY_HAND)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    wide, narrow = weight.shape if isinstance(layer, nn.Linear) else weight.shape[::-1]  # outputs, inputs
    if first.shape[1:] != (narrow,) or second.shape != (wide, len(first)):
        raise CheckpointError(
            f"{where} does not fit the model: {name} is {tuple(weight.shape)}, its matrices "
            f"{tuple(first.shape)} and {tuple(second.shape)}",
            fix=OTHER_BASE,
        )
    return layer


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Puts in the parameters that the adapter's training changed beside its matrices: heads, and biases.

    A parameter that was tied to another one becomes one of its own, as in training.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    missing = [
        name for name, tensor in tensors.items() if name not in parameters or parameters[name].shape != tensor.shape
    ]
    if missing:
        raise CheckpointError(f"{where} does not fit the model: it has no place for {listing(missing)}", fix=OTHER_BASE)
    for name, tensor in tensors.items():
        if f".{BASE}." in name:
            parameters[name].data.copy_(tensor)
        else:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, nn.Parameter(tensor))


def _places(name: str) -> Iterator[str]:
    """The names that PEFT's own modules may have for a tensor of its file."""
    parent, _, last = name.rpartition(".")
    yield from (name, f"{parent}.{ADAPTER}.{last}", f"{name}.{ADAPTER}", f"{name}.{ADAPTER}.weight")
    yield f"{parent}.modules_to_save.{ADAPTER}.{last}"
    if name == PROMPT:  # of prompt, prefix and P-tuning
        yield f"prompt_encoder.{ADAPTER}.embedding.weight"
