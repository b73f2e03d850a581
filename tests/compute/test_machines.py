"""The devices that --on names."""

from __future__ import annotations

import pytest

from landscape.compute.machines import parse_machine
from landscape.errors import UsageError


@pytest.mark.parametrize(
    ("text", "count", "device", "host"),
    [
        ("80GB", 1, 80e9, 240e9),
        ("8x80gb", 8, 80e9, 240e9),
        ("2x24GB", 2, 24e9, 72e9),
        ("8xH100", 8, 80e9, 240e9),
        ("A10", 1, 24e9, 72e9),
        ("1x80GB+512GB", 1, 80e9, 512e9),
        ("8xH200+2TB", 8, 141e9, 2e12),
    ],
)
def test_devices_have_their_memory_and_that_of_their_host(text: str, count: int, device: float, host: float) -> None:
    machine = parse_machine(text)
    assert (machine.count, machine.device_bytes, machine.host_bytes) == (count, device, host)
    assert 0.9 * device < machine.usable_bytes < device


@pytest.mark.parametrize(
    ("text", "dtype", "tf32", "rate"),
    [
        ("1xH100", "float32", False, 0.7 * 67e12),  # NVIDIA's data sheet, SXM
        ("1x80GB", "float32", False, 0.7 * 67e12),
        ("1x80GB", "float32", True, 0.7 * 495e12),
        ("1xA100", "float32", True, 0.7 * 156e12),
        ("1xA100", "float64", False, 0.7 * 19.5e12),
        ("1x100GB", "float32", False, 0.7 * 67e12),  # the largest device that has no more memory
        ("1x8GB", "float32", False, 0.7 * 8.1e12),
        ("1x80GB@50TFLOPS", "float32", True, 50e12),
    ],
)
def test_rates_are_a_part_of_the_peak_or_as_stated(text: str, dtype: str, tf32: bool, rate: float) -> None:
    machine = parse_machine(text, dtype=dtype, tf32=tf32)
    assert machine.rate == pytest.approx(rate)
    assert machine.rate_source == "as stated" if "@" in text else "70% of the peak" in machine.rate_source


@pytest.mark.parametrize(
    "text", ["80", "", "x80GB", "8x", "0x80GB", "1x0GB", "8 80GB", "1x80GB@0TFLOPS", "99999x80GB", "80GBx8", "-1x80GB"]
)
def test_other_texts_are_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="--on") as caught:
        parse_machine(text)
    assert "8x80GB" in caught.value.fix


def test_an_unknown_device_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="the device H900 is not known") as caught:
        parse_machine("8xH900")
    assert "H100" in caught.value.fix


def test_a_machine_is_printed_with_its_host() -> None:
    assert str(parse_machine("8x80GB+2TB")) == "8 x 80 GB, 2,000 GB of host each"
