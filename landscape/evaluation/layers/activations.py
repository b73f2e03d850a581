"""How the energy of layers' inputs spreads over directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.evaluation.layers.layer_io import LayerCapture
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective


def activation_energies(
    objective: Objective, layers: Sequence[LinearMap], vectors: Callable[[LinearMap], Tensor], parts: int
) -> Tensor:
    """Sums of (v'a)^2 over scored tokens, in equal parts of each layer's directions, `(layers, parts)`, float64.

    `vectors` returns a layer's orthonormal columns `(q, q)`; only one layer's are held at a time.
    """
    capture = LayerCapture(objective, layers)

    def kernel(batch: Batch) -> Tensor:
        """The energies of one batch's scored inputs along all bases."""
        energies = [
            (rows @ vectors(layer).to(rows)).double().square().sum(dim=0)
            for rows, layer in zip(capture.run(batch).scored_inputs(), layers, strict=True)
        ]
        return torch.stack([_sums_of_parts(one, parts) for one in energies])

    return objective.accumulate(kernel)


def _sums_of_parts(energy: Tensor, parts: int) -> Tensor:
    ends = [len(energy) * part // parts for part in range(parts + 1)]
    return torch.stack([energy[begin:end].sum() for begin, end in pairwise(ends)])
