"""How forward passes over the data are made: samples and points at once, and the memory layout of convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PassSettings:
    """Samples in a batch (0: as the data come), convolutions channels-last, points in a vectorized pass."""

    samples: int = 0
    channels_last: bool = False
    points: int = 1

    def to_array(self) -> np.ndarray:
        """The settings as three integers, for snapshots."""
        return np.array([self.samples, self.channels_last, self.points])

    @classmethod
    def from_array(cls, numbers: np.ndarray) -> PassSettings:
        """The settings that `to_array` wrote."""
        return cls(int(numbers[0]), bool(numbers[1]), int(numbers[2]))

    def __str__(self) -> str:
        words = [f"{self.samples:,} samples at once" if self.samples else "the data's own batches"]
        words += ["channels last"] if self.channels_last else []
        words += [f"{self.points} points vectorized"] if self.points > 1 else []
        return ", ".join(words)
