"""What `landscape check` takes beside a model's conditions: flags, and the keys of `[check]` in the settings."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.fields import option, validate
from landscape.gates.policy import FALSE_ALARM_ALPHA, Kind
from landscape.storage.paths import BASELINE
from landscape_cli.output import Writing

METRIC_TABLE = "metrics"  # of [check]: rules by metric


@dataclass(frozen=True)
class Gate(Writing):
    """What is compared with what, and who is told."""

    kind: Kind = option(
        "same-weights", help="Whether candidates should be the same net (one value each), or new training runs."
    )
    baseline: str | None = option(
        None,
        kind="path",
        help=f"The baseline's file; default {BASELINE} beside the settings, or here if there are none.",
    )
    metric: tuple[str, ...] = option(
        (), help="Check this number, not the policy's, e.g. eig.eigenvalues[0]. Repeatable.", typed=True
    )
    tol: str | None = option(None, help="Change that is allowed: 2%, or '0.05 abs'. Default 2%; retrained: 25%.")
    alpha: float = option(
        FALSE_ALARM_ALPHA, help="Chance of a false alarm for each metric, retrained.", min=1e-9, max=0.49
    )
    against: tuple[str, ...] = option(
        (), help="Compare with this checkpoint, results file or baseline instead. Repeatable.", typed=True
    )
    from_: tuple[str, ...] = option((), help="Judge these results, measured before. Repeatable.", typed=True)
    update: bool = option(False, help="Write what is measured to the baseline; not in CI.", typed=True)
    calibrate: int | None = option(
        None, help="Measure with so many seeds, and print the smallest change that is seen.", min=2, typed=True
    )
    list_: bool = option(False, help="Print the numbers that can be checked, with advice.", typed=True)
    format: tuple[str, ...] = option(
        (), help="text, json, github, junit or markdown; junit=FILE writes it there. Repeatable. Default text."
    )
    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.check.landscape.h5 beside it.",
        short="o",
    )

    def __post_init__(self) -> None:
        validate(self)
