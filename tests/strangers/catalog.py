"""All strangers, and those whose verdict waits for a check that does not exist yet."""

from __future__ import annotations

from strangers import (
    attention,  # noqa: F401
    criteria,  # noqa: F401
    criteria_with_state,  # noqa: F401
    custom_functions,  # noqa: F401
    differentiating,  # noqa: F401
    embeddings,  # noqa: F401
    hidden_ties,  # noqa: F401
    huggingface,  # noqa: F401
    learned_criteria,  # noqa: F401
    misc,  # noqa: F401
    objectives,  # noqa: F401
    outputs,  # noqa: F401
    parametrized,  # noqa: F401
    penalties,  # noqa: F401
    recurrent,  # noqa: F401
    stateful,  # noqa: F401
    sure,  # noqa: F401
    units,  # noqa: F401
)
from strangers.stranger import STRANGERS

__all__ = ["AWAITING_CHECKS", "STRANGERS"]
AWAITING_CHECKS: tuple[str, ...] = ()
