"""Flags are derived from fields: their spelling, their placeholder and their printed default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
import typer
from gate_folders import Captured

from landscape.errors import UsageError
from landscape.fields import Option, Options, described_fields, option
from landscape_cli.options import CONTEXT, build_record, metavar, parameters, value_origins, with_signature


@dataclass(frozen=True)
class Choices(Options):
    count: int = option(1, help="A count.", short="c")
    radius: float | None = option(None, help="A radius.", usual=0.5)
    plot: bool = option(True, help="Draw.")
    quiet: bool = option(False, help="Say less.")
    deep: bool | None = option(None, help="Look deeper; decided later if it is not given.")
    color: Literal["red", "grey"] = option("red", help="A color.")
    pair: tuple[str, ...] = option((), kind="pairs", help="Pairs.")
    named: tuple[str, ...] = option((), kind="named-references", help="Data.")
    radii: tuple[float, ...] = option((), help="Radii.")
    from_: str | None = option(None, help="A file.")
    trust: bool = option(False, help="Trust.", typed=True)


FIELDS = {field.name: field for field in described_fields(Choices, Option)}


def run(*arguments: str) -> tuple[Choices, dict[str, str]]:
    """The options of a command line, and where their values came from."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    found: list[Any] = []

    def invoke(context: typer.Context, **values: Any) -> None:
        found.extend([build_record(Choices, values), value_origins(context)])

    app.command()(with_signature(invoke, CONTEXT, *parameters(FIELDS.values(), "Options")))
    typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    return (found[0], found[1]) if found else (Choices(), {})  # nothing after --help


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Choices()),
        (["-c", "3"], Choices(count=3)),
        (["--radius", "2"], Choices(radius=2.0)),
        (["--no-plot", "--quiet"], Choices(plot=False, quiet=True)),
        (["--deep"], Choices(deep=True)),
        (["--no-deep"], Choices(deep=False)),
        (["--pair", "a=1", "--pair", "b=2,3"], Choices(pair=("a=1", "b=2,3"))),
        (["--radii", "0.1,0.2", "--radii", "3"], Choices(radii=(0.1, 0.2, 3.0))),
        (["--from", "x"], Choices(from_="x")),
    ],
    ids=str,
)
def test_a_command_line_gives_the_record(arguments: list[str], expected: Choices) -> None:
    assert run(*arguments)[0] == expected


def test_numbers_that_are_none_are_refused_with_an_example() -> None:
    with pytest.raises(
        UsageError, match=r"--radii 0.1,x is not a number\n.*--radii 0.1 --radii 0.2, or --radii 0.1,0.2"
    ):
        run("--radii", "0.1,x")


def test_origins_are_said_of_what_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_RADIUS", "3")
    monkeypatch.setenv("LANDSCAPE_TRUST", "1")
    record, origins = run("-c", "3")
    assert record == Choices(count=3, radius=3.0), "what counts only as a flag is not taken from the environment"
    assert origins == {"count": "a flag", "radius": "the environment"}


@pytest.mark.parametrize(
    ("name", "placeholder"),
    [("count", "N"), ("radius", "X"), ("plot", None), ("pair", "KEY=VALUE"), ("named", "NAME=DATA"),
     ("radii", "X[,X...]"), ("from_", "FROM")],
)  # fmt: skip
def test_the_placeholder_says_what_a_value_looks_like(name: str, placeholder: str | None) -> None:
    assert metavar(FIELDS[name]) == placeholder


def test_help_prints_defaults_also_where_none_stands_for_them(capsys: Captured) -> None:
    run("--help")
    out = " ".join(capsys.readouterr().out.split())
    assert "--radius X A radius. [default: 0.5]" in out
    assert "--color red|grey A color. [default: red]" in out
    assert "A file. [default" not in out
