"""The diagonal of J'M J as sums over samples of squares of single samples' gradients, entry by entry.

With M = sum_c s_c v_c v_c' in the outputs of sample n, the diagonal is the sum over samples and c of s_c (J_n'v_c)^2.
Exact factors give it exactly; random vectors with E[v v'] = M give an unbiased estimate, and their spread its error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch
from landscape.data.trees import leaves, map_tensors
from landscape.errors import LostRankError
from landscape.evaluation.layers.layer_io import LayerCapture
from landscape.evaluation.per_sample.entry_squares import EntrySquares, add_samples, row_squares
from landscape.evaluation.per_sample.own_gradients import OwnGradients, find_gradients
from landscape.evaluation.per_sample.vector_gradients import vector_gradients
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.operators.exact_trace import COLUMN_BYTES, HESSIAN_BYTES
from landscape.operators.layer_flows import CHECKED_SAMPLES, evaluate, flows, wrong_names
from landscape.operators.output_vectors import OutputVectors, Vectors

# Gradients of a pass with closed forms, and of each vector: measured .6 and, with weights that are shared, 1.7
GRADIENTS_OF_FORMS = (4.0, 1.5)
GRADIENTS_OF_OTHERS = 3.0  # more for each vector where parameters have no closed form, by torch.func.vmap


@dataclass(frozen=True)
class SampleDiagonal:
    """The diagonal `(P,)`, float64, of one pass; with drawn vectors its variance, and those of the sums of groups.

    `unknown` are the parameters without a closed form, whose gradients were computed sample by sample.
    """

    diagonal: np.ndarray
    variance: np.ndarray
    group_variance: np.ndarray
    unknown: frozenset[str]


@dataclass(frozen=True)
class DiagonalPass:
    """One pass over the data: the vectors, the layers with closed forms, and the groups whose sums get an error."""

    objective: Objective
    vectors: OutputVectors
    groups: Sequence[ParameterGroup] = ()

    def run(self, number: int = 0, unknown: frozenset[str] | None = None) -> SampleDiagonal:
        """The diagonal by the vectors of pass `number`.

        A closed form that differs from backward passes is not used: its parameter joins `unknown`, and the pass is made
        again. Raises NoBatchingError, or errors of the model, where gradients of samples cannot be had.
        """
        layers = find_layers(self.objective)
        known = {name for layer in layers for name in layer.parameters}
        others = unknown
        if others is None:
            others = frozenset(self.objective.space.names) - known
            first = self.objective.first(CHECKED_SAMPLES)  # which tell most of what is wrong at little cost
            trial = replace(self, objective=first, vectors=replace(self.vectors, objective=first))
            others |= trial._pass(layers, number, others)[3]
        while True:
            used = [layer for layer in layers if not layer.parameters <= others]
            diagonal, variance, by_group, wrong = self._pass(used, number, others)
            if not wrong:
                return SampleDiagonal(diagonal, variance, by_group, others)
            others |= wrong

    def _pass(
        self, layers: Sequence[OwnGradients], number: int, others: frozenset[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, frozenset[str]]:
        """The diagonal, its variance, the groups' variances, and the names whose closed forms are wrong."""
        objective, count = self.objective, self.vectors.per_pass
        capture = LayerCapture(objective, layers) if layers else None
        columns = 1 if self.vectors.exact else count  # at once: draws of a sample stay together
        of_sample = columns * max(objective.activation_bytes, 1)
        samples = max(1, min(HESSIAN_BYTES // (8 * count**2), COLUMN_BYTES // of_sample))

        def kernel(batch: Batch) -> tuple[Tensor, ...]:
            """The sums over a batch."""
            parts = [_Piece(self, capture, piece, number, others).sums() for piece in batch.split(samples)]
            return (
                parts[0]
                if len(parts) == 1
                else tuple(torch.stack(each).sum(dim=0) for each in zip(*parts, strict=True))
            )

        diagonal, variance, by_group, wrong = (part.cpu().numpy() for part in objective.sums(kernel))
        names = frozenset(n for n, pieces in zip(objective.space.names, wrong, strict=True) if pieces)
        diagonal = diagonal / objective.count
        if objective.decay:
            diagonal = diagonal + objective.decay.diagonal.numpy()
        return diagonal, variance / objective.count**2, by_group / objective.count**2, names


class _Piece:
    """Some samples of one pass."""

    def __init__(
        self,
        of: DiagonalPass,
        capture: LayerCapture[OwnGradients] | None,
        batch: Batch,
        number: int,
        others: frozenset[str],
    ) -> None:
        self.of, self.capture, self.batch, self.number, self.others = of, capture, batch, number, others
        self.objective = of.objective
        self.parts: dict[str, list[EntrySquares]] = {}  # by columns of exact factors, or of all draws
        self.totals: dict[str, Tensor] = {}
        self.failed: set[str] = set()

    def sums(self) -> tuple[Tensor, ...]:
        """The diagonal and its variance `(P,)`, the groups' variances, and 1 for each wrong name, float64."""
        vectors = self._vectors_by_layer() if self.capture is not None else self._vectors(self._plain_output())
        squares = {name: _by_column(parts) for name, parts in self.parts.items() if name not in self.failed}
        wrong = self.failed | self._wrong(vectors, squares)
        if self.others:
            rows = vector_gradients(self.objective, self.batch, vectors.by_output, self.others)
            by_name: dict[str, list[EntrySquares]] = {name: [] for name in self.others}
            for place, found in rows:
                signs = None if vectors.signs is None else vectors.signs[:, place]
                for name, each in found.items():
                    by_name[name].append(row_squares(each, signs))
            squares |= {name: add_samples(parts) for name, parts in by_name.items()}
        return self._flatten(squares, wrong)

    def _vectors_by_layer(self) -> Vectors:
        """Evaluates the layers; returns the vectors."""
        assert self.capture is not None
        forward = self.capture.run(self.batch)
        vectors = self._vectors(forward.output)
        pairs = [p for p in zip(leaves(forward.output), vectors.by_output, strict=True) if p[0].requires_grad]
        size = COLUMN_BYTES // max(self.objective.activation_bytes * self.batch.size, 1)
        count = len(vectors.by_output[0])
        step = count if vectors.signs is None else max(1, size)
        for begin in range(0, count if pairs else 0, step):
            columns = slice(begin, begin + step)
            signs = None if vectors.signs is None else vectors.signs[columns]
            for layer, calls, gradients in flows(forward, [p[0] for p in pairs], [p[1][columns] for p in pairs]):
                work = partial(layer.evaluate_entries, calls, gradients, self.batch.size, signs)
                found = evaluate(calls, self.batch.size, work)
                if found is None:
                    self.failed |= layer.parameters - self.others
                    continue
                for name, entries in found.entries.items():
                    if name not in self.others:
                        self.parts.setdefault(name, []).append(entries)
                        self.totals.setdefault(name, found.totals[name])  # of the first vector
        return vectors

    def _vectors(self, output: object) -> Vectors:
        """The vectors, for an output of which only the values count."""
        detached = map_tensors(lambda leaf: leaf.detach().requires_grad_(), output)
        return self.of.vectors.make(detached, self.batch, self.number)

    def _plain_output(self) -> object:
        with torch.no_grad():
            return self.objective.batch_output(self.objective.theta, self.batch)

    def _wrong(self, vectors: Vectors, squares: Mapping[str, EntrySquares]) -> set[str]:
        """The names whose closed forms differ from backward passes, of the first vector."""
        if self.capture is None:
            return set()
        norms = {name: each.squares for name, each in squares.items()}
        found = wrong_names(self.objective, self.batch, vectors.by_output, norms, self.totals)
        return found - self.others

    def _flatten(self, squares: Mapping[str, EntrySquares], wrong: set[str]) -> tuple[Tensor, ...]:
        space, like = self.objective.space, self.objective.theta
        zero = {b.name: torch.zeros(b.size, dtype=torch.float64, device=like.device) for b in space.blocks}
        drawn = not self.of.vectors.exact
        sums = zero | {name: each.sums.reshape(-1) for name, each in squares.items()}
        spread = {n: each.variances.reshape(-1) for n, each in squares.items() if each.variances is not None}
        variances = [(zero | spread)[name] for name in space.names] if drawn else []
        empty = like.new_zeros(0, dtype=torch.float64)
        return (
            torch.cat([sums[name] for name in space.names]),
            torch.cat(variances) if drawn else empty,
            self._group_variances(squares) if drawn else empty,
            torch.tensor([float(name in wrong) for name in space.names], dtype=torch.float64, device=like.device),
        )

    def _group_variances(self, squares: Mapping[str, EntrySquares]) -> Tensor:
        """The variance over the draws of the sum over each group, `(G,)`."""
        nothing = self.objective.theta.new_zeros((self.of.vectors.per_pass, self.batch.size), dtype=torch.float64)
        found = []
        for group in self.of.groups:
            own = [squares[name].squares for name in group.names if name in squares]
            whole = torch.stack(own).sum(dim=0) if own else nothing
            found.append(whole.var(dim=0).sum() / len(whole))
        return torch.stack(found) if found else nothing.new_zeros(0)


def find_layers(objective: Objective) -> list[OwnGradients]:
    """The layers with closed forms; none for a model whose modules refuse hooks, as scripted ones do."""
    try:
        return find_gradients(objective)
    except Exception as error:  # modules of the user's may refuse hooks in any way
        if is_out_of_memory(error) or isinstance(error, LostRankError):
            raise
        return []


def gradients_of_pass(vectors: int, *, all_known: bool) -> float:
    """The gradients over all data whose time a pass takes, with so many vectors for each sample."""
    beside, each = GRADIENTS_OF_FORMS
    return beside + vectors * (each + (0.0 if all_known else GRADIENTS_OF_OTHERS))


def _by_column(parts: Sequence[EntrySquares]) -> EntrySquares:
    """The squares of all columns of exact factors from those of some after others; of draws there is one part."""
    if len(parts) == 1:
        return parts[0]
    sums = torch.stack([part.sums for part in parts]).sum(dim=0)
    return EntrySquares(sums, None, torch.cat([part.squares for part in parts]))
