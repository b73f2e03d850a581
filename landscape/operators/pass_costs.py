"""What forward passes, gradients and products cost before any is made: time in gradients, and memory by part.

The numbers of vectors and graphs describe the code of the operators; whoever changes that code measures them anew
(`tests/operators/test_pass_costs.py` compares them with live tensors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.choices import OperatorName
from landscape.compute.budget import PRODUCT_VECTORS, is_large, room
from landscape.compute.strategy import Strategy
from landscape.objective.checks.check import SAMPLES_OF_LARGE_MODELS
from landscape.objective.checks.float64 import float64_bytes
from landscape.operators.strategy_trial import COLUMN_ACTIVATIONS, ProductFacts, candidates

if TYPE_CHECKING:
    from landscape.objective import Objective

# A gradient is 3 forward passes. A product is 2 gradients where the graph of the gradient is kept, and 3 where it is
# rebuilt; with J'MJ the second backward pass leaves out the first one's half. Measured: 1.6 to 2.5, and 2.5 to 3.5.
GRADIENTS_OF_HESSIAN = (2.0, 3.0)
GRADIENTS_OF_JACOBIAN = (1.5, 2.5)  # ggn, fisher: measured 1.2 to 2.0, and 2.0 to 3.1
GRADIENTS_OF_PYHESSIAN = 3.5
FORWARD_SHARE = 1 / 3  # of a gradient's time: measured 0.2 to 0.6
GRADIENTS_OF_DIFFERENCE = 2.0  # one to each side, and none for a graph
SUM_VECTORS = 1  # the sum over micro-batches, if there are several
BLOCK_VECTORS = 2  # each further column: its argument and its result
DIFFERENCE_VECTORS = 4  # the gradient at theta, a move, and a gradient at either side
CHECK_ACTIVATIONS = 2.6  # of a few samples after a measurement, in float64 and with the graph of their gradient
GRADIENT_OUTPUTS = 2.0  # the outputs' own bytes, so many times
# Graphs of a product that are kept, and that are rebuilt: in activations of a forward pass without its outputs, and in
# outputs, as measured with transformers of 0.4 to 2 million parameters. The outputs are those of large vocabularies.
HESSIAN_GRAPHS, HESSIAN_OUTPUTS = (3.0, 2.3), (4.5, 4.0)
JACOBIAN_GRAPHS, JACOBIAN_OUTPUTS = (2.1, 2.1), (3.8, 3.8)


def gradients_per_product(name: OperatorName, *, kept: bool) -> float:
    """How many gradients' time the product of one column takes, with the graph kept or rebuilt."""
    if name == "pyhessian":
        return GRADIENTS_OF_PYHESSIAN
    pair = GRADIENTS_OF_HESSIAN if name in ("hessian", "preconditioned") else GRADIENTS_OF_JACOBIAN
    return pair[0] if kept else pair[1]


def keeps_graphs(objective: Objective) -> bool:
    """Whether the graphs of all micro-batches have room, so that products after the first do not rebuild them."""
    held = HESSIAN_GRAPHS[0] * objective.activation_bytes * objective.batches.samples
    return objective.single_batch or held <= room("kept graphs", objective.device)


def likely_strategy(objective: Objective, name: OperatorName, columns: int) -> Strategy:
    """The strategy that products with so many columns take unless a trial finds another one faster."""
    facts = ProductFacts(
        columns=columns,
        activation_bytes=objective.activation_bytes * objective.largest_micro_batch,
        device=objective.device.type,
        room=room("columns", objective.device),
        traceable=name == "hessian",
        compilable=False,
    )
    return candidates(facts, objective.settings, lambda: False)[0]


def product_memory(objective: Objective, name: OperatorName, columns: int = 1) -> dict[str, int]:
    """The bytes of a product by part: its vectors, the graph of a micro-batch, the loss, and further columns."""
    if objective.settings.hvp == "difference":
        of_gradient = gradient_memory(objective)
        sides = (DIFFERENCE_VECTORS + BLOCK_VECTORS * columns) * objective.theta.nbytes
        return {**of_gradient, "vectors of a product": sides}
    outputs = output_bytes(objective)
    strategy = likely_strategy(objective, name, columns)
    activations = max(objective.activation_bytes * objective.largest_micro_batch - outputs, 0)
    kept = keeps_graphs(objective)
    pieces = objective.batches.samples / objective.largest_micro_batch if kept else 1
    of_hessian = name in ("hessian", "preconditioned", "pyhessian")
    graphs, loss = (HESSIAN_GRAPHS, HESSIAN_OUTPUTS) if of_hessian else (JACOBIAN_GRAPHS, JACOBIAN_OUTPUTS)
    vectors = PRODUCT_VECTORS + BLOCK_VECTORS * (columns - 1) + (0 if objective.single_batch else SUM_VECTORS)
    return {
        "vectors of a product": vectors * objective.theta.nbytes,
        "graphs": round(graphs[not kept] * activations * pieces),
        "outputs": round(loss[not kept] * outputs * pieces),
        "columns": round(COLUMN_ACTIVATIONS * (strategy.columns - 1) * activations),
    }


def gradient_memory(objective: Objective) -> dict[str, int]:
    """The bytes of a gradient by part: its vectors, the activations of a micro-batch, and the loss.

    The gradient of a large model is put into its vector tensor by tensor, others are one vector beside their tensors.
    Activations are freed while the tensors grow: those beyond their size are counted.
    """
    outputs, vector = output_bytes(objective), objective.theta.nbytes
    loss = round(GRADIENT_OUTPUTS * outputs)
    activations = max(objective.activation_bytes * objective.largest_micro_batch - outputs, 0)
    tensors = vector
    if is_large(objective.space.size):
        tensors = max(block.size for block in objective.space.blocks) * objective.theta.itemsize
    return {
        "vectors of a gradient": (1 if objective.single_batch else 1 + SUM_VECTORS) * vector + tensors,
        "activations": max(activations - tensors, 0) if activations + loss > tensors else 0,
        "outputs": loss if activations >= tensors else max(activations + loss - tensors, 0),
    }


def checks_memory(objective: Objective) -> int:
    """The bytes of the checks of a large model; a small one's take less than the measurement.

    Before it other weights than the model's own, and a gradient that is not kept; after it a few samples in float64.
    """
    if not is_large(objective.space.size):
        return 0
    samples = min(objective.batches.samples, SAMPLES_OF_LARGE_MODELS)
    few = objective.activation_bytes * samples
    after = float64_bytes(objective.function) + round(CHECK_ACTIVATIONS * few)
    return max(objective.theta.nbytes + few, sum(gradient_memory(objective).values()), after)


def output_bytes(objective: Objective) -> int:
    """The bytes of the outputs of a micro-batch that the loss is of; 0 where no plan has looked at them."""
    cost = objective.sample_cost
    return cost.output_bytes * objective.largest_micro_batch if cost else 0
