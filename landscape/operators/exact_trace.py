"""The trace of the Gauss-Newton matrix, exact, by as many backward passes as a sample has outputs.

With the loss's Hessian in the outputs of sample n as sum_c sign_nc s_nc s_nc', the trace is the sum over samples and c
of sign_nc |J_n's_nc|^2: squares of gradients of single samples, which have closed forms (Goodfellow 2015, "Efficient
per-example gradient computations"; Dangel, Kunstner and Hennig 2020, "BackPACK", section 2.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch, to_device
from landscape.data.trees import leaves
from landscape.errors import LandscapeError, LostRankError
from landscape.evaluation.layers.layer_io import LayerCapture
from landscape.evaluation.per_sample.own_gradients import find_gradients
from landscape.losses.terms import TermsLoss
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.operators.gauss_newton import GaussNewtonOperator
from landscape.operators.layer_flows import evaluate, flows, wrong_names
from landscape.operators.output_roots import output_roots
from landscape.operators.pullback import NoBatchingError

MAX_OUTPUTS = 32  # of a sample: it takes as many backward passes
HESSIAN_BYTES = 64 << 20  # of the Hessians in the outputs of the samples that are taken at once
COLUMN_BYTES = 256 << 20  # of the gradients in the modules' outputs that are taken at once
PASSES_BESIDE = (
    3.0  # gradients: the forward pass with its inputs kept, and those that the closed forms are compared with
)
GRADIENTS_OF_PASS = 1.0  # gradients for each output, a backward pass and the squares: measured .6 to 1.2


@dataclass(frozen=True)
class ExactTrace:
    """By parameter, the trace of its block of the Gauss-Newton matrix; parameters without a closed form are left out.

    Weight decay is part of it, as of the products.
    """

    by_name: Mapping[str, float]

    @property
    def trace(self) -> float:
        """The sum over the parameters that are known."""
        return sum(self.by_name.values())

    def of_groups(self, groups: Sequence[ParameterGroup]) -> list[float]:
        """The sums by group."""
        return [sum(self.by_name.get(name, 0.0) for name in group.names) for group in groups]


def exact_trace(objective: Objective) -> ExactTrace | None:
    """The trace of the Gauss-Newton matrix by parameter; None where no part of it is known in a few passes.

    Each closed form is compared with backward passes, of single samples and of every batch; a parameter for which they
    differ is left out.
    """
    outputs = outputs_of_sample(objective)
    if not outputs:
        return None
    try:
        return _Measurement(objective, outputs).run()
    except LostRankError:
        raise
    except (LandscapeError, NoBatchingError):  # a part of the model that cannot be followed, or differentiated
        return None


def find_exact_parameters(objective: Objective) -> frozenset[str]:
    """The parameters that may have a closed form; none where it is not known in a few passes."""
    if not outputs_of_sample(objective):
        return frozenset()
    try:
        layers = find_gradients(objective)
    except Exception as error:  # modules of the user's may refuse hooks in any way, as scripted ones do
        if is_out_of_memory(error) or isinstance(error, LostRankError):
            raise
        return frozenset()
    return frozenset(name for layer in layers for name in layer.parameters)


def gradients_of_exact_trace(outputs: int) -> float:
    """The gradients over all data whose time an exact trace takes, with so many outputs of a sample."""
    return PASSES_BESIDE + GRADIENTS_OF_PASS * outputs


def outputs_of_sample(objective: Objective) -> int:
    """The outputs of a sample, as many as backward passes; 0 where they are many, or as `count_outputs` says."""
    entries = count_outputs(objective)
    return entries if entries <= MAX_OUTPUTS else 0


def count_outputs(objective: Objective) -> int:
    """The outputs of a sample; 0 where samples have no losses of their own, or the weights do not stand in theta."""
    function = objective.function
    if isinstance(objective.loss, TermsLoss) or objective.as_given or function.loss_uses_parameters:
        return 0
    if function.resident is not None or function.stored or function.in_parts or function.mode == "train":
        return 0
    if objective.batches.unit:
        return 0
    first = next(next(iter(objective.batches)).split(1))
    with torch.no_grad():
        batch = to_device(first, objective.device, objective.dtype)
        outputs = list(leaves(objective.batch_output(objective.theta, batch)))
    if not all(leaf.ndim and len(leaf) == 1 and leaf.is_floating_point() for leaf in outputs):
        return 0
    return sum(leaf.numel() for leaf in outputs)


class _Measurement:
    """The sums over the data, with the modules that hold parameters."""

    def __init__(self, objective: Objective, outputs: int) -> None:
        self.objective, self.outputs = objective, outputs
        self.operator = GaussNewtonOperator(objective)
        self.layers = find_gradients(objective)
        self.capture = LayerCapture(objective, self.layers)
        self.names = objective.space.names

    def run(self) -> ExactTrace:
        """The traces of the parameters whose closed forms agree with backward passes."""
        # all columns at once: what layers get is cut up once
        of_columns = self.outputs * max(self.objective.activation_bytes, 1)
        samples = max(1, min(HESSIAN_BYTES // (8 * self.outputs**2), COLUMN_BYTES // of_columns))

        def kernel(batch: Batch) -> Tensor:
            """By parameter, the trace, and the number of pieces in which it is wrong, `(2, names)`, float64."""
            return torch.stack([self._of_piece(piece) for piece in batch.split(samples)]).sum(dim=0)

        traces, wrong = self.objective.accumulate(kernel).cpu().tolist()
        triples = zip(self.names, traces, wrong, strict=True)
        penalties = self._penalties()
        known = {n: trace / self.objective.count + penalties[n] for n, trace, pieces in triples if not pieces}
        return ExactTrace(known)

    def _penalties(self) -> dict[str, float]:
        """By parameter, the trace of the penalty of weight decay."""
        decay, blocks = self.objective.decay, self.objective.space.blocks
        return {block.name: decay.rate * block.size * (block.name in decay.names) if decay else 0.0 for block in blocks}

    def _of_piece(self, batch: Batch) -> Tensor:
        """By parameter, the trace over some samples, and whether it is wrong, `(2, names)`, float64."""
        forward = self.capture.run(batch)
        signs, roots = output_roots(self.operator, forward.output, batch)
        outputs = [leaf for leaf in leaves(forward.output) if leaf.requires_grad]
        squares: dict[str, list[Tensor]] = {}
        totals: dict[str, Tensor] = {}
        unknown: set[str] = set()
        step = max(1, COLUMN_BYTES // max(self.objective.activation_bytes * batch.size, 1))
        for begin in range(0, len(signs), step):
            vectors = [root[begin : begin + step] for root in roots]
            for layer, calls, gradients in flows(forward, outputs, vectors):
                found = evaluate(calls, batch.size, partial(layer.evaluate, calls, gradients, batch.size))
                if found is None:
                    unknown |= layer.parameters
                    continue
                for name, values in found.squares.items():
                    squares.setdefault(name, []).append(values)
                    totals.setdefault(name, found.totals[name])  # of the first scalar
        del forward, outputs
        by_name = {name: torch.cat(parts) for name, parts in squares.items() if name not in unknown}
        wrong = wrong_names(self.objective, batch, roots, by_name, totals) | unknown
        zero = signs.new_zeros(())
        traces = [(by_name[name] * signs).sum() if name in by_name else zero for name in self.names]
        return torch.stack([torch.stack(traces), signs.new_tensor([float(name in wrong) for name in self.names])])
