"""The command: one subcommand per analysis, and what all subcommands share."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from landscape.analyses import ANALYSES, Analysis, Edit
from landscape.compute.interrupts import STOPPED, end_on_signals, interruption
from landscape.compute.out_of_memory import in_words, is_out_of_memory, out_of_memory
from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, LandscapeError, clean, speak_flags
from landscape.fields import Option, described_fields, flag
from landscape.figures.look import Look
from landscape_cli import config
from landscape_cli.check import check_command
from landscape_cli.commands import analysis_command, command_class
from landscape_cli.compare import compare_command
from landscape_cli.demo import demo_command
from landscape_cli.doctor import doctor_command
from landscape_cli.edit import edit_command
from landscape_cli.export import export
from landscape_cli.gate import CHECK, Gate
from landscape_cli.inspect import inspect_command
from landscape_cli.launch import is_one_of_several, silence_other_ranks
from landscape_cli.output import Output
from landscape_cli.plot import plot_command
from landscape_cli.report import report_command
from landscape_cli.results import show
from landscape_cli.streams import silence_stdout
from landscape_cli.track import TRACK, Tracking, track_command

SHARED = (Conditions, Output)  # whose options every analysis has
OWN_FUNCTIONS: Mapping[type[Analysis], Callable[[type[Analysis]], Callable[..., int]]] = {Edit: edit_command}
RESULT_COMMANDS = (
    "show",
    "plot",
    "compare",
    "report",
    "export",
    "demo",
)  # commands that take nothing from settings
HELP = """The geometry of a loss around a checkpoint.

Exit codes: 0 done, 1 regression (check only), 2 usage, load, memory or internal error, 3 inconclusive (NaN, not
converged, not comparable), 130 and 143 interrupted."""


@dataclass(frozen=True)
class Subcommand:
    """A subcommand: its name, its line in the help, its function, and the dataclasses whose options it has."""

    name: str
    help: str
    make: Callable[[], Callable[..., Any]]
    records: tuple[type, ...] = ()


COMPLETION = "_LANDSCAPE_COMPLETE"  # the variable by which shells ask for completions, as click names it
SUBCOMMANDS = (
    *(
        Subcommand(kind.name, kind.summary, partial(OWN_FUNCTIONS.get(kind, analysis_command), kind), (kind, *SHARED))
        for kind in ANALYSES
    ),
    Subcommand(
        TRACK,
        "Measure the checkpoints of a run into one history and picture.",
        track_command,
        (Tracking, Conditions),
    ),
    Subcommand(CHECK, "Check that checkpoints are not sharper than their baseline.", check_command, (Gate, Conditions)),
    Subcommand("show", "Print what a results file holds.", lambda: show),
    Subcommand("plot", "Draw stored results again, or several surfaces beside each other.", plot_command, (Look,)),
    Subcommand("compare", "Put stored results of several checkpoints beside each other.", lambda: compare_command),
    Subcommand("report", "Write stored results as one page for a browser.", lambda: report_command),
    Subcommand("export", "Write stored results for other programs.", lambda: export),
    Subcommand("inspect", "Print what a checkpoint holds, without building a model.", lambda: inspect_command),
    Subcommand("demo", "Show five commands on two small nets, with pictures.", lambda: demo_command(status)),
    Subcommand(
        "doctor",
        "Check this machine, this folder and, if named, a checkpoint with its model.",
        doctor_command,
        (Conditions,),
    ),
)


def commands() -> list[str]:
    """The names of the subcommands, in the order of the help."""
    return [subcommand.name for subcommand in SUBCOMMANDS]


def build_app(arguments: Sequence[str] | None = None) -> typer.Typer:
    """The command with all its subcommands.

    Only the subcommands that the arguments name get their flags: they take a while to build, and the others need no
    more than their line in the help. Without arguments, all get them.
    """
    app = typer.Typer(
        name="landscape",
        help=HELP,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True)(root)
    for subcommand in SUBCOMMANDS:
        if arguments is None or subcommand.name in arguments:
            kind = command_class(*subcommand.records)
            app.command(subcommand.name, cls=kind, help=subcommand.help)(subcommand.make())
        else:
            app.command(subcommand.name, help=subcommand.help)(lambda: None)
    return app


def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    config_file: Annotated[
        str | None,
        typer.Option("--config", help="Settings file; default: landscape.toml or pyproject.toml, searched upward."),
    ] = None,
    debug: Annotated[  # noqa: ARG001 - _print_error reads it from the arguments
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Runs before every subcommand: finds the settings, which become the defaults of the subcommand's flags."""
    if version:
        from landscape.storage.provenance import version_of

        typer.echo(f"landscape {version_of('loss-landscape-geometry')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    if context.invoked_subcommand in RESULT_COMMANDS and config_file is None:  # broken settings do not stop them
        return
    settings = config.find(config_file)
    context.obj = settings
    context.default_map = {name: settings.defaults(name) for name in commands()}


def main() -> None:
    """Runs the command; every error leaves with its own exit code and, unless --debug, without a traceback."""
    for name in ("stdout", "stderr"):  # a stream that is closed from the start is replaced by the null device
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the command
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silence_other_ranks()
    end_on_signals()
    code = flush_stdout(status(sys.argv[1:]), sys.argv[1:])
    end_on_signals(at_once=True)  # an exception would be printed while Python shuts down
    if is_one_of_several():  # threads of torch's that outlive the process group can abort the interpreter at its end
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def flush_stdout(code: int, arguments: list[str]) -> int:
    """Writes what is still to be printed, and returns the exit code: no longer 0 if it could not be written."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        silence_stdout()
        return EXIT_FAILURE if CHECK in arguments else code
    except OSError as error:
        silence_stdout()
        if code != EXIT_FAILURE:
            remedy = "free some space, or send the output elsewhere"
            _print_error(f"stdout cannot be written: {error.strerror}\n  fix:  {remedy}", code, [])
        return code or EXIT_FAILURE


def status(arguments: list[str]) -> int:
    """The exit code of the command with these arguments; --debug may stand anywhere."""
    with speak_flags():
        return _status(arguments)


def _status(arguments: list[str]) -> int:
    if COMPLETION in os.environ:  # a shell asks which words are possible; every command needs its flags for that
        typer.main.get_command(build_app()).main(arguments, prog_name="landscape")
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        outcome = typer.main.get_command(build_app(arguments)).main(
            arguments, prog_name="landscape", standalone_mode=False
        )
        return outcome if isinstance(outcome, int) else 0
    except LandscapeError as error:
        known = out_of_memory(error, "in this command") if is_out_of_memory(error) else error
        return _print_error(str(known), known.exit_code, arguments)
    except TyperException as error:
        named = next((word for word in arguments if word in commands()), "")
        usage = " ".join(filter(None, ["landscape", named, "--help"]))
        remedy = f"{usage} lists what is understood; values also come from LANDSCAPE_* and landscape.toml"
        if owners := _owners(getattr(error, "option_name", "")):
            remedy = f"{getattr(error, 'option_name', '')} is an option of {owners}; {remedy}"
        return _print_error(f"{clean(error.format_message())}\n  fix:  {remedy}", EXIT_FAILURE, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _print_error("interrupted", 130, [])
    except BrokenPipeError:
        return _end_without_reader(arguments)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # how typer and rich end where the reader of a pipe is gone
            return _end_without_reader(arguments)
        return _print_crash(error, arguments)
    except BaseException as error:  # neither a crash nor a library's panic may read as a regression, exit code 1
        return _print_crash(error, arguments)


def _end_without_reader(arguments: list[str]) -> int:
    """The exit code where stdout is a pipe whose reader is gone: a gate that printed no verdict has not passed."""
    silence_stdout()
    return EXIT_FAILURE if CHECK in arguments and "--help" not in arguments else 0


def _owners(option: str) -> str:
    """The commands that have this option, in words; "" if none has."""

    def flags(subcommand: Subcommand) -> set[str]:
        """The flags of a subcommand."""
        return {flag(field.name) for record in subcommand.records for field in described_fields(record, Option)}

    owners = [f"landscape {subcommand.name}" for subcommand in SUBCOMMANDS if option in flags(subcommand)]
    return " and ".join(filter(None, [", ".join(owners[:-1]), owners[-1]])) if owners else ""


def _print_crash(error: BaseException, arguments: list[str]) -> int:
    """Prints what an error was: a signal that a library has wrapped, memory that ran out, or a bug."""
    if (code := interruption(error)) is not None:
        return _print_error(STOPPED, code, [])
    if isinstance(error, SystemExit) and arguments[:1] in (["--show-completion"], ["--install-completion"]):
        return error.code if isinstance(error.code, int) else EXIT_FAILURE
    if isinstance(error, SystemExit):
        remedy = "a model, data and a loss that do not call sys.exit; --debug shows where it is called"
        message = f"code that this command calls ended the program: SystemExit: {clean(str(error))}\n  fix:  {remedy}"
    else:
        message = str(in_words(error))
    return _print_error(message, EXIT_FAILURE, arguments)


def _print_error(message: str, code: int, arguments: list[str]) -> int:
    """Prints the error, with its traceback after --debug, and returns the exit code."""
    with suppress(OSError, MemoryError):  # stderr may be closed or full, which must not change the exit code
        if "--debug" in arguments:
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)
    return code
