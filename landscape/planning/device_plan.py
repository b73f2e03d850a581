"""What fits on which device: the parts of a measurement's memory on one device and its host, and what is moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from landscape.compute.machines import Machine
from landscape.planning.pass_sizes import PassSizes

GATHERED_BLOCKS = 2  # of sharded parameters: one that computes, and one that is being gathered
COPIES = 1 << 30  # bytes of the basis that a device takes from its host at once
BASIS_ON_HOST = "the basis lies in host memory"
BLOCKS_RECOMPUTED = "blocks are recomputed in both backward passes"


@dataclass(frozen=True)
class Need:
    """What a measurement takes: theta, rows over the parameters, and a pass over one sample; bytes.

    `recomputed` is the pass where the model's blocks keep their inputs alone; None if they do not.
    """

    theta: int
    rows: int
    passes: PassSizes
    block_bytes: int  # of the parameters of one block
    recomputed: PassSizes | None = None


@dataclass(frozen=True)
class DevicePlan:
    """The bytes on one device and on its host by part, what is moved, and how many samples a device takes at once.

    `time_factor` is what recomputation adds to the time of a pass.
    """

    device: Mapping[str, int]
    host: Mapping[str, int]
    choices: tuple[str, ...]
    micro_batch: int
    time_factor: float = 1.0
    missing: int = 0  # bytes that do not fit
    tight: bool = False  # whether theta does not fit on the devices, or nothing does

    @property
    def device_bytes(self) -> int:
        """The sum of the parts on one device."""
        return sum(self.device.values())


@dataclass(frozen=True)
class Arrangement:
    """What may be done to make a measurement fit."""

    rows_on_host: bool = False
    recompute: bool = False
    vectors_on_host: bool = False
    words: tuple[str, ...] = field(default=())


ARRANGEMENTS = (
    Arrangement(),
    Arrangement(rows_on_host=True, words=(BASIS_ON_HOST,)),
    Arrangement(
        rows_on_host=True,
        recompute=True,
        words=(BASIS_ON_HOST, BLOCKS_RECOMPUTED),
    ),
    Arrangement(
        rows_on_host=True,
        recompute=True,
        vectors_on_host=True,
        words=(
            "theta, vectors and the basis lie in host memory, and are gathered by block",
            BLOCKS_RECOMPUTED,
        ),
    ),
)


def plan_device(need: Need, machine: Machine, samples: int) -> DevicePlan:
    """The first arrangement that fits, cheapest first; the last one, with what is missing, if none does."""
    plans = [_arrange(need, machine, samples, arrangement) for arrangement in ARRANGEMENTS]
    return next((plan for plan in plans if not plan.missing), plans[-1])


def fewest_devices(need: Need, machine: Machine, samples: int) -> int | None:
    """The smallest power of two of such devices on which the measurement fits; None below 2^16."""
    for power in range(17):
        count: int = 1 << power
        if not plan_device(need, replace(machine, count=count), samples).missing:
            return count
    return None


def _arrange(need: Need, machine: Machine, samples: int, way: Arrangement) -> DevicePlan:
    """The parts of memory under one arrangement."""
    ranks = machine.count
    again = need.recomputed if way.recompute else None
    graph = (again or need.passes).inside
    long_lived = {"theta": need.theta // ranks, "vectors": need.passes.vectors // ranks}
    device: dict[str, int] = {} if way.vectors_on_host else dict(long_lived)
    host = dict(long_lived) if way.vectors_on_host else {}
    if ranks > 1 or way.vectors_on_host:
        device["gathered blocks"] = GATHERED_BLOCKS * need.block_bytes
    rows = need.rows // ranks
    if way.rows_on_host and rows:
        host["basis"] = rows
        device["rows in transit"] = min(rows, COPIES, 2 * need.theta // ranks)
    elif rows:
        device["basis"] = rows
    each = sum(graph.values())
    room = machine.usable_bytes - sum(device.values())
    micro_batch = max(1, min(room // max(each, 1), -(-samples // ranks)))
    device |= {name: size * micro_batch for name, size in graph.items()}
    missing = max(sum(device.values()) - machine.usable_bytes, sum(host.values()) - machine.host_bytes, 0)
    sharded = (f"theta, vectors and the basis are sharded over {ranks} devices",) if ranks > 1 else ()
    idle = {BASIS_ON_HOST: not rows, BLOCKS_RECOMPUTED: again is None}
    words = [sentence for sentence in way.words if not idle.get(sentence)]
    factor = again.operations / need.passes.operations if again else 1.0
    return DevicePlan(
        device, host, (*sharded, *words), micro_batch, factor, missing, way.vectors_on_host or missing > 0
    )
