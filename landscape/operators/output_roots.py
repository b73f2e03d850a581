"""Square roots of the loss's Hessian in the outputs of single samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.data.trees import leaves, map_tensors
from landscape.evaluation.fisher_labels import hessian_roots
from landscape.operators.gauss_newton import OutputOperator

ZERO = 8  # in units of rounding, of a sample's largest eigenvalue: softmax has a direction without curvature


def output_roots(operator: OutputOperator, output: Any, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Signs `(C, n)`, float64, and for each output C vectors `(C, *shape)`, so that M = sum_c sign_c s_c s_c'.

    M is the operator's matrix on the outputs of each of n samples. Directions in which no sample has curvature are left
    out, the largest curvatures come first.
    """
    loss = operator.objective.loss
    if loss.structure.canonical_link and isinstance(output, Tensor):
        known = torch.stack([*hessian_roots(loss, output.detach(), batch.targets)])
        return known.new_ones(known.shape[:2], dtype=torch.float64), [known]
    detached = map_tensors(lambda leaf: leaf.detach().requires_grad_(leaf.requires_grad), output)
    outputs = [leaf for leaf in leaves(detached) if leaf.requires_grad]
    sizes = [leaf[0].numel() for leaf in outputs]
    entries = sum(sizes)
    with torch.enable_grad():
        multiply = operator.output_product(detached, batch)
        columns = torch.eye(entries, dtype=outputs[0].dtype, device=outputs[0].device).split(sizes, dim=1)  # type: ignore[no-untyped-call]
        units = [
            part[:, None].expand(entries, len(leaf), size).reshape(entries, *leaf.shape)
            for part, leaf, size in zip(columns, outputs, sizes, strict=True)
        ]
        images = multiply(units, 1)
    matrix = torch.cat([image.reshape(entries, batch.size, -1) for image in images], dim=2).transpose(0, 1).double()
    values, vectors = torch.linalg.eigh(((matrix + matrix.mT) / 2).cpu())
    by_size = values.abs().argsort(dim=1, descending=True)
    values, vectors = values.gather(1, by_size), vectors.gather(2, by_size[:, None].expand_as(vectors))
    least = ZERO * torch.finfo(outputs[0].dtype).eps * values[:, :1].abs()
    kept = (values.abs() > least).any(dim=0)
    kept[0] = True
    signs, scaled = values.sign()[:, kept].T, (vectors * values.abs().sqrt()[:, None])[:, :, kept]
    rows = scaled.permute(2, 0, 1).to(outputs[0])
    parts = rows.split(sizes, dim=2)
    return signs.to(matrix.device), [part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, outputs, strict=True)]
