"""The reference of commands and results, from the descriptions that the command line itself is made of."""

from __future__ import annotations

import dataclasses
import html
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from landscape.analyses import ANALYSES
from landscape.conditions import Conditions
from landscape.fields import Array, Option, Scalar, described_fields
from landscape_cli.main import build_app, commands
from landscape_cli.output import Output

PAGES = {"show": "results", "compare": "results", "export": "results", "plot": "figures"}  # others: of their names
CLASSES = {kind.name: kind for kind in ANALYSES}


def of_page(file: str) -> str:
    """The reference of the commands whose page this is; nothing for other pages."""
    own = [name for name in commands() if f"{PAGES.get(name, name)}.md" == file]
    if not own:
        return ""
    return "\n\n## Reference\n" + "".join(f"\n{part}\n" for name in own for part in _parts(name))


def _parts(name: str) -> Iterator[str]:
    command = _group().commands[name]
    context = typer.Context(command, info_name=f"landscape {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"### `landscape {name} --help`"
    yield f"`landscape {name} {usage}`: {command.help}"
    shared = {one.name for record in (Conditions, Output) for one in described_fields(record, Option)}
    own, common = ([p for p in command.params if (p.name in shared) is is_shared] for is_shared in (False, True))
    yield _options(own, context)
    if common:
        yield '??? note "Model, data, loss, device and output: the same for every command"'
        yield textwrap.indent(_options(common, context), "    ")
    if name in CLASSES:
        kind = CLASSES[name]
        yield f"### `landscape.{kind.__name__}` in Python"
        yield (
            f"`landscape.run(landscape.{kind.__name__}(...), objective)` takes the options above of the analysis itself"
            f" by their names, with underscores, and returns a `{kind.result.__name__}`; the same fields are in the"
            f" group `/{name}` of the results file and below `result` in `--json`. Fields that were not asked for are"
            " `None` there, and absent in files."
        )
        yield _table(("field", "dimensions", "meaning", "unit"), _fields(kind.result))


def _options(parameters: list[Any], context: typer.Context) -> str:
    return _table(("option", "meaning", "default"), (_option(parameter, context) for parameter in parameters))


@cache
def _group() -> Any:
    return typer.main.get_command(build_app())


def _option(parameter: Any, context: typer.Context) -> tuple[str, str, str]:
    written, text = parameter.get_help_record(context) or (parameter.human_readable_name, "")
    names, metavar = re.fullmatch(r"((?:-\S+, |\S+ / )*\S+)(?: (.*))?", written).groups()
    default = re.search(r"\s*\[default: (.*?)\]\s*$", text)
    meaning = text[: default.start()] if default else text
    typed = metavar and not metavar.startswith("<")  # not the Python type of an argument
    about = f" <span class='metavar'>{html.escape(metavar)}</span>" if typed else ""
    return f"`{names}`{about}", meaning, f"`{default[1]}`" if default else ""


def _fields(result: type) -> Iterator[tuple[str, str, str, str]]:
    described = {one.name: one.about for kind in (Scalar, Array) for one in described_fields(result, kind)}
    for name in (field.name for field in dataclasses.fields(result) if field.name in described):
        about = described[name]
        dims = ", ".join(about.dims) if isinstance(about, Array) else ""
        yield f"`{name}`", dims, about.help, "" if about.unit == "1" else about.unit


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    escaped = text.replace("|", "&#124;" if "<span" in text else "\\|").replace("\n", " ")
    return escaped if "`" in text else escaped.replace("<", "&lt;").replace("*", "\\*")
