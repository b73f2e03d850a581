"""The command: one subcommand per analysis, and what every one of them shares."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from typing import Annotated

import typer

from landscape.analyses import ANALYSES, Edit
from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, LandscapeError
from landscape_cli import check, config, config_tables, doctor, edit, export, inspect, options, plot, show
from landscape_cli.commands import command_class
from landscape_cli.gate import Gate
from landscape_cli.output import Output, discard

CommandLineError: type[Exception] = typer.BadParameter.__mro__[1]  # click's UsageError, which typer vendors unnamed
STORED = ("show", "plot", "export")  # commands that read results only
HELP = """The geometry of a loss around a checkpoint.

Exit codes: 0 done, 1 regression (check only), 2 usage, load or internal error, 3 inconclusive (NaN, not converged, not
comparable), 130 and 143 interrupted."""

app = typer.Typer(
    name="landscape",
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    config_file: Annotated[
        str | None,
        typer.Option("--config", help="Settings file; default: landscape.toml or pyproject.toml, searched upward."),
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by _failed, which knows the arguments only
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    if version:
        from landscape.storage.provenance import version_of

        typer.echo(f"landscape {version_of('loss-landscape-geometry')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    if context.invoked_subcommand in STORED and config_file is None:  # they take nothing from settings, broken or not
        return
    settings = config.find(config_file)
    context.obj = settings
    context.default_map = {name: settings.defaults(name) for name in commands()}


OWN_COMMANDS = {Edit.name: edit.command}
for analysis in ANALYSES:
    make = OWN_COMMANDS.get(analysis.name, partial(options.command, analysis))
    kind = command_class(analysis, Conditions, Output)
    app.command(analysis.name, cls=kind, help=analysis.summary)(make())
app.command(
    "check", cls=command_class(Gate, Conditions), help="Check that checkpoints are not sharper than their baseline."
)(check.command())
app.command("show", help="Print what a results file holds.")(show.show)
app.command("plot", help="Draw stored results again, or several surfaces beside each other.")(plot.plot)
app.command("export", help="Write a stored surface for other programs.")(export.export)
app.command("inspect", help="Print what a checkpoint holds, without building a model.")(inspect.inspect)
app.command("doctor", help="Check this machine, this folder and, if named, a checkpoint with its model.")(
    doctor.command()
)


def commands() -> list[str]:
    return [command.name for command in app.registered_commands if command.name]


def main() -> None:
    """Runs the command; every error leaves with its own exit code and, unless --debug, without a traceback."""
    for name in ("stdout", "stderr"):  # one that is closed from the start takes what is said all the same
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the command
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(status(sys.argv[1:]))


def status(arguments: list[str]) -> int:
    """The exit code of the command with these arguments; --debug may stand anywhere."""
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        outcome = typer.main.get_command(app).main(arguments, prog_name="landscape", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except LandscapeError as error:
        return _failed(str(error), error.exit_code, arguments)
    except CommandLineError as error:
        command = next((word for word in arguments if word in commands()), "")
        usage = " ".join(filter(None, ["landscape", command, "--help"]))
        remedy = f"{usage} lists what is understood; values also come from LANDSCAPE_* and landscape.toml"
        return _failed(f"{error.format_message()}\n  fix:  {remedy}", 2, arguments)  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", 130, [])
    except BrokenPipeError:
        discard()  # a gate that could not say its verdict has not passed
        return EXIT_FAILURE if config_tables.CHECK in arguments else 0
    except Exception as error:  # a crash must not read as a regression, exit code 1
        remedy = "this is a bug; please report it with the output of the same command with --debug"
        return _failed(f"internal error: {type(error).__name__}: {error}\n  fix:  {remedy}", 2, arguments)


def _failed(message: str, code: int, arguments: list[str]) -> int:
    with suppress(OSError):  # stderr may be closed or full, which must not change the exit code
        if "--debug" in arguments:
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)
    return code
