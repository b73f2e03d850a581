"""The command of an analysis, and commands whose flags also have their earlier names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand

from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape.fields import Option, described_fields, flag, own_first
from landscape.plugins import imports
from landscape_cli import config
from landscape_cli.measure import measure_checkpoints
from landscape_cli.options import CHECKPOINTS_ARGUMENT, CONTEXT, build_record, parameters, value_origins, with_signature
from landscape_cli.output import Output
from landscape_cli.streams import say


def analysis_command(analysis: type[Analysis]) -> Callable[..., int]:
    """The function behind `landscape <analysis>`: its signature has the fields of the analysis and what all share."""

    def invoke(context: typer.Context, checkpoints: list[Path] | None, **values: Any) -> int:
        """Measures the checkpoints with the options of the flags; returns the exit code."""
        if context.obj.path:  # modules that settings name are found from below their folder too
            imports.append_import_folder(context.obj.path.parent)
        for path in checkpoints or []:
            if (unread := config.unread_settings(path, context.obj)) is not None:
                say(f"{path.name}: {unread} is not read, since a download could carry one; --config {unread} reads it")
        return measure_checkpoints(
            checkpoints or [],
            build_record(analysis, values),
            build_record(Conditions, values),
            build_record(Output, values),
            value_origins(context),
        )

    return with_signature(
        invoke,
        CONTEXT,
        CHECKPOINTS_ARGUMENT,
        *parameters(own_first(analysis), "Measurement"),
        *parameters(described_fields(Conditions, Option), "Conditions", taken={f.name for f in own_first(analysis)}),
        *parameters(described_fields(Output, Option), "Output"),
    )


class Command(TyperCommand):
    """A command of typer's that reads `--earlier-name` as `--present-name`; its help lists present names only."""

    present_flags: ClassVar[Mapping[str, str]] = {}  # by earlier flags

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments after replacing earlier names of flags."""
        words = [word.partition("=") for word in args]
        return super().parse_args(ctx, [self.present_flags.get(name, name) + sign + text for name, sign, text in words])


def command_class(*records: type) -> type[Command]:
    """The class of a command that has the options of these dataclasses."""
    fields = [field for record in records for field in described_fields(record, Option)]
    present = {field.name for field in fields}  # another option of the command may have the name
    renamed = [(flag(a), flag(field.name)) for field in fields for a in field.about.aliases if a not in present]
    switches = [(f"--no-{earlier[2:]}", f"--no-{present[2:]}") for earlier, present in renamed]

    class OwnCommand(Command):
        """The command with the earlier flags of its own options."""

        present_flags: ClassVar[Mapping[str, str]] = dict(renamed + switches)

    return OwnCommand
