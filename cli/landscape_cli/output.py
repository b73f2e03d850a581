"""Options of every command that measures: where results go, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.fields import Options, option, validate

MOST_DRAWN = 20  # checkpoints of one command that are drawn unasked: a picture takes longer than measuring a small net


@dataclass(frozen=True)
class Writing(Options):
    """Options of all commands that measure."""

    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.landscape.h5 beside it.",
        short="o",
    )
    json: bool = option(False, help="Print one JSON document instead of a table.")
    restart: bool = option(False, help="Discard an interrupted run instead of resuming it.")
    verbose: bool = option(
        False, help="Also print every number, and what the checks of the model, the loss and the data found."
    )
    dry_run: bool = option(False, help="Print what would be done, its memory and its time, and stop.", typed=True)


@dataclass(frozen=True)
class Output(Writing):
    """Where an analysis' results go, and whether they are drawn."""

    on: str | None = option(
        None,
        help="With --dry-run: plan for other devices, from the configuration alone (a config.json, no weights): "
        "1x80GB, 8x80GB, 2x24GB, 8xH100, 1x80GB+512GB with so much host memory, 1x80GB@50TFLOPS.",
        typed=True,
    )
    plot: bool | None = option(
        None, help=f"Draw <stem>.<command>.png.  [default: for at most {MOST_DRAWN} checkpoints]"
    )
    label: tuple[str, ...] = option(
        (), help="NAME=PATH: what a checkpoint is called in tables, titles and JSON. Repeatable.", typed=True
    )
    devices: int | None = option(
        None,
        help="Measure with so many processes of this machine, each on a GPU of its own where there are any; "
        "torchrun --nproc-per-node N -m landscape ... does the same.",
        min=1,
        typed=True,
    )

    def __post_init__(self) -> None:
        validate(self)

    def draws(self, checkpoints: int) -> bool:
        """Whether the results of so many checkpoints are drawn."""
        return checkpoints <= MOST_DRAWN if self.plot is None else self.plot
