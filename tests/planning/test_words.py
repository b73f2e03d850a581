"""Plans in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configurations import write_config
from conftest import tanh_net
from torch import Tensor

from landscape import Density, Eig, Objective, Sharpness, Trace
from landscape.compute.machines import parse_machine
from landscape.conditions import Conditions
from landscape.objective import PlannedObjective
from landscape.objective.counted_time import ACCELERATOR_RATE, OPERATIONS_PER_SECOND
from landscape.planning.machine_plan import plan_on_machine
from landscape.planning.words import rows_of_measurement, rows_on_machine


def test_the_memory_is_the_sum_of_its_parts(classification: tuple[Tensor, Tensor]) -> None:
    objective = PlannedObjective(tanh_net(), [classification], "cross_entropy")
    plan = Eig(k=2).plan(objective)
    rows = rows_of_measurement(Eig(k=2), objective)
    assert rows["parameters"] == "39"
    assert rows["memory"] == f"{plan.bytes / 1e6:,.1f} MB beside the model and the data"
    assert [name.strip() for name in rows if name.startswith("  ")] == [n for n, size in plan.memory.items() if size]
    assert "of which a micro-batch was timed" in rows["time"]
    assert "not made by a plan" in rows["checks"]


def test_of_an_objective_that_was_checked_the_checks_are_said(classification: tuple[Tensor, Tensor]) -> None:
    rows = rows_of_measurement(Trace(), Objective(tanh_net(), [classification], "cross_entropy"))
    assert "independence: made" in rows["checks"]
    assert "timed" not in rows["time"]


def test_a_plan_for_other_devices_says_what_is_missing_and_what_would_do(tmp_path: Path) -> None:
    folder = write_config(tmp_path / "net", hidden_size=4096, num_hidden_layers=40, intermediate_size=11008)
    small = rows_on_machine(folder, Eig(k=1), Conditions(), parse_machine("1x16GB+16GB"))
    assert "DOES NOT FIT" in small["device"]
    assert small["device"].endswith("devices would do")
    assert "ranks" not in small
    many = rows_on_machine(folder, Eig(k=1), Conditions(), parse_machine("64x16GB"))
    assert "DOES NOT FIT" not in many["device"]
    assert many["ranks"].startswith("64: figures of weights and vectors in parts")
    assert many["ranks"].endswith("--shard on")
    assert "% of the peak of T4 in float32" in many["rate"]


@pytest.mark.parametrize(
    ("analysis", "least", "most"),
    [
        (Density, "4 probes x 24 steps, ", "8 probes x 64 steps, "),
        (Sharpness, "5 starts and 16 pairs at rho 0.2, ", "9 starts and 50 pairs at rho 0.2, "),
    ],
    ids=["density", "sharpness"],
)
def test_a_plan_for_other_devices_has_the_sizes_that_a_budget_buys_there(
    analysis: Any, least: str, most: str, tmp_path: Path
) -> None:
    """By the operations that are counted on the meta device: a gradient takes them at an accelerator's rate."""
    folder, machine = write_config(tmp_path / "net", num_hidden_layers=2), parse_machine("1x80GB")
    for budget, sizes in ((1e-3, least), (1e9, most)):
        rows = rows_on_machine(folder, analysis(budget=budget), Conditions(limit=4), machine)
        assert rows["sizes"].startswith(sizes)
    operations = plan_on_machine(folder, analysis(), Conditions(limit=4), machine).gradient_operations
    counted = float(rows["sizes"].split(" counted seconds")[0].split()[-1])
    gradients = {Density: 2.3 * 8 * 64, Sharpness: 0.85 * 240 + 2.5 * 36 + 196 / 3 + 2}[analysis]
    assert counted >= 0.9 * gradients * operations / (ACCELERATOR_RATE * OPERATIONS_PER_SECOND)
