"""Groups of units that may be permuted among each other without changing the function that a net computes.

The model is traced (torch.fx), and every channel of a layer's output is followed to the layers that read it. Channels
that are added to each other are one unit. Units with entries in the same tensors and axes may be permuted among each
other (Ainsworth et al. 2023, appendix A, where the groups are written by hand for each net).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.network.wrappers import first_names

Units = list[int]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d,
)  # fmt: skip
CHANNELWISE = {
    "relu", "relu_", "relu6", "leaky_relu", "gelu", "silu", "mish", "elu", "selu", "tanh", "sigmoid", "softplus",
    "hardswish", "hardtanh", "dropout", "contiguous", "clone", "float", "double", "to", "neg", "abs", "square",
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
}  # fmt: skip
ELEMENTWISE_PAIRS = {"add", "iadd", "add_", "sub", "isub", "mul", "imul", "truediv"}


@dataclass(frozen=True)
class PermutationGroup:
    """Units that may be permuted; for each place (tensor name, axis) the positions of each unit `(units, places)`."""

    places: Mapping[tuple[str, int], Tensor]

    @property
    def size(self) -> int:
        """The number of units."""
        return len(next(iter(self.places.values())))


@dataclass(frozen=True)
class _Channels:
    """The units along one axis of a value."""

    axis: int
    units: Units


@dataclass
class _UnitTable:
    """Which units are the same one (union-find), and the axes of tensors, by their first names, that hold them."""

    names: Mapping[str, str]
    parents: list[int] = field(default_factory=list)
    places: dict[tuple[str, int], Units] = field(default_factory=dict)

    def new(self, count: int) -> Units:
        """New units."""
        first = len(self.parents)
        self.parents += range(first, first + count)
        return list(range(first, first + count))

    def root(self, unit: int) -> int:
        """The unit that stands for all that are the same as `unit`."""
        while self.parents[unit] != unit:
            unit = self.parents[unit] = self.parents[self.parents[unit]]
        return unit

    def join(self, left: Units, right: Units) -> Units:
        """Makes the units of two sequences the same, one by one; returns the first sequence."""
        for a, b in zip(left, right, strict=True):
            a, b = sorted((self.root(a), self.root(b)))
            self.parents[b] = a
        return left

    def record(self, name: str, axis: int, units: Units) -> None:
        """Records that the axis of a tensor holds these units; units of a tensor that is used twice are the same."""
        if name not in self.names:
            raise _not_traceable(f"{name}, which is computed from others")
        self.join(self.places.setdefault((self.names[name], axis), units), units)


FIXED = 0  # the unit that stands for all channels that may not be permuted: inputs and outputs of the net


def permutation_groups(model: nn.Module, batch: Batch) -> tuple[PermutationGroup, ...]:
    """Groups of interchangeable units, in the order in which the forward pass reaches them.

    Raises UsageError if the model cannot be traced on the batch, or holds an operation that mixes channels in an
    unknown way.
    """
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:  # whatever the user's forward does with a proxy
        raise UsageError(
            f"--align cannot follow the model: {type(error).__name__}: {str(error).splitlines()[0]}",
            why="its forward pass branches on data, or is none that torch.fx can trace",
            fix="leave --align out",
        ) from error
    args, kwargs = batch.arguments
    if kwargs:
        raise UsageError("--align follows models of positional inputs", fix="leave --align out")
    table = _UnitTable(first_names(model))
    table.new(1)
    try:
        with torch.no_grad():
            _ChannelTracer(traced, table).run(*args)
    except UsageError:
        raise
    except Exception as error:  # the traced program may raise anything
        raise _not_traceable(
            f"the model ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error
    return _permutation_groups(table)


def _permutation_groups(table: _UnitTable) -> tuple[PermutationGroup, ...]:
    fixed = table.root(FIXED)
    positions_of: dict[int, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, units in table.places.items():
        for position, unit in enumerate(units):
            if (root := table.root(unit)) != fixed:
                positions_of[root][place].append(position)
    by_signature: dict[Any, list[dict[tuple[str, int], list[int]]]] = defaultdict(list)
    for places in positions_of.values():
        by_signature[tuple((place, len(positions)) for place, positions in places.items())].append(places)
    return tuple(
        PermutationGroup({place: torch.tensor([unit[place] for unit in units]) for place, _ in signature})
        for signature, units in by_signature.items()
        if len(units) > 1
    )


class _ChannelTracer(fx.Interpreter):
    """Runs the traced model once and labels every value with its channels."""

    def __init__(self, traced: fx.GraphModule, table: _UnitTable) -> None:
        super().__init__(traced)
        self.table = table
        self.channels: dict[fx.Node, _Channels | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Runs one operation of the traced model and records the channels of its result."""
        value = super().run_node(n)
        self.channels[n] = self._follow(n, value)
        return value

    def _follow(self, node: fx.Node, value: Any) -> _Channels | None:
        if node.op == "placeholder":
            fixed = isinstance(value, Tensor) and value.ndim > 1
            return _Channels(1, [FIXED] * value.shape[1]) if fixed else None
        if node.op == "output":
            self._fix(self.channels[source] for source in node.all_input_nodes)
            return None
        inputs = [self.channels[source] for source in node.all_input_nodes]
        if not any(inputs):
            self._require_no_parameter(node, value)
            return None
        if node.op == "call_module":
            return self._module(str(node.target), self.fetch_attr(str(node.target)), inputs[0], value)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return self._function(name, node, inputs, value)

    def _require_no_parameter(self, node: fx.Node, value: Any) -> None:
        """Raises UsageError for a parameter that is used outside a layer: no rule tells how to permute it."""
        if node.op == "get_attr" and isinstance(value, Tensor) and value.numel() > 1:
            raise _not_traceable(f"the tensor {node.target}")

    def _fix(self, channels: Iterable[_Channels | None]) -> None:
        for channel in channels:
            if channel is not None:
                self.table.join([FIXED] * len(channel.units), channel.units)

    def _module(self, path: str, module: Any, inside: _Channels | None, value: Any) -> _Channels | None:
        if inside is None:
            raise _not_traceable(f"{path}, a {type(module).__name__}")
        if isinstance(module, ELEMENTWISE + POOLS) or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            return inside
        if isinstance(module, nn.Flatten):
            return self._flatten(inside, value)
        if isinstance(module, NORMS):
            for name, _ in [*module.named_parameters(), *module.named_buffers()]:
                if name != "num_batches_tracked":
                    self.table.record(f"{path}.{name}", 0, inside.units)
            return inside
        if isinstance(module, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)):
            return self._layer(path, module, inside, value)
        raise _not_traceable(f"{path}, a {type(module).__name__}")

    def _layer(self, path: str, module: Any, inside: _Channels, value: Any) -> _Channels:
        dense = isinstance(module, nn.Linear)
        axis = value.ndim - 1 if dense else 1
        grouped = getattr(module, "groups", 1)
        depthwise = grouped > 1 and grouped == module.in_channels == module.out_channels
        if inside.axis != axis or (grouped > 1 and not depthwise):
            raise _not_traceable(f"{path}, a {type(module).__name__} with groups or on other axes")
        outside = inside.units if depthwise else self.table.new(value.shape[axis])
        into, out = (0, 1) if isinstance(module, TRANSPOSED) else (1, 0)
        if not depthwise:
            self.table.record(f"{path}.weight", into, inside.units)
        self.table.record(f"{path}.weight", out if not depthwise else 0, outside)
        if module.bias is not None:
            self.table.record(f"{path}.bias", 0, outside)
        return _Channels(axis, outside)

    def _function(self, name: str, node: fx.Node, inputs: list[_Channels | None], value: Any) -> _Channels | None:
        first = inputs[0]
        if name in ELEMENTWISE_PAIRS:
            return self._add(inputs)
        if not isinstance(value, Tensor):
            return None  # a size
        if name in ("cat", "concat"):
            return self._concatenate(node)
        if first is None:
            raise _not_traceable(name)
        if name == "pad":
            return self._pad(first, value)
        if name in ("flatten", "view", "reshape"):
            return self._flatten(first, value)
        if name in CHANNELWISE or (name in ("getitem", "mean", "amax") and _keeps(first, value)):
            return _Channels(first.axis, first.units)
        raise _not_traceable(name)

    def _add(self, inputs: list[_Channels | None]) -> _Channels:
        terms = [channels for channels in inputs if channels is not None]
        for other in terms[1:]:
            if other.axis != terms[0].axis or len(other.units) != len(terms[0].units):
                raise _not_traceable("a sum over differing axes")
            self.table.join(terms[0].units, other.units)
        return terms[0]

    def _concatenate(self, node: fx.Node) -> _Channels:
        """The channels of all parts one after another; a part may occur twice."""
        tensors: Any = node.kwargs.get("tensors", node.args[0] if node.args else ())
        parts = [self.channels.get(source) for source in tensors]
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        followed = [part for part in parts if part is not None]
        if len(followed) < len(parts) or any(part.axis != dim for part in followed):
            raise _not_traceable("a concatenation along another axis")
        return _Channels(followed[0].axis, [unit for part in followed for unit in part.units])

    def _pad(self, inside: _Channels, value: Tensor) -> _Channels:
        """Channels of zeros are new units; they are assumed to stand at the end."""
        more = value.shape[inside.axis] - len(inside.units)
        return _Channels(inside.axis, [*inside.units, *self.table.new(more)])

    def _flatten(self, inside: _Channels, value: Tensor) -> _Channels:
        """Every channel becomes as many neighboring features as it had positions."""
        length, units = value.shape[-1], inside.units
        if value.ndim != 2 or inside.axis != 1 or length % len(units):
            raise _not_traceable("a change of shape")
        return _Channels(1, [unit for unit in units for _ in range(length // len(units))])


def _keeps(channels: _Channels, value: Tensor) -> bool:
    """Whether the axis of the channels is still there with its length."""
    return value.ndim > channels.axis and value.shape[channels.axis] == len(channels.units)


def _not_traceable(operation: str) -> UsageError:
    return UsageError(
        f"--align cannot follow units through {operation}",
        why="it knows linear layers, convolutions, BatchNorm, pooling, sums and element-wise functions",
        fix="leave --align out",
    )
