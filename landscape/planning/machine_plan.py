"""The plan of a measurement on other devices, from a model's configuration alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from landscape.analyses import Analysis, Plan
from landscape.choices import OperatorName
from landscape.compute.machines import Machine
from landscape.compute.memory import memory_of_plan
from landscape.compute.strategy import ProductSettings
from landscape.conditions import Conditions
from landscape.errors import LandscapeError, TaskError, UsageError
from landscape.losses.huggingface import HF
from landscape.network.blocks import find_repeated_blocks
from landscape.objective.counted_time import GradientCount
from landscape.objective.micro_batch import SampleCost
from landscape.planning.device_plan import DevicePlan, Need, fewest_devices, plan_device
from landscape.planning.meta_model import build_on_meta
from landscape.planning.meta_objective import MetaObjective
from landscape.planning.pass_sizes import (
    FEW_BLOCKS,
    PassSizes,
    block_bytes,
    cut_blocks,
    extrapolate_sizes,
    gradient_sizes,
    longest_list,
    product_sizes,
)
from landscape.planning.shapes_of_data import DataShape, data_shape

ROWS = ("basis", "sketch", "vectors")  # of a plan's memory: vectors over the parameters that an analysis gathers
HALF_BYTES = 2  # of a weight in bfloat16 or float16
MAX_DOUBLINGS = 20  # of the memory of a machine that is too small for any plan
HOST_RATE = 2e10  # bytes a second between a device and its host
PASSES_OVER_ROWS = 2  # of each product: full orthogonalization, twice


@dataclass(frozen=True)
class MachinePlan:
    """A measurement on a machine: its size, its plan, what lies where on one device, and its operations."""

    machine: Machine
    parameters: int
    data: str
    samples: int
    plan: Plan
    device: DevicePlan
    gradient_operations: float  # over all data
    pass_operations: float  # of a product over all data, or of a gradient where there are no products
    seconds: float
    devices_needed: int | None


def plan_on_machine(path: Path, analysis: Analysis, conditions: Conditions, machine: Machine) -> MachinePlan:
    """The plan of an analysis of the model that a configuration, or a factory, describes.

    Raises UsageError for options and analyses that cannot be planned without weights, and TaskError for a model that
    does not run on torch's meta device.
    """
    if conditions.objective:
        raise UsageError(
            "--on cannot plan an --objective, whose function needs tensors with numbers", fix="--dry-run without --on"
        )
    model = build_on_meta(path, conditions)
    shape = data_shape(model, conditions, path)
    objective = _objective(model, shape, conditions, path)
    operator: OperatorName = getattr(analysis, "operator", "hessian")
    again = conditions.recompute == "on"
    gradient, product = count_sizes(objective, model, shape, conditions, operator, recompute=again)
    seconds = gradient.operations / (machine.rate * machine.count)
    objective.sample_cost = SampleCost(seconds, objective.output_bytes)
    objective.gradient_count = GradientCount(gradient.operations, 0.0, 0.0, 0)
    objective.activation_bytes = gradient.graph
    plan = _plan(analysis, objective, machine)
    need = _need(objective, plan, product if plan.products else gradient)
    if conditions.weights_dtype in ("bfloat16", "float16"):
        need = replace(need, theta=HALF_BYTES * objective.space.size)
    device = plan_device(need, machine, shape.samples)
    if device.tight and conditions.recompute == "auto" and find_repeated_blocks(model):
        sizes = count_sizes(objective, model, shape, conditions, operator, recompute=True)
        need = replace(need, recomputed=_beside_theta(objective, plan, sizes[1] if plan.products else sizes[0]))
        device = plan_device(need, machine, shape.samples)
    rows = need.rows
    moved = PASSES_OVER_ROWS * rows / 2 * plan.products / machine.count / HOST_RATE if "basis" in device.host else 0.0
    return MachinePlan(
        machine=machine,
        parameters=objective.space.size,
        data=shape.words,
        samples=shape.samples,
        plan=plan,
        device=device,
        gradient_operations=gradient.operations * shape.samples,
        pass_operations=need.passes.operations * shape.samples,
        seconds=plan.seconds * device.time_factor + moved,
        devices_needed=fewest_devices(need, machine, shape.samples) if device.missing else None,
    )


def count_sizes(
    objective: MetaObjective,
    model: nn.Module,
    shape: DataShape,
    conditions: Conditions,
    operator: OperatorName,
    *,
    recompute: bool = False,
) -> tuple[PassSizes, PassSizes]:
    """The sizes of a gradient and of a product: through few blocks, and extrapolated where a model repeats many.

    With `recompute` the model's blocks keep their inputs alone.
    """
    blocks = longest_list(model)
    if blocks is None or len(blocks) <= FEW_BLOCKS + 1 or conditions.params:
        again = objective.with_blocks() if recompute else objective
        return gradient_sizes(again), product_sizes(again, operator)
    found: list[tuple[PassSizes, PassSizes]] = []
    sizes: list[int] = []
    for count in (FEW_BLOCKS, FEW_BLOCKS + 1):
        with cut_blocks(blocks, count):
            part = _objective(model, shape, conditions, None)
            part = part.with_blocks() if recompute else part
            found.append((gradient_sizes(part), product_sizes(part, operator)))
            sizes.append(part.space.size)
    (g0, p0), (g1, p1) = found
    whole, pair = objective.space.size, (sizes[0], sizes[1])
    return (
        extrapolate_sizes(g0, g1, len(blocks), whole, pair),
        extrapolate_sizes(p0, p1, len(blocks), whole, pair),
    )


def _need(objective: MetaObjective, plan: Plan, passes: PassSizes) -> Need:
    """What a measurement takes by its plan, with passes of these sizes."""
    rows = sum(plan.memory.get(name, 0) for name in ROWS)
    return Need(objective.theta.nbytes, rows, _beside_theta(objective, plan, passes), block_bytes(objective))


def _beside_theta(objective: MetaObjective, plan: Plan, passes: PassSizes) -> PassSizes:
    """The sizes of a pass with the vectors beside it: the sum over micro-batches, and the argument of a product."""
    beside = 2 if plan.products else 1
    return replace(passes, vectors=passes.vectors + beside * objective.theta.nbytes)


def _objective(model: nn.Module, shape: DataShape, conditions: Conditions, path: Path | None) -> MetaObjective:
    """The model over these samples; raises TaskError where it does not run on the meta device."""
    loss = conditions.loss or (HF if hasattr(model, "config") else None)
    try:
        return MetaObjective(
            model,
            shape.sample,
            shape.samples,
            loss,
            params=conditions.params,
            dtype=conditions.dtype,
            settings=ProductSettings(hvp=conditions.hvp, tf32=conditions.tf32),
            mode=conditions.mode,
            path=path,
        )
    except LandscapeError:
        raise
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            "the model does not run on torch's meta device, where tensors have no numbers",
            why=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            fix="--dry-run without --on, with weights and data",
        ) from error


def _plan(analysis: Analysis, objective: MetaObjective, machine: Machine) -> Plan:
    """The analysis' own plan with the memory of the machine, or with the least that it accepts.

    Raises UsageError where it needs numbers, and as the analysis does for options that exclude each other.
    """
    for doublings in range(MAX_DOUBLINGS):  # what is missing is said by the device's own plan
        try:
            return _plan_with(analysis, objective, machine.usable_bytes << doublings, machine)
        except UsageError:
            if doublings == MAX_DOUBLINGS - 1:
                raise
    raise AssertionError  # the last round returns or raises


def _plan_with(analysis: Analysis, objective: MetaObjective, usable: int, machine: Machine) -> Plan:
    """The analysis' plan with so much memory on each device, and the same in proportion on hosts."""
    host = machine.host_bytes * usable // machine.usable_bytes
    try:
        with memory_of_plan(usable * machine.count, host * machine.count):
            return analysis.plan(objective)
    except LandscapeError:
        raise
    except Exception as error:  # an analysis that looks at numbers
        raise UsageError(
            f"{analysis.name} cannot be planned from a configuration alone",
            why=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            fix="--dry-run without --on, with weights and data",
        ) from error
