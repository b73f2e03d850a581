"""The devices that `--on` names: how many, their memory, their host's memory, and the rates at which they compute.

8x80GB   2xA100   H100+512GB (of host memory for each device)   1x80GB@50TFLOPS (a rate of your own)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from landscape.errors import UsageError, listing

GIGABYTE = 10**9
PATTERN = re.compile(
    r"(?:(?P<count>\d+)x)?(?:(?P<size>\d+(?:\.\d+)?)GB|(?P<name>[A-Z]+\d+[A-Z]*))"
    r"(?:\+(?P<host>\d+(?:\.\d+)?)(?P<unit>GB|TB))?(?:@(?P<rate>\d+(?:\.\d+)?)TFLOPS)?",
    re.IGNORECASE,
)
EXAMPLES = "--on 1x80GB, 8x80GB, 2x24GB, 8xH100, 1x80GB+512GB (host memory), 1x80GB@50TFLOPS"
MAX_DEVICES = 1 << 16
USABLE = 0.92  # of the memory of a device: the rest is the driver's, and fragments
SUSTAINED = 0.7  # of the peak rate, which large matrix products reach
HOST_MEMORY = 3  # of a device's own: nodes of eight H100 have 2 TB
# GB of memory; peak rates in TFLOP/s of float64, float32, and TF32, as their vendor states them
DEVICES = {
    "T4": (16, 0.25, 8.1, 8.1),
    "V100": (32, 7.8, 15.7, 15.7),
    "A10": (24, 0.5, 31.2, 62.5),
    "L4": (24, 0.5, 30.3, 60.0),
    "L40S": (48, 1.4, 91.6, 183.0),
    "A100": (80, 19.5, 19.5, 156.0),
    "H100": (80, 67.0, 67.0, 495.0),
    "H200": (141, 67.0, 67.0, 495.0),
    "B200": (180, 37.0, 75.0, 1100.0),
}
BY_MEMORY = ("T4", "A10", "L40S", "H100", "H200", "B200")  # whose rates a device of at least its memory is given


@dataclass(frozen=True)
class Machine:
    """Devices of one kind: `rate` is what they sustain in operations a second, `rate_source` where that is from."""

    count: int
    device_bytes: int
    host_bytes: int  # for each device
    rate: float
    rate_source: str

    @property
    def usable_bytes(self) -> int:
        """The bytes of one device that tensors can take."""
        return int(USABLE * self.device_bytes)

    def __str__(self) -> str:
        return f"{self.count} x {self.device_bytes / GIGABYTE:g} GB, {self.host_bytes / GIGABYTE:,.0f} GB of host each"


def parse_machine(text: str, *, dtype: str = "float32", tf32: bool = False) -> Machine:
    """The devices that a text names; raises UsageError for any other text."""
    match = PATTERN.fullmatch(text.strip())
    if match is None or not 0 < int(match["count"] or 1) <= MAX_DEVICES:
        raise UsageError(f"--on {text} names no devices", fix=EXAMPLES)
    name = (match["name"] or "").upper()
    if name and name not in DEVICES:
        raise UsageError(
            f"--on {text}: the device {name} is not known", fix=f"{listing(DEVICES, 20)}, or a memory: 8x80GB"
        )
    size = float(match["size"] or DEVICES[name][0])
    if not size:
        raise UsageError(f"--on {text} has no memory", fix=EXAMPLES)
    host = HOST_MEMORY * size
    if match["host"]:
        host = float(match["host"]) * (1000 if match["unit"].upper() == "TB" else 1)
    rate, source = _rate(name or _device_of(size), dtype, tf32=tf32)
    if match["rate"]:
        rate, source = float(match["rate"]), "as stated"
    if not rate:
        raise UsageError(f"--on {text} computes nothing", fix=EXAMPLES)
    return Machine(int(match["count"] or 1), int(size * GIGABYTE), int(host * GIGABYTE), rate * 1e12, source)


def _device_of(size: float) -> str:
    """The device whose rates are taken for a memory of so many GB: the largest that has no more."""
    return next((name for name in reversed(BY_MEMORY) if DEVICES[name][0] <= size), BY_MEMORY[0])


def _rate(name: str, dtype: str, *, tf32: bool) -> tuple[float, str]:
    """The rate that a device sustains in TFLOP/s, and where it is from."""
    column, precision = (1, dtype) if dtype == "float64" else (3, "TF32") if tf32 else (2, dtype)
    return SUSTAINED * DEVICES[name][column], f"{SUSTAINED:.0%} of the peak of {name} in {precision}"
