"""Squares of single samples' gradients between eigenbases of each layer: the eigenvalues of EK-FAC.

For a layer's gradient D of one sample and the eigenbases U and V of its Kronecker factors, the diagonal of the
curvature in that basis is the sum over samples and labels of (U' D V)^2, entry by entry (George et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.layer_io import LayerCall, LayerCapture
from landscape.evaluation.per_sample.entry_squares import outer_entry_squares
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective


class LayerBases(NamedTuple):
    """Eigenvectors in columns: `left` `(p, p)`, and `right` `(q, q)`, or `(q + 1, q + 1)` if the layer has a bias."""

    left: Tensor
    right: Tensor


def eigenbasis_squares(
    objective: Objective, layers: Sequence[LinearMap], bases: Sequence[LayerBases], settings: FactorSettings
) -> list[Tensor]:
    """The mean over loss terms of (U' D V)^2 of each layer, `(p, q)` as its bases are, float64, in one pass.

    Raises TaskError for a layer whose rows cannot be assigned to samples.
    """
    capture = LayerCapture(objective, layers)
    passes = fisher_labels.backward_passes(objective, settings.labels, settings.draws)

    def kernel(batch: Batch) -> tuple[Tensor, ...]:
        """The sums of squares of one batch, by layer."""
        forward = capture.run(batch)
        inputs = [_rotate_inputs(calls, batch.size, one.right) for calls, one in zip(forward.calls, bases, strict=True)]
        sums = [
            torch.zeros(len(one.left), len(one.right), dtype=torch.float64, device=objective.device) for one in bases
        ]
        totals = fisher_labels.scalars(objective, forward.output, batch, settings.labels, settings.draws, settings.seed)
        for number, total in enumerate(totals):
            gradients = forward.gradients(total, keep_graph=number + 1 < passes)
            for place, (rows, parts) in enumerate(zip(inputs, gradients, strict=True)):
                if rows is not None:
                    flows = torch.cat([_by_sample(part, batch.size) for part in parts], dim=1) @ bases[place].left.to(
                        rows
                    )
                    signs = torch.ones((1, batch.size), dtype=rows.dtype, device=rows.device)
                    sums[place] += outer_entry_squares(rows, flows[None], signs).sums
        return tuple(sums)

    return [total / objective.count for total in objective.sums(kernel)]


def _rotate_inputs(calls: Sequence[LayerCall], samples: int, right: Tensor) -> Tensor | None:
    """V'a for the inputs a of each sample, `(samples, T, q)`, with a one behind each a if V has a row for it."""
    if not calls:
        return None
    rows = torch.cat([_by_sample(call.rows, samples, call.axis) for call in calls], dim=1)
    if len(right) > rows.shape[2]:
        rows = torch.cat([rows, torch.ones_like(rows[..., :1])], dim=2)
    return rows @ right.to(rows)


def _by_sample(rows: Tensor, samples: int, axis: int | None = 0) -> Tensor:
    """Rows `(samples, T, k)`, also of a model that folds tokens into the first axis."""
    if len(rows) % samples or axis is None:
        raise TaskError(
            f"a layer has {len(rows)} rows for {samples} samples: which row belongs to which sample is not known",
            fix="--inverse cg --no-precondition",
        )
    return rows.reshape(samples, -1, rows.shape[-1])
