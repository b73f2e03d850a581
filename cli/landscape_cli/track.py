"""`landscape track`: the words of the command; `landscape_cli.tracked_run` does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from landscape.conditions import Conditions
from landscape.fields import Option, described_fields, option, own_first, validate
from landscape.plugins import imports
from landscape_cli.options import CHECKPOINTS_ARGUMENT, CONTEXT, build_record, parameters, value_origins, with_signature
from landscape_cli.output import Writing

TRACK = "track"  # the command, and its table in the settings


@dataclass(frozen=True)
class Tracking(Writing):
    """Options of `landscape track`: what is measured at every checkpoint, which ones, and the learning rate."""

    eig: int | None = option(
        None, help="How many of the largest eigenvalues.  [default: 1 if nothing else is named]", min=1
    )
    trace: bool = option(False, help="The trace.")
    sharpness: bool = option(False, help="Adaptive sharpness.")
    critical: bool = option(False, help="Critical sharpness along the gradient, beside 2 / --lr.")
    measure: tuple[str, ...] = option((), help="Another analysis by its name, e.g. flatness. Repeatable.")
    operator: Literal["hessian", "ggn", "fisher", "preconditioned"] | None = option(
        None, help="The matrix of --eig and --trace.  [default: hessian]"
    )
    every: int = option(1, help="Measure every N-th checkpoint.", min=1)
    step_from: str = option("auto", help="name, or a key of the files, such as global_step or epoch.")
    lr: str | None = option(
        None,
        help="Learning rate, a FILE with lines step,lr, or `checkpoint` for that of the optimizer's state: draws the "
        "edge of stability.",
    )
    momentum: float | None = option(
        None,
        help="Of the optimizer, for that edge.  [default: as in the optimizer's state; else 0, preconditioned: .9]",
        min=0,
    )
    follow: bool = option(False, help="Also measure checkpoints that appear from now on, until Ctrl-C.", typed=True)
    patience: float | None = option(
        None, help="With --follow: stop after so many seconds without a new one.", min=0, typed=True
    )
    output: str | None = option(None, help="The history's file; default track.landscape.h5 in the run.", short="o")
    plot: bool = option(True, help="Draw track.png beside the history.")

    def __post_init__(self) -> None:
        validate(self)


def track_command() -> Callable[..., int]:
    """The function behind `landscape track`: checkpoints, its own flags, and the conditions."""

    def invoke(context: typer.Context, checkpoints: list[Path] | None, **values: Any) -> int:
        """Measures the checkpoints of a run; returns the exit code."""
        from landscape_cli.tracked_run import track_checkpoints

        if context.obj.path:
            imports.append_import_folder(context.obj.path.parent)
        tracking, conditions = build_record(Tracking, values), build_record(Conditions, values)
        return track_checkpoints(checkpoints or [], tracking, conditions, context.obj, value_origins(context))

    return with_signature(
        invoke,
        CONTEXT,
        CHECKPOINTS_ARGUMENT,
        *parameters(own_first(Tracking), "Track", environment=False),
        *parameters(described_fields(Conditions, Option), "Conditions", taken={f.name for f in own_first(Tracking)}),
    )
