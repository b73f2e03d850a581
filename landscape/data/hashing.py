"""The sha256 of samples, whatever batches they come in: tensors, words and numbers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.data.batches import Batch, batch_tensors
from landscape.data.trees import VALUES, dense_parts, is_column, leaf_nodes
from landscape.errors import TaskError


class SampleHasher:
    """The sha256 of samples, tensor by tensor, which does not depend on where batches end; of units, batch by batch."""

    def __init__(self) -> None:
        self.samples = 0
        self._leaves: list[tuple[str, Any]] = []
        self._shapes: list[torch.Size] = []
        self._columns: dict[int, Any] = {}  # the digests of lists with one word or number for each row
        self._values: list[bytes] = []

    def update(self, batch: Batch) -> None:
        """Adds the samples of a batch; raises TaskError if its tensors are not of the earlier batches' dtypes."""
        self.samples += batch.size
        if batch.unit:
            self._update_with_unit(batch)
            return
        tensors = list(batch_tensors(batch))
        kinds = [str(tensor.dtype) for tensor in tensors]
        self._leaves = self._leaves or [(kind, hashlib.sha256(kind.encode())) for kind in kinds]
        if [kind for kind, _ in self._leaves] != kinds:
            raise TaskError(
                f"batches differ in kind: {[kind for kind, _ in self._leaves]}, then {kinds}",
                fix="every batch needs the same tensors with the same dtypes",
            )
        shapes = [tensor.shape[1:] for tensor in tensors]
        if shapes != self._shapes:  # hashed only where it changes: the hash must not depend on the batch size
            self._shapes = shapes
            self._leaves[0][1].update(str(shapes).encode())
        if not all(isinstance(part, Tensor) for part in (batch.inputs, batch.targets)):
            self._update_with_values(batch)
        for tensor, (_, digest) in zip(tensors, self._leaves, strict=True):
            digest.update(number_bytes(tensor))

    def _update_with_unit(self, batch: Batch) -> None:
        """Adds a batch as one unit: its words, numbers, shapes and tensors."""
        self._leaves = self._leaves or [("", hashlib.sha256(b"units"))]
        digest = hashlib.sha256()
        for leaf in _leaves_of(batch):
            if isinstance(leaf, Tensor):
                shapes = [tuple(part.shape) for part in ([] if leaf.is_nested else [leaf]) + dense_parts(leaf)]
                digest.update(f"{leaf.dtype} {shapes}".encode())
                digest.update(number_bytes(leaf))
            else:
                digest.update(write_value(leaf))
        self._leaves[0][1].update(digest.digest())

    def _update_with_values(self, batch: Batch) -> None:
        """Adds words and numbers: lists with one for each row, and, where they change, those that hold for all rows."""
        values = []
        for place, leaf in enumerate(_leaves_of(batch)):
            if is_column(leaf):
                digest = self._columns.setdefault(place, hashlib.sha256())
                for value in leaf:
                    digest.update(write_value(value))
            elif not isinstance(leaf, Tensor):
                values.append(write_value(leaf))
        if values != self._values:
            self._values = values
            self._leaves[0][1].update(b"".join(values))

    def hexdigest(self) -> str:
        """The hash of all samples so far."""
        digests = [*(digest for _, digest in self._leaves), *self._columns.values()]
        return hashlib.sha256("".join(digest.hexdigest() for digest in digests).encode()).hexdigest()


def batch_digest(batch: Batch) -> str:
    """The sha256 of a batch alone."""
    hasher = SampleHasher()
    hasher.update(batch)
    return hasher.hexdigest()


def number_bytes(tensor: Tensor) -> Any:
    """The numbers of a tensor in memory, one after the other; of a sparse or nested one those of its parts."""
    parts = dense_parts(tensor.detach().cpu())
    flat = [part.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8) for part in parts]
    return (flat[0] if len(flat) == 1 else torch.cat(flat)).numpy().data


def _leaves_of(batch: Batch) -> list[Any]:
    """The leaves of inputs and targets; targets of None are none at all."""
    return list(leaf_nodes(batch.inputs if batch.targets is None else (batch.inputs, batch.targets)))


def write_value(leaf: Any) -> bytes:
    """A word, a number or a list of them in writing; of anything else the name of its class."""
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype} {leaf.tolist()!r};".encode(errors="surrogatepass")
    if isinstance(leaf, VALUES) or is_column(leaf):
        return f"{leaf!r};".encode(errors="surrogatepass")
    return f"{type(leaf).__module__}.{type(leaf).__qualname__};".encode()
