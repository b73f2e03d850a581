"""What candidates are compared with, as the gate's sentences name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from landscape.errors import listing

UPDATE_FIX = "--update writes it to the baseline"
AGAINST_FIX = "--against names a checkpoint that has it"
MAX_NAMED = 3  # files of one sentence


class Reference(NamedTuple):
    """The name of what candidates are compared with, and how a change that is meant gets into it."""

    name: str = "the baseline"
    accept: str = UPDATE_FIX


BASELINE = Reference()


def reference_of_files(names: Sequence[str]) -> Reference:
    """The checkpoints and results that `--against` names, which nothing writes."""
    return Reference(listing(list(names), MAX_NAMED), AGAINST_FIX)
