"""The answers for influence, sensitivity and the learning coefficient, from a stranger's own computation in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree

from landscape.seeds import normal
from strangers.answers import Answer, flat, narrow

PAIRS = 24  # of opposite draws, of a mean over a posterior


def sample_sums(answer: Answer) -> tuple[Tensor, Tensor]:
    """The gradient of each sample's summed loss `(N, P)`, and how many terms it counts `(N,)`."""
    rows, counts = [], []
    for batch in answer.batches:
        for place in range(1 if answer.stranger.units else len(_first(batch[0]))):
            inputs, targets = batch if answer.stranger.units else narrow(batch, place)
            with sdpa_kernel(SDPBackend.MATH):
                total, count = answer.terms(answer.output(inputs), targets)
            rows.append(flat(torch.autograd.grad(total, answer.parameters, materialize_grads=True)))
            counts.append(float(count))
    return torch.stack(rows), torch.tensor(counts, dtype=torch.float64)


def gauss_newton(answer: Answer) -> Tensor:
    """J'H J over the count, with J the Jacobian of the outputs and H the Hessian of the summed loss in them."""
    size = len(answer.theta)
    matrix, count = torch.zeros(size, size, dtype=torch.float64), 0.0
    for inputs, targets in answer.batches:
        with sdpa_kernel(SDPBackend.MATH):
            parts, tree = _pytree.tree_flatten(answer.output(inputs))
        moving = [place for place, part in enumerate(parts) if isinstance(part, Tensor) and part.requires_grad]
        outputs = [part.detach().requires_grad_() if place in moving else part for place, part in enumerate(parts)]
        total, terms = answer.terms(_pytree.tree_unflatten(outputs, tree), targets)
        leaves = [outputs[place] for place in moving]
        slopes = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
        inner = _rows(torch.cat([part.reshape(-1) for part in slopes]), leaves)
        jacobian = _rows(torch.cat([parts[place].reshape(-1) for place in moving]), answer.parameters)
        matrix, count = matrix + jacobian.T @ inner @ jacobian, count + float(terms)
    return matrix / count


def _rows(vector: Tensor, variables: list[Tensor]) -> Tensor:
    """The derivatives of each entry of a vector; 0 where it has none."""
    if not vector.requires_grad:
        return vector.new_zeros(len(vector), sum(one.numel() for one in variables))
    kept = {"retain_graph": True, "materialize_grads": True}
    return torch.stack([flat(torch.autograd.grad(entry, variables, **kept)) for entry in vector])


def rounding_by_module(answer: Answer, bits: int) -> list[Tensor]:
    """For each module with parameters the change `(P,)` that rounds these to the symmetric grid of the tensor's size.

    Weights are rounded in the precision of the measurement, where they may lie between two points of the grid.
    """
    dtype = getattr(torch, answer.stranger.options.get("dtype", "float32"))
    steps, moves = 2 ** (bits - 1) - 1, {}
    for parameter in answer.parameters:
        weight = parameter.detach().to(dtype)
        scale = weight.abs().max() / steps
        rounded = (weight / scale).round() * scale if scale > 0 else weight
        moves[id(parameter)] = (rounded - weight).double()
    owners = [part for part in (answer.model, answer.loss) if isinstance(part, nn.Module)]
    seen: set[int] = set()
    changes = []
    for module in (module for owner in owners for module in owner.modules()):
        own = {id(p) for p in module.parameters(recurse=False)} & moves.keys() - seen
        seen |= own
        if own:
            changes.append(
                flat([moves[id(p)] if id(p) in own else torch.zeros_like(moves[id(p)]) for p in answer.parameters])
            )
    return changes


def mean_tempered_rise(answer: Answer, nbeta: float, gamma: float) -> tuple[float, float]:
    """The mean of Phi = n beta (L(theta + x) - L(theta)) under exp(-Phi - gamma |x|^2 / 2), with its standard error.

    The posterior of the quadratic model is drawn from, and draws are weighted by the rest of Phi; what that model gives
    is known, so that only the rest leaves an error.
    """
    size, hessian, slope = len(answer.theta), nbeta * answer.hessian, nbeta * answer.gradient
    values, vectors = torch.linalg.eigh(hessian + gamma * torch.eye(size, dtype=torch.float64))
    if not bool(values[0] > gamma / 4):  # the quadratic model has no such posterior: draws of the Gaussian alone
        hessian, slope, values = torch.zeros_like(hessian), torch.zeros_like(slope), torch.full_like(values, gamma)
    center = -(vectors @ ((vectors.T @ slope) / values))
    spread = float((vectors.T @ hessian @ vectors).diagonal() @ (1 / values))
    known = float(slope @ center + center @ hessian @ center / 2) + spread / 2
    weights, rises, models = [], [], []
    for pair in range(PAIRS):
        move = vectors @ (normal(size, answer.theta, 17, "zoo", pair) / values.sqrt())
        for sign in (1, -1):
            x = center + sign * move
            rise = nbeta * (answer.value(answer.theta + x) - answer.at_theta)
            model = float(slope @ x + x @ hessian @ x / 2)
            rises.append(rise), models.append(model), weights.append(model - rise)
    phi, quadratic, weight = (torch.tensor(part, dtype=torch.float64) for part in (rises, models, weights))
    weight = weight.exp()
    mean = float((known + (weight * phi - quadratic).mean()) / weight.mean())
    influences = weight * phi - quadratic - mean * (weight - 1)
    pairs = influences.reshape(PAIRS, 2).mean(dim=1)
    return mean, float(pairs.std() / PAIRS**0.5 / weight.mean())


def _first(tree: object) -> Tensor:
    """The first tensor of a tree."""
    found: Tensor = next(part for part in _pytree.tree_leaves(tree) if isinstance(part, Tensor))
    return found
