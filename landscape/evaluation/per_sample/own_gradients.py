"""The gradients of single samples in each parameter, from the inputs and outputs of the modules that hold them.

For K scalars at once: the squares of the samples' gradients, as a whole or entry by entry, in closed form where there
is one, and the sum of the gradients over samples, which must be what a backward pass gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from landscape.evaluation.layers.layer_io import LayerCall
from landscape.evaluation.per_sample.entry_squares import (
    EntrySquares,
    add_samples,
    outer_entry_squares,
    row_squares,
    table_entry_squares,
)
from landscape.network.linear_maps import LinearMap, linear_maps
from landscape.objective import Objective
from landscape.objective.model_function import ModelFunction

CHUNK_BYTES = 64 << 20  # of gradients of samples in memory at once
OUTER_BYTES = 1 << 20  # of matrices of samples at once, for which there is room in a cache: twice as fast as 64 MB


class Gradients(NamedTuple):
    """By parameter: |g|^2 of each scalar and sample, `(K, n)` float64, and the sum of g of the first scalar."""

    squares: dict[str, Tensor]
    totals: dict[str, Tensor]


class GradientEntries(NamedTuple):
    """By parameter: the squares of the entries of the samples' gradients, and the sum of g of the first scalar."""

    entries: dict[str, EntrySquares]
    totals: dict[str, Tensor]


class OwnGradients(Protocol):
    """Parameters whose gradients follow from the calls of some modules."""

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules whose calls are needed."""

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters."""

    def evaluate(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> Gradients:
        """The gradients of n samples; `gradients` holds, for each call, those of K scalars in its output."""

    def evaluate_entries(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int, signs: Tensor | None
    ) -> GradientEntries:
        """The squares of their entries, with the signs `(K, n)` of a sum, or None for K draws."""


@dataclass(frozen=True)
class LinearGradients:
    """The weight of linear layers and convolutions, and their biases by module."""

    layer: LinearMap
    biases: Mapping[nn.Module, str]

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The modules that apply the weight."""
        return self.layer.modules

    @property
    def parameters(self) -> frozenset[str]:
        """The weight and the biases."""
        return frozenset((self.layer.parameter, *self.biases.values()))

    def evaluate(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> Gradients:
        """||sum_t g_t a_t'||^2 over a sample's rows t for the weight, |sum_t g_t|^2 for a bias."""
        a, g, biases = self._rows(calls, gradients, samples)
        squares = {name: _squares(each) for name, each in biases.items()}
        squares[self.layer.parameter] = outer_squares(a, g)
        return Gradients(squares, self._totals(a, g, biases))

    def evaluate_entries(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int, signs: Tensor | None
    ) -> GradientEntries:
        """(sum_t g_t a_t')^2 and (sum_t g_t)^2, entry by entry."""
        a, g, biases = self._rows(calls, gradients, samples)
        entries = {name: row_squares(each, signs) for name, each in biases.items()}
        whole = outer_entry_squares(a, g, signs)
        variances = None if whole.variances is None else self.layer.weight(whole.variances)
        entries[self.layer.parameter] = EntrySquares(self.layer.weight(whole.sums), variances, whole.squares)
        return GradientEntries(entries, self._totals(a, g, biases))

    def _rows(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The inputs `(n, T, q)`, the gradients `(K, n, T, p)`, and by bias each sample's gradient `(K, n, p)`."""
        inputs = [call.rows.reshape(samples, -1, self.layer.inputs) for call in calls]
        rows = [
            vmap(call.gradient_rows)(part).reshape(len(part), samples, -1, self.layer.outputs)
            for call, part in zip(calls, gradients, strict=True)
        ]
        biases = {}
        for module, name in self.biases.items():
            sums = [part.sum(dim=2) for call, part in zip(calls, rows, strict=True) if call.module is module]
            if sums:
                biases[name] = sums[0] if len(sums) == 1 else torch.stack(sums).sum(dim=0)
        a, g = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2) for parts in (inputs, rows))
        return a, g, biases

    def _totals(self, a: Tensor, g: Tensor, biases: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sums over samples of the gradients of the first scalar."""
        total = g[0].flatten(0, 1).T @ a.flatten(0, 1)
        return {n: each[0].sum(dim=0) for n, each in biases.items()} | {self.layer.parameter: self.layer.weight(total)}


@dataclass(frozen=True)
class EmbeddingGradients:
    """The table of an embedding: two tokens of a sample share a row where they are the same."""

    module: nn.Embedding
    name: str

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The embedding."""
        return (self.module,)

    @property
    def parameters(self) -> frozenset[str]:
        """The table."""
        return frozenset((self.name,))

    def evaluate(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> Gradients:
        """The sum of g_t'g_s over the pairs of a sample's tokens that are the same."""
        tokens, g = self._rows(calls, gradients, samples)
        same = (tokens[:, :, None] == tokens[:, None]).to(g.dtype)
        squares = torch.stack([((each @ each.mT) * same).sum(dim=(1, 2), dtype=torch.float64) for each in g])
        return Gradients({self.name: squares}, self._totals(tokens, g))

    def evaluate_entries(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int, signs: Tensor | None
    ) -> GradientEntries:
        """The squares of the sums of g_t over a sample's places with the same token."""
        tokens, g = self._rows(calls, gradients, samples)
        entries = table_entry_squares(tokens, g, len(self.module.weight), signs)
        return GradientEntries({self.name: entries}, self._totals(tokens, g))

    def _rows(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> tuple[Tensor, Tensor]:
        """The tokens `(n, T)` and the gradients in their rows `(K, n, T, d)`, 0 for padding."""
        inputs, rows = [], []
        for call, part in zip(calls, gradients, strict=True):
            ids, flows = (call.input.T, part.transpose(1, 2)) if call.axis == 1 else (call.input, part)
            inputs.append(ids.reshape(samples, -1))
            rows.append(flows.reshape(len(part), samples, -1, part.shape[-1]))
        tokens, g = torch.cat(inputs, dim=1), torch.cat(rows, dim=2)
        if self.module.padding_idx is not None:
            g = g * (tokens != self.module.padding_idx)[..., None]
        return tokens, g

    def _totals(self, tokens: Tensor, g: Tensor) -> dict[str, Tensor]:
        """The sum over samples of the gradients of the first scalar."""
        zeros = g.new_zeros(self.module.weight.shape)
        return {self.name: zeros.index_add_(0, tokens.flatten(), g[0].flatten(0, 1))}


@dataclass(frozen=True)
class ModuleGradients:
    """The parameters of a module of any kind, such as a normalization: each sample's gradient is computed."""

    module: nn.Module
    names: Mapping[str, str]  # of each parameter, by its name in the module
    state: Mapping[str, Tensor]  # every tensor of the module, by its name there
    function: ModelFunction

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The module."""
        return (self.module,)

    @property
    def parameters(self) -> frozenset[str]:
        """Its own parameters."""
        return frozenset(self.names.values())

    def evaluate(self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int) -> Gradients:
        """The squares and sums of gradients, by as many samples as fit."""
        squares: dict[str, list[Tensor]] = {name: [] for name in self.names.values()}
        sums: dict[str, list[Tensor]] = {name: [] for name in self.names.values()}
        for parts in self._pieces(calls, gradients, samples):
            for own, name in self.names.items():
                flat = parts[own].flatten(2) if parts[own].ndim > 2 else parts[own][..., None]
                squares[name].append(_squares(flat))
                sums[name].append(parts[own][0].sum(dim=0))
        return Gradients(
            {name: torch.cat(each, dim=1) for name, each in squares.items()},
            {name: torch.stack(each).sum(dim=0) for name, each in sums.items()},
        )

    def evaluate_entries(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int, signs: Tensor | None
    ) -> GradientEntries:
        """The squares of the entries of the gradients, and their sums, by as many samples as fit."""
        parts: dict[str, list[EntrySquares]] = {name: [] for name in self.names.values()}
        sums: dict[str, list[Tensor]] = {name: [] for name in self.names.values()}
        first = 0
        for rows in self._pieces(calls, gradients, samples):
            piece = slice(first, first + next(iter(rows.values())).shape[1])
            for own, name in self.names.items():
                parts[name].append(row_squares(rows[own], None if signs is None else signs[:, piece]))
                sums[name].append(rows[own][0].sum(dim=0))
            first = piece.stop
        entries = {name: add_samples(each) for name, each in parts.items()}
        return GradientEntries(entries, {name: torch.stack(each).sum(dim=0) for name, each in sums.items()})

    def _pieces(
        self, calls: Sequence[LayerCall], gradients: Sequence[Tensor], samples: int
    ) -> Iterator[dict[str, Tensor]]:
        """By parameter, the gradients of some samples after others, `(K, m, *shape)`."""
        size = len(gradients[0]) * sum(self.state[own].nbytes for own in self.names)
        step = max(1, CHUNK_BYTES // max(size, 1))
        for first in range(0, samples, step):
            piece = slice(first, first + step)
            every = [self._of_call(*pair, samples, piece) for pair in zip(calls, gradients, strict=True)]
            yield {own: torch.stack([one[own] for one in every]).sum(dim=0) for own in self.names}

    def _of_call(self, call: LayerCall, gradients: Tensor, samples: int, piece: slice) -> dict[str, Tensor]:
        """By parameter, the gradients of what flows into the output of one call, `(K, m, *shape)`."""
        weights = {own: self.state[own] for own in self.names}

        def of_sample(inputs: Tensor, flow: Tensor) -> dict[str, Tensor]:
            """J'v of one sample, whose input still has an axis of samples."""

            def run(named: dict[str, Tensor]) -> Tensor:
                """The module's output."""
                output: Tensor = functional_call(self.module, {**self.state, **named}, (inputs,))
                return output

            parts: dict[str, Tensor] = vjp(run, weights)[1](flow)[0]
            return parts

        axis = call.axis or 0
        with ExitStack() as stack:
            for context in self.function.kernels(gradients.dtype == torch.float64):
                stack.enter_context(context)
            stack.enter_context(torch.enable_grad())
            inputs = _samples_apart(call.input, axis, samples)[piece]
            flows = vmap(lambda flow: _samples_apart(flow, axis, samples)[piece])(gradients)
            found: dict[str, Tensor] = vmap(vmap(of_sample), in_dims=(None, 0))(inputs, flows)
        return found


def outer_squares(inputs: Tensor, gradients: Tensor) -> Tensor:
    """||sum_t g_t a_t'||^2 for inputs `(n, T, q)` and gradients `(K, n, T, p)`, by the cheapest of three formulas.

    Shape `(K, n)`, float64.
    """
    scalars, tokens, q, p = len(gradients), inputs.shape[1], inputs.shape[2], gradients.shape[3]
    if tokens == 1:
        return _squares(inputs[:, 0]) * _squares(gradients[:, :, 0])
    by_pairs = tokens * (p + q / scalars) < p * q
    size = (tokens**2 if by_pairs else p * q) * inputs.itemsize * scalars
    step = max(1, OUTER_BYTES // max(size, 1))
    parts = []
    for first in range(0, len(inputs), step):
        a, g = inputs[first : first + step], gradients[:, first : first + step]
        if by_pairs:
            parts.append((g @ g.mT).mul_(a @ a.mT).sum(dim=(2, 3), dtype=torch.float64))
        else:
            parts.append(_squares((g.mT @ a).flatten(2)))
    return torch.cat(parts, dim=1)


def find_gradients(objective: Objective) -> list[OwnGradients]:
    """The parameters whose gradients follow from calls of modules, by kind of module.

    Left out are those that several modules hold, but for a weight that linear layers share, and those of modules that
    hold others, or that take or return anything but one tensor.
    """
    model, selected = objective.model, set(objective.space.names)
    names = {id(parameter): name for name, parameter in model.named_parameters() if name in selected}
    holders: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for key in {id(parameter) for parameter in module.parameters(recurse=False)}:
            holders.setdefault(key, []).append(module)

    def own(module: nn.Module) -> dict[str, str]:
        """The names of the parameters that this module alone holds, by their names in the module."""
        return {
            local: names[id(parameter)]
            for local, parameter in module.named_parameters(recurse=False)
            if id(parameter) in names and len(holders[id(parameter)]) == 1
        }

    maps, _ = linear_maps(model, selected)
    found: list[OwnGradients] = [
        LinearGradients(layer, {m: name for m in layer.modules if (name := own(m).get("bias"))}) for layer in maps
    ]
    linear = {module for layer in maps for module in layer.modules}
    others = [m for m in model.modules() if m not in linear and own(m) and not any(c for c in m.children())]
    state, paths = objective.function.state(objective.theta), {m: path for path, m in model.named_modules()}
    for module in _of_one_tensor(objective, others):
        if type(module) is nn.Embedding:
            found.append(EmbeddingGradients(module, own(module)["weight"]))
            continue
        path = f"{paths[module]}." if paths[module] else ""
        held = {n.removeprefix(path): t.detach() for n, t in state.items() if n.startswith(path)}
        found.append(ModuleGradients(module, own(module), held, objective.function))
    return found


def _of_one_tensor(objective: Objective, modules: Sequence[nn.Module]) -> list[nn.Module]:
    """The modules that the model calls on the first sample, each time with one tensor, and that return one."""
    calls: dict[nn.Module, list[bool]] = {}

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Looks at the arguments of a call."""
        one = len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and isinstance(output, Tensor)
        calls.setdefault(module, []).append(one)

    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in modules]
    try:
        with torch.no_grad():
            objective.batch_output(objective.theta, next(iter(objective.first(1).batches)))
    finally:
        for handle in handles:
            handle.remove()
    return [module for module in modules if all(calls.get(module, [False]))]


def _samples_apart(tensor: Tensor, axis: int, samples: int) -> Tensor:
    """A tensor with an axis of samples in front, in which each sample still has an axis of length 1, or of its rows."""
    if axis == 1:
        return tensor.transpose(0, 1)[:, :, None]
    return tensor.reshape(samples, -1, *tensor.shape[1:])


def _squares(rows: Tensor) -> Tensor:
    """The sums of squares along the last axis, float64."""
    squares: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64).square()
    return squares
