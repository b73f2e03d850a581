"""The linear maps y = W a inside a model: the modules that apply them, and their inputs a, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from landscape.errors import UsageError, listing, suggest
from landscape.network.filters import TRANSPOSED

UNSUPPORTED = (nn.Conv1d, nn.Conv3d, nn.Bilinear, *TRANSPOSED)  # linear maps without rows of inputs here


@dataclass(frozen=True)
class LinearMap:
    """A weight that is used as a matrix `(outputs, inputs)`, and the modules that apply it.

    A convolution applies its matrix to each patch of its input (Grosse and Martens 2016, section 3).
    """

    name: str  # path of the first of the modules
    parameter: str
    modules: tuple[nn.Module, ...]
    outputs: int
    inputs: int

    @property
    def size(self) -> int:
        """The number of entries of the matrix."""
        return self.outputs * self.inputs

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as `(outputs, inputs)`, a view."""
        return weight.T if _transposed(self.modules[0]) else weight.flatten(1)

    def weight(self, matrix: Tensor) -> Tensor:
        """A matrix `(outputs, inputs)` in the weight's own shape."""
        if _transposed(self.modules[0]):
            return matrix.T
        shape: tuple[int, ...] = tuple(self.modules[0].weight.shape)  # type: ignore[arg-type]
        return matrix.reshape(shape)


def input_rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """The vectors to which the matrix is applied, `(samples, rows, inputs)`: those of a sequence, or patches."""
    if not isinstance(module, nn.Conv2d):
        return _rows(inputs)
    images = inputs if inputs.ndim == 4 else inputs[None]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(images, module._reversed_padding_repeated_twice, mode=mode)
    patches = functional.unfold(padded, module.kernel_size, dilation=module.dilation, stride=module.stride)
    return patches.transpose(1, 2)


def output_rows(module: nn.Module, output: Tensor) -> Tensor:
    """Outputs of the module, or gradients in them, as `(samples, rows, outputs)`."""
    if not isinstance(module, nn.Conv2d):
        return _rows(output)
    images = output if output.ndim == 4 else output[None]
    return images.flatten(2).transpose(1, 2)


def linear_maps(model: nn.Module, names: Iterable[str]) -> tuple[list[LinearMap], list[str]]:
    """The linear maps whose weights are among the named parameters, and the paths of the layers that are left out.

    Left out are 1d, 3d, transposed and grouped convolutions, weights that serve as something else too (a head tied to
    an embedding), and weights that are not plain parameters (weight_norm).
    """
    selected = set(names)
    parameters = {id(p): name for name, p in model.named_parameters() if name in selected}
    users: dict[int, list[nn.Module]] = {}
    paths: dict[int, str] = {}
    left_out: list[str] = []
    for path, module in model.named_modules():
        for own in {id(p): p for p in module.parameters(recurse=False)}:
            users.setdefault(own, []).append(module)
        if _linear(module):
            paths.setdefault(id(module), path)
        elif isinstance(module, UNSUPPORTED):
            left_out.append(path)
    maps: dict[int, LinearMap] = {}
    for module in (m for m in model.modules() if _linear(m)):
        weight: Any = module.weight
        key, path = id(weight), paths[id(module)]
        if key in maps:
            continue
        if key not in parameters or not all(_linear(user) for user in users[key]) or getattr(module, "groups", 1) > 1:
            left_out += [path] if key in parameters or not isinstance(weight, nn.Parameter) else []
            continue
        rows, columns = (weight.T if _transposed(module) else weight.flatten(1)).shape
        maps[key] = LinearMap(path, parameters[key], tuple(users[key]), rows, columns)
    return list(maps.values()), left_out


def select_linear_maps(maps: Iterable[LinearMap], globs: Iterable[str], flag: str) -> list[LinearMap]:
    """The maps whose path, or whose parameter's name, matches any of the globs.

    Raises UsageError, which names the `flag`, for a glob that matches nothing.
    """
    layers, selected = list(maps), set[str]()
    for glob in globs:
        hits = {layer.name for layer in layers if fnmatchcase(layer.name, glob) or fnmatchcase(layer.parameter, glob)}
        if not hits:
            names = [layer.name for layer in layers]
            raise UsageError(f"no layer matches {flag} {suggest(glob, names)}", fix=f"a glob over {listing(names, 12)}")
        selected |= hits
    return [layer for layer in layers if layer.name in selected]


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d) or _transposed(module)


def _transposed(module: nn.Module) -> bool:
    """Whether the module is GPT-2's Conv1D, a linear layer whose weight is (inputs, outputs)."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def _rows(tensor: Tensor) -> Tensor:
    return tensor[:, None] if tensor.ndim == 2 else tensor.flatten(1, -2) if tensor.ndim > 2 else tensor[None, None]
