"""Columns of printed tables: their headers, and on which side their cells stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A column's header and alignment."""

    header: str
    justify: Literal["left", "right"] = "left"

    @classmethod
    def of_numbers(cls, header: str) -> Column:
        """A column of numbers, which are right-aligned."""
        return cls(header, "right")
