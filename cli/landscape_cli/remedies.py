"""What is printed of an inconclusive result: the reason, the remedy, and whether its kept work serves that remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from landscape.conditions import Conditions
from landscape.errors import FLAG, listing
from landscape.fields import Option, described_fields, flag

if TYPE_CHECKING:
    from landscape.analyses import Analysis
    from landscape.analyses.base import Trouble
    from landscape.session import MeasurementRecord

RESTART = "--restart"
PLACE_ONLY = frozenset({"device", "micro_batch", "shard", "recompute", "cuda_graphs", "compile"})  # of the conditions


class Remedy(NamedTuple):
    """The flags of a remedy: those with which kept work goes on, and those that make it the work of another run."""

    resuming: list[str]
    discarding: list[str]


def flags_of_remedy(analysis: Analysis, fix: str) -> Remedy:
    """The options that a remedy names, by whether they are part of what identifies a run."""
    own = {_word(field.name): field.about.identity for field in described_fields(type(analysis), Option)}
    where = {_word(field.name): field.name not in PLACE_ONLY for field in described_fields(Conditions, Option)}
    known = {**where, **own}
    pairs = [(f"--{name}", known.get(name)) for name in dict.fromkeys(FLAG.findall(fix))]
    return Remedy([flag for flag, decides in pairs if decides is False], [flag for flag, decides in pairs if decides])


def lines_of_trouble(trouble: Trouble, record: MeasurementRecord) -> list[str]:
    """The reason and the remedy; kept work is offered where the remedy goes on with it, and else to be discarded."""
    if not (record.snapshot and record.result.inconclusive()):
        return [f"inconclusive: {trouble}", f"  fix:  {trouble.fix}"]
    resuming, discarding = flags_of_remedy(record.analysis, trouble.fix)
    place = f"; the work is kept in {record.snapshot}" if resuming else ""
    again = ""
    if not resuming and RESTART not in trouble.fix:
        again = f"; add {RESTART}: {record.snapshot} is of this run"
    elif discarding and RESTART not in trouble.fix:
        again = f" ({listing(discarding)} with {RESTART})"
    return [f"inconclusive: {trouble}{place}", f"  fix:  {trouble.fix}{again}"]


def _word(name: str) -> str:
    """The flag of a field, without its dashes."""
    return flag(name).lstrip("-")
