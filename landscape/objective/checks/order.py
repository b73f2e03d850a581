"""In which order the checks of a measurement are made, in words for a plan."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.objective.checks.closing import CLOSING_CHECKS
from landscape.objective.checks.finding import Finding
from landscape.objective.checks.opening import MODEL_CHECKS, OPENING_CHECKS


def describe_order(findings: Sequence[Finding]) -> str:
    """The checks before a measurement, which a plan has made if there are findings, and those at its end with costs."""
    if findings:
        first = f"{', '.join(finding.check for finding in findings)}: made"
    else:
        names = [check.name for check in MODEL_CHECKS] + [check.name for check in OPENING_CHECKS]
        first = f"before it, {', '.join(names)}: not made by a plan"
    return f"{first}; at the end {', '.join(f'{check.name} ({check.cost})' for check in CLOSING_CHECKS)}"
