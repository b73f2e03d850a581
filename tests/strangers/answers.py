"""The answer for a stranger, computed in float64 by plain autograd or by differences, without landscape."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from strangers.stranger import Stranger

GRADIENT_STEP = 1e-6  # of central differences of gradients, relative to parameters of size 1
VALUE_STEP = 1e-4  # of second differences of losses


class Answer:
    """The mean loss of a stranger over its batches as given, as a function of its parameters `(P,)`, in float64.

    The parameters are the model's that require gradients, in its own order, and after them those of a loss module.
    """

    def __init__(self, stranger: Stranger) -> None:
        self.stranger = stranger
        self.model, batches, self.loss = stranger.build()
        self.model.double().eval()
        owners = [self.model]
        if isinstance(self.loss, nn.Module):
            owners.append(self.loss.double().eval())
        every = [p for owner in owners for p in owner.parameters() if p.requires_grad]
        self.parameters = list({id(p): p for p in every}.values())  # a loss may hold the model
        if stranger.mean is not None:
            self.batches = [double(batch) for batch in batches]
        else:
            self.batches = [(double(inputs), double(targets)) for inputs, targets in pairs(batches)]

    @cached_property
    def theta(self) -> Tensor:
        """The parameters of the checkpoint, `(P,)`."""
        return flat([p.detach().clone() for p in self.parameters])

    def mean(self) -> Tensor:
        """The mean loss at the parameters that the model has now, with its graph."""
        if self.stranger.mean is not None:
            return self.stranger.mean(self.model, self.batches)
        with sdpa_kernel(SDPBackend.MATH):  # torch's fused kernels have no second derivative
            sums = [self.terms(self.output(inputs), targets) for inputs, targets in self.batches]
        total: Tensor = torch.stack([value for value, _ in sums]).sum()
        return total / sum(count for _, count in sums)

    def output(self, inputs: Any) -> Any:
        """The model's output, of a pass that begins with the checkpoint's buffers."""
        parts = [part for part in self.model.modules() if isinstance(part._buffers, dict)]  # not those of torch.jit
        homes = [(part._buffers, name) for part in parts for name in part._buffers]
        before = [(home, name, home[name]) for home, name in homes]
        for home, name, buffer in before:
            home[name] = None if buffer is None else buffer.clone()
        try:
            if isinstance(inputs, dict):
                return self.model(**inputs)
            return self.model(*inputs) if isinstance(inputs, tuple) else self.model(inputs)
        finally:
            for home, name, buffer in before:
                home[name] = buffer

    def terms(self, output: Any, targets: Any) -> tuple[Tensor, float]:
        """The summed loss of a batch, and how many terms it has."""
        if self.stranger.terms is not None:
            return self.stranger.terms(output, targets)
        value, samples = self.loss(output, targets), len(first_tensor(targets))
        return (value * samples if value.ndim == 0 else value.sum()), samples

    def place(self, theta: Tensor) -> None:
        """Gives the model these parameters."""
        _ = self.theta  # those of the checkpoint are remembered before the first change
        for parameter, part in zip(self.parameters, theta.split([p.numel() for p in self.parameters]), strict=True):
            parameter.data.copy_(part.view(parameter.shape))

    def value(self, theta: Tensor) -> float:
        """L at any parameters."""
        self.place(theta)
        value = float(self.mean().detach())
        self.place(self.theta)
        return value

    def autograd_gradient(self, theta: Tensor) -> Tensor:
        """Autograd's gradient of L at any parameters, `(P,)`."""
        self.place(theta)
        parts = torch.autograd.grad(self.mean(), self.parameters, materialize_grads=True)
        self.place(self.theta)
        return flat(parts)

    def any_gradient(self, theta: Tensor) -> Tensor:
        """The gradient of L: autograd's, or central differences where autograd's is wrong."""
        if self.stranger.derivatives != "values":
            return self.autograd_gradient(theta)
        moves = VALUE_STEP * torch.eye(len(theta), dtype=theta.dtype)
        return torch.tensor(
            [(self.value(theta + move) - self.value(theta - move)) / (2 * VALUE_STEP) for move in moves],
            dtype=theta.dtype,
        )

    @cached_property
    def at_theta(self) -> float:
        """L at the checkpoint."""
        return self.value(self.theta)

    @cached_property
    def gradient(self) -> Tensor:
        """The gradient at the checkpoint, `(P,)`."""
        return self.any_gradient(self.theta)

    @cached_property
    def hessian(self) -> Tensor:
        """The Hessian at the checkpoint, `(P, P)`, symmetrized where differences made it."""
        if self.stranger.derivatives == "autograd":
            return self._second_derivatives()
        step = GRADIENT_STEP if self.stranger.derivatives == "gradients" else 10 * VALUE_STEP
        moves = step * torch.eye(len(self.theta), dtype=self.theta.dtype)
        rows = [
            (self.any_gradient(self.theta + move) - self.any_gradient(self.theta - move)) / (2 * step) for move in moves
        ]
        matrix = torch.stack(rows)
        return (matrix + matrix.T) / 2

    def _second_derivatives(self) -> Tensor:
        gradient = flat(torch.autograd.grad(self.mean(), self.parameters, create_graph=True, materialize_grads=True))
        if gradient.grad_fn is None:
            return torch.zeros(len(gradient), len(gradient), dtype=gradient.dtype)
        unit_vectors = torch.eye(len(gradient), dtype=gradient.dtype)
        try:
            kept = {"retain_graph": True, "materialize_grads": True, "is_grads_batched": True}
            columns = torch.autograd.grad(gradient, self.parameters, unit_vectors, **kept)
            return torch.cat([column.reshape(len(gradient), -1) for column in columns], dim=1)
        except RuntimeError:  # an operation that vmap does not know
            rows = [
                flat(torch.autograd.grad(part, self.parameters, retain_graph=True, materialize_grads=True))
                for part in gradient
            ]
            return torch.stack(rows)

    @cached_property
    def eigenvalues(self) -> Tensor:
        """All eigenvalues of the Hessian, ascending."""
        return torch.linalg.eigvalsh(self.hessian)

    def rise_in_ball(self, rho: float) -> float:
        """The largest rise of L that ascents find in a ball, from both ends of the spectrum and the gradient."""
        shift = max(0.0, -float(self.eigenvalues[0])) * torch.eye(len(self.theta), dtype=self.theta.dtype)
        best = 0.0
        for start in self._starts():
            move = rho * start
            for _ in range(100):
                move = rho * unit(self.gradient + (self.hessian + shift) @ move, move)
            rise = -math.inf
            for _ in range(60):
                before, rise = rise, self.value(self.theta + move) - self.at_theta
                best = max(best, rise)
                if rise - before < 1e-3 * abs(rise):
                    break
                move = rho * unit(self.any_gradient(self.theta + move), move)
        return best

    def gradient_in_ball(self, rho: float) -> float:
        """The largest gradient norm that ascents find in a ball, first of the quadratic model and then of L."""
        best = float(self.gradient.norm())
        for start in self._starts():
            move = rho * start
            for _ in range(100):
                move = rho * unit(self.hessian @ (self.gradient + self.hessian @ move), move)
            size = 0.0
            for _ in range(60):
                gradient = self.any_gradient(self.theta + move)
                before, size = size, float(gradient.norm())
                best = max(best, size)
                if size - before < 1e-3 * size or size == 0:
                    break
                ahead = self.any_gradient(self.theta + move + 1e-5 * gradient / gradient.norm())
                move = rho * unit(ahead - gradient, move)
        return best

    def rounded(self, bits: int) -> Tensor:
        """The parameters on grids of 2^bits - 1 points, symmetric about 0, that span each tensor, `(P,)`."""
        steps, tensors = 2 ** (bits - 1) - 1, self.theta.split([p.numel() for p in self.parameters])
        scales = [part.abs().max() / steps if part.any() else torch.ones(1) for part in tensors]
        return torch.cat([(part / scale).round() * scale for part, scale in zip(tensors, scales, strict=True)])

    @cached_property
    def damping(self) -> float:
        """What makes the Hessian definite, by a third of its largest eigenvalue."""
        return 4 * max(float(self.eigenvalues.abs().max()), 1e-3) / 3

    def regularized_solve(self, vector: Tensor) -> Tensor:
        """(H + damping I)^-1 of a vector, `(P,)`."""
        return torch.linalg.solve(self.hessian + self.damping * torch.eye(len(vector), dtype=vector.dtype), vector)

    def _starts(self) -> list[Tensor]:
        """Unit vectors from which ascents start."""
        values, vectors = torch.linalg.eigh(self.hessian)
        leading = vectors[:, values.abs().argsort(descending=True)[:2]].T
        return [*leading, *-leading, unit(self.gradient, leading[0])]


def unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """The vector at length 1; the other one where it is 0."""
    size = vector.norm()
    return vector / size if size > 0 else otherwise / otherwise.norm()


def flat(parts: Iterable[Tensor]) -> Tensor:
    """The tensors as one vector."""
    return torch.cat([part.to_dense().reshape(-1) for part in parts])


def pairs(batches: Any) -> list[tuple[Any, Any]]:
    """The batches as pairs of inputs and targets."""
    if isinstance(batches, tuple):
        return [batches]
    return [(one, one["labels"]) if isinstance(one, dict) else tuple(one) for one in batches]


def double(tree: Any) -> Any:
    """The tree with its floating tensors in float64."""
    if isinstance(tree, Tensor):
        return tree.double() if tree.is_floating_point() else tree.clone()
    if isinstance(tree, dict):
        return {key: double(part) for key, part in tree.items()}
    return type(tree)(double(part) for part in tree) if isinstance(tree, tuple | list) else tree


def narrow(tree: Any, place: int) -> Any:
    """The tree with one sample of each tensor."""
    if isinstance(tree, Tensor):
        return tree[place : place + 1]
    if isinstance(tree, dict):
        return {key: narrow(part, place) for key, part in tree.items()}
    return type(tree)(narrow(part, place) for part in tree) if isinstance(tree, tuple | list) else tree


def first_tensor(tree: Any) -> Tensor:
    """The first tensor of a tree."""
    while not isinstance(tree, Tensor):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return tree
