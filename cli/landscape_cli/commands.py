"""A command whose flags may also have their earlier names, which its help does not list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from typer.core import TyperCommand

from landscape.fields import Option, described_fields, flag


class Command(TyperCommand):
    """A command of typer's that reads `--earlier-name` as `--present-name`."""

    present_flags: ClassVar[Mapping[str, str]] = {}  # by earlier flags

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments after replacing earlier names of flags."""
        words = [word.partition("=") for word in args]
        return super().parse_args(ctx, [self.present_flags.get(name, name) + sign + text for name, sign, text in words])


def command_class(*records: type) -> type[Command]:
    """The class of a command that has the options of these dataclasses."""
    renamed = [
        (flag(alias), flag(field.name))
        for record in records
        for field in described_fields(record, Option)
        for alias in field.about.aliases
    ]
    switches = [(f"--no-{earlier[2:]}", f"--no-{present[2:]}") for earlier, present in renamed]

    class OwnCommand(Command):
        """The command with the earlier flags of its own options."""

        present_flags: ClassVar[Mapping[str, str]] = dict(renamed + switches)

    return OwnCommand
