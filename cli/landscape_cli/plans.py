"""`--dry-run`: what a measurement would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.analyses import Analysis
from landscape_cli.targets import Target

if TYPE_CHECKING:
    from landscape.objective import Objective


def _closing_checks() -> str:
    """The checks after a measurement with what each costs."""
    from landscape.objective.checks.closing import CLOSING_CHECKS

    return ", ".join(f"{check.name} ({check.cost})" for check in CLOSING_CHECKS)


def print_plan(target: Target, analysis: Analysis, objective: Objective) -> None:
    """Prints the size of the measurement, its memory, its time and its output, after a short trial."""
    from landscape_cli import tables

    plan = analysis.plan(objective)
    rows = {
        "parameters": f"{objective.space.size:,}",
        "samples": f"{objective.batches.samples:,}",
        "micro-batch": f"{objective.micro_batch:,} samples",
        **plan.facts,
        "memory": f"{plan.bytes / 1e6:,.1f} MB beside the model and the data",
        **({"products": f"about {plan.products}"} if plan.products else {}),
        "time": f"about {plan.seconds:.3g} s",
        "checks": f"{', '.join(finding.check for finding in objective.checks)}: made; at the end {_closing_checks()}",
        "output": str(target.output),
    }
    tables.print_rows(f"{analysis.name} {target.checkpoint.name}: plan", rows)
