"""What fits where: by arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landscape.compute.machines import Machine
from landscape.planning.device_plan import Need, fewest_devices, plan_device
from landscape.planning.pass_sizes import PassSizes

GB = 10**9


def machine(device: float, host: float = 1000, count: int = 1) -> Machine:
    """Devices of which so many GB can be used."""
    return Machine(count, int(device * GB / 0.92) + 2, int(host * GB), 1e12, "")


def need(rows: int = 20, attention: int = 8, activations: int = 8) -> Need:
    inside = {"attention": attention * GB, "outputs": 2 * GB, "activations": activations * GB}
    again = {"attention": GB, "outputs": 2 * GB, "activations": 3 * GB}
    passes, recomputed = PassSizes(9e12, 12 * GB, inside), PassSizes(12e12, 12 * GB, again)  # type: ignore[arg-type]
    return Need(4 * GB, rows * GB, passes, GB // 2, recomputed)


def test_everything_lies_on_a_device_that_is_large_enough() -> None:
    plan = plan_device(need(), machine(54), 512)
    assert plan.device == {
        "theta": 4 * GB,
        "vectors": 12 * GB,
        "basis": 20 * GB,
        "attention": 8 * GB,
        "outputs": 2 * GB,
        "activations": 8 * GB,
    }
    assert plan.choices == ()
    assert (plan.micro_batch, plan.missing, plan.time_factor, plan.host) == (1, 0, 1.0, {})


def test_more_samples_go_through_the_model_where_they_fit() -> None:
    assert plan_device(need(), machine(36 + 3 * 18), 512).micro_batch == 3
    assert plan_device(need(), machine(36 + 30 * 18), 5).micro_batch == 5
    assert plan_device(need(), machine(90, count=2), 6).micro_batch == 3


@pytest.mark.parametrize(
    ("usable", "words"),
    [
        (53, ("the basis lies in host memory",)),
        (35, ("the basis lies in host memory",)),  # 4 + 12 + 18 + 1 in transit
        (34, ("the basis lies in host memory", "blocks are recomputed in both backward passes")),
        (23.1, ("the basis lies in host memory", "blocks are recomputed in both backward passes")),  # 16 + 1 + 6
    ],
)
def test_the_first_remedy_that_suffices_is_taken(usable: float, words: tuple[str, ...]) -> None:
    plan = plan_device(need(), machine(usable + 0.2), 512)
    assert plan.choices == words
    assert plan.host == {"basis": 20 * GB}
    assert plan.time_factor == pytest.approx(12 / 9 if len(words) > 1 else 1)
    assert not plan.missing


def test_vectors_go_to_the_host_last() -> None:
    plan = plan_device(need(), machine(10), 512)
    assert plan.choices[0] == "theta, vectors and the basis lie in host memory, and are gathered by block"
    assert sum(plan.host.values()) == 36 * GB
    assert plan.device["gathered blocks"] == 2 * (GB // 2)
    assert not plan.missing


def test_what_is_missing_is_counted_on_the_device_and_on_its_host() -> None:
    short = plan_device(need(), machine(10, host=30), 512)
    assert short.missing == 6 * GB
    assert short.tight
    assert not plan_device(need(), machine(30), 512).tight
    small = plan_device(need(), machine(5), 512)
    assert small.missing == pytest.approx(small.device_bytes - 5 * GB, abs=10)


def test_devices_share_what_lies_along_the_parameters() -> None:
    plan = plan_device(need(), machine(54, count=4), 512)
    assert plan.device["theta"] == GB
    assert plan.device["vectors"] == 3 * GB
    assert plan.device["basis"] == 5 * GB
    assert plan.choices == ("theta, vectors and the basis are sharded over 4 devices",)


def test_without_rows_nothing_is_said_of_a_basis() -> None:
    plan = plan_device(need(rows=0), machine(30), 512)
    assert plan.choices == ("blocks are recomputed in both backward passes",)
    assert "basis" not in plan.host


def test_the_fewest_devices_that_do_are_a_power_of_two() -> None:
    assert fewest_devices(need(rows=2000), machine(10, host=100), 512) == 32  # 2016 GB on hosts of 100
    assert fewest_devices(need(), machine(60), 512) == 1
    assert fewest_devices(need(), machine(2), 512) is None


def test_a_model_without_blocks_is_not_recomputed() -> None:
    plan = plan_device(replace(need(), recomputed=None), machine(30), 512)
    assert "blocks are recomputed in both backward passes" not in plan.choices
    assert plan.time_factor == 1
