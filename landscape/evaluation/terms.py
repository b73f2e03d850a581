"""The terms of an objective beside each other: their losses, and how their gradients agree."""

from __future__ import annotations

import numpy as np
import torch

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
    gradients = torch.stack([gradient.double() for _, gradient in pairs])
    products = (gradients @ gradients.T).cpu().numpy()
    norms = np.sqrt(np.diag(products))
    whole = products.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = products / np.outer(norms, norms)
        shares = products.sum(axis=1) / whole
    return {
        "term_loss": np.array([float(loss) for loss, _ in pairs]),
        "term_gradient_norm": norms,
        "term_share": shares,
        "cosine": cosines,
    }
