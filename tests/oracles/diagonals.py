"""Diagonals of curvature matrices by torch's functional transforms, sample by sample, and models to take them of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

Loss = Callable[[Tensor, Tensor], Tensor]  # the summed loss of one sample, of its output and target with an axis of 1
Data = tuple[Tensor, Tensor]


def summed_cross_entropy(z: Tensor, t: Tensor) -> Tensor:
    """The summed cross-entropy of logits `(..., C)`."""
    return functional.cross_entropy(z.flatten(0, -2), t.flatten(), reduction="sum")


def summed_squares(z: Tensor, t: Tensor) -> Tensor:
    """The sum of squares."""
    return ((z - t) ** 2).sum()


def output_matrix_diagonal(model: nn.Module, data: Data, matrix_of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """diag sum_n J_n'M_n J_n `(P,)`, float64, with `matrix_of(output, target)` the M `(C, C)` of one flat output."""
    model = model.double().eval()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    inputs = data[0].double() if data[0].is_floating_point() else data[0]
    targets = data[1].double() if data[1].is_floating_point() else data[1]
    total = torch.zeros(sum(p.numel() for p in weights.values()), dtype=torch.float64)
    for one, target in zip(inputs.split(1), targets.split(1), strict=True):
        matrix = matrix_of(functional_call(model, weights, (one,)), target)

        def flat(named: dict[str, Tensor], one: Tensor = one) -> Tensor:
            return functional_call(model, named, (one,)).reshape(-1)

        with sdpa_kernel(SDPBackend.MATH):  # the others cannot be vectorized
            parts = jacrev(flat)(weights)
        jacobian = torch.cat([part.reshape(len(part), -1) for part in parts.values()], dim=1)
        total += (jacobian * (matrix @ jacobian)).sum(dim=0)
    return total.detach()


def ggn_diagonal(model: nn.Module, data: Data, loss: Loss) -> Tensor:
    """diag sum_n J_n'M_n J_n `(P,)`, with M_n the Hessian of a sample's summed loss in its output."""

    def matrix(output: Tensor, target: Tensor) -> Tensor:
        shape = output.shape
        return hessian(lambda z: loss(z.reshape(shape), target))(output.detach().reshape(-1))

    return output_matrix_diagonal(model, data, matrix)


def fisher_diagonal(model: nn.Module, data: Data) -> Tensor:
    """diag sum_n E_y[g g'] `(P,)` for one prediction a sample, y a class drawn by softmax and g the gradient there."""

    def matrix(output: Tensor, target: Tensor) -> Tensor:
        probabilities = output.detach().softmax(-1)[0]
        rows = probabilities - torch.eye(
            len(probabilities), dtype=torch.float64
        )  # by class, the gradient in the logits
        return rows.T @ (probabilities[:, None] * rows)

    return output_matrix_diagonal(model, data, matrix)


class TextNet(nn.Module):
    """Tokens, positions, attention in one tensor, a norm, and a head that is the table again."""

    def __init__(self, *, tied: bool = True) -> None:
        super().__init__()
        self.table, self.positions = nn.Embedding(5, 4), nn.Embedding(6, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.mix = nn.LayerNorm(4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 5, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Logits by token, `(n, T, 5)`."""
        hidden = self.table(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        hidden = hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0]
        logits: Tensor = self.head(self.norm(torch.tanh(self.mix(hidden))))
        return logits
