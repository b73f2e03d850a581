"""What decides a result besides the analysis: the weights, the data, the loss, and how they are computed with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.objective.objective import Objective


def identity_of(objective: Objective) -> dict[str, Any]:
    """The objective's share of the fingerprint of a measurement."""
    return {
        "weights": objective.weights_sha256,
        "data": objective.batches.sha256,
        "loss": objective.loss_name,
        "mode": objective.mode,
        "dtype": str(objective.dtype).removeprefix("torch.") + (", tf32" if objective.tf32 else ""),
        **({"products": "differences of gradients"} if objective.settings.hvp == "difference" else {}),
        **({"batches": _sizes_of_batches(objective)} if objective.as_given else {}),
        "parameters": _digest("\n".join(objective.space.names)),
    }


def _sizes_of_batches(objective: Objective) -> str:
    """The sizes of the batches, which decide a loss that depends on them, as a short hash."""
    return f"as given, {_digest(' '.join(str(batch.size) for batch in objective.batches))}"


def _digest(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
