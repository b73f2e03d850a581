"""Plans as rows of words and numbers, for printing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses import Analysis, Plan
from landscape.compute.machines import GIGABYTE, Machine
from landscape.conditions import Conditions
from landscape.data.batches import batch_bytes
from landscape.errors import UsageError
from landscape.objective.checks.order import describe_order
from landscape.operators.pass_costs import checks_memory
from landscape.planning.machine_plan import MachinePlan, plan_on_machine

if TYPE_CHECKING:
    from landscape.objective import Objective

SHARDED = "figures of weights and vectors in parts: torchrun --nproc-per-node N -m landscape ... --shard on"
WHOLE = "figures of a sharded run; this version keeps all weights of {name} on every rank"


def rows_of_measurement(analysis: Analysis, objective: Objective) -> dict[str, str]:
    """The plan of a measurement on this machine: sizes, memory by part, and time from one timed gradient."""
    plan = analysis.plan(objective)
    peak = peak_bytes(objective, plan)
    return {
        "parameters": f"{objective.space.size:,}",
        "samples": f"{objective.batches.samples:,}",
        "micro-batch": f"{objective.micro_batch:,} samples",
        **plan.facts,
        "memory": f"{_megabytes(plan.bytes)} beside the model and the data",
        "peak": f"{_megabytes(peak)} with them, {peak / objective.theta.nbytes:.1f} copies of the parameters",
        **{f"  {part}": _megabytes(size) for part, size in plan.memory.items() if size},
        **({"products": f"about {plan.products}"} if plan.products else {}),
        "time": f"about {plan.seconds:.3g} s{_describe_timing(objective)}",
        "checks": describe_order(objective.checks),
    }


def _describe_ranks(analysis: Analysis) -> str:
    """How the figures for several devices can be had, if they can."""
    try:
        analysis.require_parts()
    except UsageError:
        return WHOLE.format(name=analysis.name)
    return SHARDED


def peak_bytes(objective: Objective, plan: Plan) -> int:
    """The bytes that a measurement takes at its peak: the model, the data, and the plan or the checks."""
    model = sum(tensor.nbytes for tensor in objective.tensors())
    data = sum(batch_bytes(batch) for batch in objective.batches) if objective.batches.kept else 0
    return model + data + max(plan.bytes, checks_memory(objective))


def rows_on_machine(path: Path, analysis: Analysis, conditions: Conditions, machine: Machine) -> dict[str, str]:
    """The plan of a measurement on other devices: memory by part on one device and its host, and time.

    Raises UsageError and TaskError as `plan_on_machine` does.
    """
    found = plan_on_machine(path, analysis, conditions, machine)
    plan, device = found.plan, found.device
    facts = {name: fact for name, fact in plan.facts.items() if name in ("sizes", "basis", "probes at once", "points")}
    rate = f"{machine.rate / 1e12:.3g} TFLOP/s on each device, {machine.rate_source}; --on ...@RATE states another"
    kind = "product" if plan.products else "gradient"
    held = conditions.weights_dtype or conditions.dtype
    return {
        "machine": str(machine),
        **({"ranks": f"{machine.count}: {_describe_ranks(analysis)}"} if machine.count > 1 else {}),
        "parameters": f"{found.parameters:,}, {held}, from the configuration alone",
        "data": found.data,
        **facts,
        "device": _describe_fit(found),
        **{f"  {part}": _gigabytes(size) for part, size in device.device.items() if size},
        **({"host": _gigabytes(sum(device.host.values()))} if device.host else {}),
        **{f"  {part} ": _gigabytes(size) for part, size in device.host.items() if size},
        "choices": "; ".join(device.choices) or "everything on the device",
        "micro-batch": f"{device.micro_batch:,} samples",
        **({"products": f"about {plan.products}"} if plan.products else {}),
        kind: f"{found.pass_operations:.3g} operations over all data; a gradient, {found.gradient_operations:.3g}",
        "rate": rate,
        "time": f"about {_duration(found.seconds)}: counted, not measured",
    }


def _describe_fit(found: MachinePlan) -> str:
    """The memory of one device that is needed, and whether it fits."""
    used, usable = _gigabytes(found.device.device_bytes), _gigabytes(found.machine.usable_bytes)
    if not found.device.missing:
        return f"{used} of {usable} that can be used"
    more = f", {found.devices_needed} devices would do" if found.devices_needed else ""
    return f"{used} of {usable} that can be used: DOES NOT FIT, {_gigabytes(found.device.missing)} are missing{more}"


def _describe_timing(objective: Objective) -> str:
    """Which time was measured, and which follow from it."""
    if objective.sample_cost is None:
        return ""
    gradient = objective.sample_cost.seconds * objective.batches.samples
    return f", estimated from one gradient over all data, {gradient:.3g} s, of which a micro-batch was timed"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _gigabytes(size: float) -> str:
    return f"{size / GIGABYTE:,.1f} GB" if size >= GIGABYTE / 10 else _megabytes(size)


def _duration(seconds: float) -> str:
    """The seconds in the largest unit of which there is one."""
    units: Mapping[str, float] = {"days": 86400, "h": 3600, "min": 60}
    return next((f"{seconds / size:.3g} {name}" for name, size in units.items() if seconds >= size), f"{seconds:.3g} s")
