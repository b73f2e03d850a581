"""The terms of an objective beside each other: their losses, and how their gradients agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.compute.inner_products import gram
from landscape.losses.terms import TermsLoss
from landscape.objective import Objective


def term_names(objective: Objective) -> tuple[str, ...]:
    """The names of the terms that an objective adds up; none for a loss, and for one term alone."""
    loss = objective.loss
    return loss.names if isinstance(loss, TermsLoss) and loss.term is None else ()


def measure_terms(objective: Objective, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The mean loss, gradient norm and share of each of T terms `(T,)`, and cosines of the gradients `(T, T)`.

    A term's share is (g_t . g) / ||g||^2, with g_t its gradient and g their sum. Weight decay is in none of them.
    Entries are NaN where a gradient is zero.
    """
    plain = objective.variant(decay=None)
    pairs = [plain.with_term(name).value_and_gradient() for name in names]
    found = compare_losses(pairs, np.ones(len(names)))
    return {name if name == "cosine" else f"term_{name}": values for name, values in found.items()}


def compare_losses(pairs: Sequence[tuple[Tensor, Tensor]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Of B losses with their gradients `(P,)`: the loss, gradient norm and share `(B,)`, and the cosines `(B, B)`.

    A share is w (g_b . g) / ||g||^2, with g the sum of the gradients weighted by w `(B,)`. Entries are NaN where a
    gradient is zero.
    """
    gradients = torch.stack([gradient for _, gradient in pairs])
    products = gram(gradients, gradients).cpu().numpy()
    along = products @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = weights * along / (weights @ along)
    return {
        "loss": np.array([float(loss) for loss, _ in pairs]),
        "gradient_norm": np.sqrt(np.diag(products)),
        "share": shares,
        "cosine": cosines(products),
    }


def cosines(products: np.ndarray) -> np.ndarray:
    """The cosines `(B, B)` of vectors with these inner products; NaN where one is zero."""
    norms = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = products / np.outer(norms, norms)
    return found
