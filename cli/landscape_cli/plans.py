"""`--dry-run`: what a measurement would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.analyses import Analysis
from landscape_cli.targets import Target

if TYPE_CHECKING:
    from landscape.objective import Objective


def _describe_timing(objective: Objective) -> str:
    """Which time was measured, and which follow from it."""
    if objective.sample_cost is None:
        return ""
    gradient = objective.sample_cost.seconds * objective.batches.samples
    return f", estimated from one gradient over all data, {gradient:.3g} s, of which a micro-batch was timed"


def print_plan(target: Target, analysis: Analysis, objective: Objective) -> None:
    """Prints the size of the measurement, its memory by part, its time and its output, after one timed gradient."""
    from landscape.objective.checks.order import describe_order
    from landscape_cli import tables

    plan = analysis.plan(objective)
    rows = {
        "parameters": f"{objective.space.size:,}",
        "samples": f"{objective.batches.samples:,}",
        "micro-batch": f"{objective.micro_batch:,} samples",
        **plan.facts,
        "memory": f"{plan.bytes / 1e6:,.1f} MB beside the model and the data",
        **{f"  {part}": f"{size / 1e6:,.1f} MB" for part, size in plan.memory.items() if size},
        **({"products": f"about {plan.products}"} if plan.products else {}),
        "time": f"about {plan.seconds:.3g} s{_describe_timing(objective)}",
        "checks": describe_order(objective.checks),
        "output": str(target.output),
    }
    tables.print_rows(f"{analysis.name} {target.checkpoint.name}: plan", rows)
