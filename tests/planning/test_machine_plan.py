"""Plans from configurations alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configurations import write_config

from landscape import Eig, Sharpness, Surface, Trace
from landscape.analyses import Analysis
from landscape.compute.machines import parse_machine
from landscape.conditions import Conditions
from landscape.errors import UsageError
from landscape.planning.machine_plan import MachinePlan, plan_on_machine

LARGE: dict[str, Any] = {  # Llama's 7B and 70B
    "7B": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    },
    "70B": {
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28672,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    },
}


def plan(folder: Path, analysis: Analysis, machine: str, size: str = "", **conditions: Any) -> MachinePlan:
    where = write_config(folder / "net", **LARGE.get(size, {}))
    return plan_on_machine(where, analysis, Conditions(**conditions), parse_machine(machine))


def test_7b_on_eight_devices_takes_five_vectors_a_rank(tmp_path: Path) -> None:
    """On paper: 21 GB a rank and one gathered block, the basis in host memory; a product holds no gradient."""
    found = plan(tmp_path, Eig(k=1), "8x80GB", "7B")
    assert found.parameters == 6_738_415_616
    assert found.device.device["theta"] + found.device.device["vectors"] == pytest.approx(21e9 * 5 / 6, rel=0.1)
    assert found.device.host["basis"] > 40e9
    assert not found.device.missing
    assert found.gradient_operations == pytest.approx(6 * 6.7e9 * 2**20, rel=0.15)  # 6 for each parameter and token
    assert found.pass_operations == pytest.approx(3 * found.gradient_operations, rel=0.01)


def test_70b_does_not_fit_on_eight_devices_and_does_on_64(tmp_path: Path) -> None:
    few = plan(tmp_path, Eig(k=1), "8x80GB", "70B")
    assert few.device.missing
    assert few.devices_needed is not None
    assert 8 < few.devices_needed <= 64
    many = plan(tmp_path, Eig(k=1), "64x80GB", "70B")
    assert not many.device.missing
    assert many.seconds < few.seconds


def test_blocks_are_recomputed_before_theta_leaves_the_device(tmp_path: Path) -> None:
    """On paper: the five largest eigenvalues of 1B on one device of 70 GB, the basis in host memory."""
    one = {**LARGE["7B"], "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192}
    where = write_config(tmp_path / "net", **one)
    found = plan_on_machine(where, Eig(k=5), Conditions(), parse_machine("1x70GB"))
    assert found.device.choices == ("the basis lies in host memory", "blocks are recomputed in both backward passes")
    assert not found.device.missing
    kept = plan_on_machine(where, Eig(k=5), Conditions(recompute="off"), parse_machine("1x80GB"))
    assert "blocks are recomputed in both backward passes" not in kept.device.choices
    assert kept.seconds < found.seconds


def test_weights_of_half_precision_take_half_of_the_bytes(tmp_path: Path) -> None:
    whole, half = (plan(tmp_path, Eig(k=1), "8x80GB", "7B", weights_dtype=kind) for kind in (None, "bfloat16"))
    assert half.device.device["theta"] == whole.device.device["theta"] // 2
    assert half.device.device["vectors"] == whole.device.device["vectors"]


def test_a_difference_of_gradients_takes_two_of_them(tmp_path: Path) -> None:
    found = plan(tmp_path, Eig(k=1), "1x80GB", hvp="difference")
    assert found.pass_operations == pytest.approx(2 * found.gradient_operations)


def test_time_is_operations_by_rate(tmp_path: Path) -> None:
    one, two = (plan(tmp_path, Eig(k=1), f"{count}x80GB@1TFLOPS", limit=8) for count in (1, 2))
    kept = 2 * one.gradient_operations / 1e12  # of a product whose graph is kept
    assert one.seconds == pytest.approx(kept * (one.plan.products + 1), rel=0.05)
    assert two.seconds == pytest.approx(one.seconds / 2, rel=0.05)


@pytest.mark.parametrize("analysis", [Trace(), Sharpness(), Surface(), Eig(operator="ggn")], ids=lambda a: a.name)
def test_other_analyses_have_plans(analysis: Analysis, tmp_path: Path) -> None:
    found = plan(tmp_path, analysis, "1x80GB", limit=4)
    assert found.device.choices == ()
    assert found.seconds > 0
    assert found.device.device_bytes < 80e9


def test_an_objective_of_terms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--on cannot plan an --objective"):
        plan(tmp_path, Eig(), "1x80GB", objective="a.py:f")
