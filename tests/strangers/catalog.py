"""All strangers, and those whose verdict waits for a check that does not exist yet."""

from __future__ import annotations

from strangers import (
    attention,  # noqa: F401
    criteria,  # noqa: F401
    custom_functions,  # noqa: F401
    differentiating,  # noqa: F401
    embeddings,  # noqa: F401
    huggingface,  # noqa: F401
    learned_criteria,  # noqa: F401
    misc,  # noqa: F401
    outputs,  # noqa: F401
    parametrized,  # noqa: F401
    penalties,  # noqa: F401
    recurrent,  # noqa: F401
    stateful,  # noqa: F401
)
from strangers.stranger import STRANGERS

__all__ = ["AWAITING_CHECKS", "STRANGERS"]
AWAITING_CHECKS: tuple[str, ...] = (
    "layer drop of 2 %",
    "moving average in eval mode",
    "slowly drifting buffer",
    "queue of negatives",
    "weights clamped in forward",
    "cache on self",
    "noise of NumPy",
    "batch statistics",
    "centered in the batch",
    "experts with a capacity",
    "ghost batches",
    "class weights in a function",
    "ignored targets come late",
    "InfoNCE as an object",
    "temperature in the loss",
    "ArcFace",
    "uncertainty weights",
    "leaf in a closure",
    "softmax outputs, no loss named",
    "softmax outputs, cross_entropy named",
    "sigmoid outputs, bce named",
    "custom function, saved derivative",
    "custom function, once only",
    "custom function, wrong sign",
    "gradient clipped inside",
    "gradient reversal",
    "straight-through rounding",
    "quantization-aware weights",
    "binary weights",
    "hook that scales gradients",
    "full backward hook",
    "adjoint ODE",
    "equilibrium",
    "reversible net",
    "own checkpointing",
    "sparse embedding",
    "sparse bag",
    "embedding scaled by frequency",
    "nearly converged",
    "decay in the loss",
    "sparsity in the loss",
    "earlier weights in the loss",
    "parameters captured in a list",
    "one weight captured",
    "orthogonality in a criterion",
    "gradient penalty",
    "consistency of two views",
)
