"""The changes of weights that are measured: rounding to so many bits, pruning of a share; needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from landscape.errors import UsageError

FEWEST_BITS, MOST_BITS = 2, 16  # with 1 bit a symmetric grid is 0 alone; beyond 16 float32 itself rounds as much
GROUP_PATTERN = re.compile(r"group:([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class WeightChange:
    """One kind of change, alike for all layers: weights rounded to `bits`, or a `share` of them set to 0."""

    bits: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        """The change in words: `4 bits`, or `prune 50%`."""
        return f"{self.bits} bits" if self.bits else f"prune {100 * self.share:.6g}%"


@dataclass(frozen=True)
class Granularity:
    """The weights that share a scale: a whole tensor, an output channel, or `group` weights in turn of a channel."""

    by_channel: bool = False
    group: int = 0

    @classmethod
    def parse(cls, text: str) -> Granularity:
        """The granularity that `tensor`, `channel` or `group:64` names; raises UsageError for other words.

        >>> Granularity.parse("group:64").group
        64
        """
        word = str(text).strip().lower()
        match = GROUP_PATTERN.fullmatch(word)
        if match is None and word not in ("tensor", "channel"):
            raise UsageError(f"--granularity is {text}", fix="tensor, channel, or group:64 with any size of the groups")
        return cls(word != "tensor", int(match[1]) if match else 0)


def parse_bits(values: tuple[float, ...]) -> tuple[int, ...]:
    """The bit widths, each once; raises UsageError for one that is not whole, too small or too large."""
    for value in values:
        if not FEWEST_BITS <= value <= MOST_BITS or value != int(value):
            raise UsageError(f"--bits is {value:g}", fix=f"whole numbers from {FEWEST_BITS} to {MOST_BITS}, e.g. 8,4,3")
    return tuple(dict.fromkeys(int(value) for value in values))


def parse_shares(values: tuple[float, ...]) -> tuple[float, ...]:
    """The shares, each once; raises UsageError for one that is not between 0 and 1."""
    for value in values:
        if not 0 < value < 1:
            raise UsageError(f"--prune is {value:g}", fix="shares of the weights between 0 and 1, e.g. 0.5")
    return tuple(dict.fromkeys(float(value) for value in values))
