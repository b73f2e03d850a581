"""Models that differentiate in forward, or run again in backward."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from strangers.stranger import Problem, bring, classes, cross_entropy_terms, numbers, ragged


def small(inputs: int = 2, width: int = 5, outputs: int = 1, seed: int = 0) -> nn.Sequential:
    """A net with one hidden layer of tanh."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))


class Physics(nn.Module):
    """The residual of a differential equation at points."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.net, self.how = small(), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "plain":
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)
            return slope[:, :1] + 3 * slope[:, 1:]
        if self.how == "twice":
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)
                bends = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)]
            return (bends[0] + bends[1])[:, None]
        if self.how == "func":
            slope = torch.func.grad(lambda points: self.net(points).sum())(x)
            return slope[:, :1] * self.net(x)
        bend = torch.func.vmap(torch.func.hessian(lambda point: self.net(point)[0]))(x)
        return bend.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)


def residual(output: Tensor, target: Tensor) -> Tensor:
    """The mean square of the residual."""
    return ((output - target) ** 2).mean()


def physics(how: str) -> Problem:
    """Points in the unit square."""
    return Physics(how), ragged(numbers(20, 2).sigmoid(), numbers(20, 1, seed=1).sin(), sizes=(8, 8, 4)), residual


@bring("PINN, autograd.grad", "physics-informed nets of first order", clause="C3")
def _() -> Problem:
    return physics("plain")


@bring("PINN, Laplacian", "physics-informed nets of second order", clause="C3")
def _() -> Problem:
    return physics("twice")


@bring("PINN, torch.func.grad", "physics-informed nets in functional style", clause="C3")
def _() -> Problem:
    return physics("func")


@bring("PINN, torch.func.hessian", "Laplacians by vmap over hessian", clause="C3")
def _() -> Problem:
    return physics("hessian")


class Forces(nn.Module):
    """Energies and forces, as a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small(3, 5)

    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            places = places.detach().requires_grad_()
            energy = self.net(places)
            (slope,) = torch.autograd.grad(energy.sum(), places, create_graph=True)
        return energy, -slope


def energies_and_forces(output: Any, target: Any) -> Tensor:
    """Squared errors of both."""
    return ((output[0] - target[0]) ** 2).mean(1) + ((output[1] - target[1]) ** 2).mean(1)


@bring("energies and forces", "interatomic potentials, targets in a tuple", clause="C3")
def _() -> Problem:
    x, energy, force = numbers(18, 3), numbers(18, 1, seed=1), numbers(18, 3, seed=2)
    parts = (slice(0, 7), slice(7, 14), slice(14, 18))
    return Forces(), [(x[part], (energy[part], force[part])) for part in parts], energies_and_forces


class Rays(nn.Module):
    """Colors along rays, from sines and cosines of places (NeRF)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small(12, 4, 2)
        self.register_buffer("waves", math.pi * 2.0 ** torch.arange(2))

    def forward(self, places: Tensor) -> dict[str, Tensor]:
        phase = (places[..., None] * self.waves).flatten(-2)
        density, color = self.net(torch.cat([phase.sin(), phase.cos()], dim=-1)).unbind(-1)
        opaque = 1 - torch.exp(-torch.nn.functional.softplus(density) * 0.3)
        clear = torch.cumprod(torch.cat([torch.ones_like(opaque[:, :1]), 1 - opaque[:, :-1]], dim=1), dim=1)
        return {"rgb": (opaque * clear * color.sigmoid()).sum(1), "depth": clear.sum(1)}


@bring("NeRF", "rays with positional encoding, outputs in a dictionary")
def _() -> Problem:
    def photometric(output: dict[str, Tensor], target: Tensor) -> Tensor:
        return (output["rgb"] - target) ** 2

    return Rays(), ragged(numbers(16, 4, 3), numbers(16, seed=1).sigmoid(), sizes=(6, 6, 4)), photometric


class Adjoint(torch.autograd.Function):
    """Euler steps whose backward pass runs the module again, from the end."""

    @staticmethod
    def forward(context: Any, x: Tensor, field: nn.Module, again: bool, *weights: Tensor) -> Tensor:
        context.field, context.again, context.weights = field, again, weights
        with torch.no_grad():
            steps = [x]
            for _ in range(3):
                steps.append(steps[-1] + 0.3 * field(steps[-1]))
        context.save_for_backward(*steps)
        return steps[-1].clone()

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        slope, steps = slopes[0], context.saved_tensors
        weights = tuple(context.field.parameters())
        sums = [torch.zeros_like(weight) for weight in weights]
        for step in reversed(steps[:-1]):
            with torch.enable_grad():
                place = step.detach().requires_grad_()
                moved = place + 0.3 * context.field(place)
                slope, *parts = torch.autograd.grad(moved, (place, *weights), slope, create_graph=context.again)
            sums = [total + part for total, part in zip(sums, parts, strict=True)]
        return slope, None, None, *sums


class Flow(nn.Module):
    """A classifier of the end of a flow."""

    def __init__(self, again: bool = False) -> None:
        super().__init__()
        self.field, self.again, self.head = small(3, 4, 3), again, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        end = Adjoint.apply(x, self.field, self.again, *self.field.parameters())  # type: ignore[no-untyped-call]
        logits: Tensor = self.head(end)
        return logits


@bring(
    "adjoint ODE",
    "solvers whose backward pass runs the net again",
    clause="C1",
    terms=cross_entropy_terms,
    expect="said",
    derivatives="gradients",
)
def _() -> Problem:
    return Flow(), ragged(*classes(features=3)), "cross_entropy"


class Equilibrium(nn.Module):
    """A fixed point whose backward pass solves for the adjoint in a hook."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mix, self.read, self.head = nn.Linear(4, 4), nn.Linear(3, 4), nn.Linear(4, 3)

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        """One application of the layer."""
        return torch.tanh(0.5 * self.mix(state) + self.read(x))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            state = x.new_zeros(len(x), 4)
            for _ in range(60):
                state = self.step(state, x)
        state = self.step(state, x)
        if torch.is_grad_enabled():
            start = state.clone().detach().requires_grad_()
            image = self.step(start, x)

            def solve(slope: Tensor) -> Tensor:
                total = slope
                for _ in range(40):
                    total = torch.autograd.grad(image, start, total, retain_graph=True)[0] + slope
                return total

            state.register_hook(solve)
        logits: Tensor = self.head(state)
        return logits


@bring(
    "equilibrium",
    "DEQs with an implicit backward pass in a hook",
    clause="C6",
    terms=cross_entropy_terms,
    expect="said",
    derivatives="gradients",
)
def _() -> Problem:
    return Equilibrium(), ragged(*classes(features=3)), "cross_entropy"


class Reversed(torch.autograd.Function):
    """Two coupled halves that are computed again, backwards, from the outputs."""

    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor, block: nn.Module, *weights: Tensor) -> tuple[Tensor, Tensor]:
        context.block = block
        with torch.no_grad():
            c = a + block(b)
        context.save_for_backward(c, b.clone())
        return c, b.clone()

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        _, b = context.saved_tensors
        with torch.enable_grad():
            place = b.detach().requires_grad_()
            moved = context.block(place)
            weights = tuple(context.block.parameters())
            through, *parts = torch.autograd.grad(moved, (place, *weights), slopes[0])
        return slopes[0], slopes[1] + through, None, *parts


class Reversible(nn.Module):
    """A reversible block between a reader and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.read, self.head = small(2, 4, 2, seed=2), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.tanh(self.read(x)).chunk(2, dim=1)
        halves = Reversed.apply(a, b, self.block, *self.block.parameters())  # type: ignore[no-untyped-call]
        logits: Tensor = self.head(torch.cat(halves, dim=1))
        return logits


@bring(
    "reversible net",
    "reversible blocks that compute activations again",
    clause="C1",
    terms=cross_entropy_terms,
    expect="said",
    derivatives="gradients",
)
def _() -> Problem:
    return Reversible(), ragged(*classes()), "cross_entropy"


class Again(torch.autograd.Function):
    """Own checkpointing: runs the module without a graph, and again in backward."""

    @staticmethod
    def forward(context: Any, x: Tensor, block: nn.Module, *weights: Tensor) -> Tensor:
        context.block = block
        context.save_for_backward(x)
        with torch.no_grad():
            out: Tensor = block(x)
        return out

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        (x,) = context.saved_tensors
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            weights = tuple(context.block.parameters())
            first, *parts = torch.autograd.grad(context.block(place), (place, *weights), slopes[0])
        return first, None, *parts


class Checkpointed(nn.Module):
    """A block that is computed again in backward."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.block, self.head, self.how = small(5, 4, 4, seed=3), nn.Linear(4, 3), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "own":
            hidden = Again.apply(x, self.block, *self.block.parameters())  # type: ignore[no-untyped-call]
        elif self.how == "new":
            hidden = checkpoint.checkpoint(self.block, x, use_reentrant=False)
        else:  # the old form needs an input with a gradient
            hidden = checkpoint.checkpoint(self.block, x.detach().requires_grad_(), use_reentrant=True)
        logits: Tensor = self.head(torch.tanh(hidden))
        return logits


@bring(
    "own checkpointing",
    "functions that run a block again in backward",
    clause="C1",
    terms=cross_entropy_terms,
    expect="said",
    derivatives="gradients",
)
def _() -> Problem:
    return Checkpointed("own"), ragged(*classes()), "cross_entropy"


@bring("checkpointed", "torch.utils.checkpoint", clause="C1", terms=cross_entropy_terms)
def _() -> Problem:
    return Checkpointed("new"), ragged(*classes()), "cross_entropy"
