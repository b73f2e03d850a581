"""Tables and sentences on stdout: nothing is cut, no markup of a name is obeyed, captions are lines of their own."""

from __future__ import annotations

import pytest
from rich.table import Table

from landscape_cli.columns import Column
from landscape_cli.tables import (
    Screen,
    fits,
    print_grid,
    print_line,
    print_rows,
    print_table,
    print_tensors,
    table_width,
)

Captured = pytest.CaptureFixture[str]
NASTY = "[red]x[/red]\x1b[31m"


def test_names_are_printed_as_they_are(capsys: Captured) -> None:
    print_line(NASTY)
    print_rows(NASTY, {NASTY: NASTY})
    print_grid([Column(NASTY.partition("\x1b")[0])], [[NASTY]], title=NASTY)
    print_tensors({NASTY: ((2, 3), NASTY)}, None)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("[red]x[/red]") >= 7


def test_a_caption_has_lines_of_its_own_as_wide_as_the_terminal(capsys: Captured) -> None:
    table = Table("a")
    table.add_row("1")
    print_table(Screen(width=40), table, ["first sentence of some words", "[second] sentence"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["  first sentence of some words; [second]", "  sentence"]


def test_long_names_are_folded_and_numbers_are_not(capsys: Captured) -> None:
    table = Table()
    table.add_column("mark", overflow="fold")
    table.add_column("loss", justify="right", no_wrap=True)
    table.add_row("runs/" + "x" * 60, "12345678901234")
    screen = Screen(width=50, force_terminal=True, color_system=None)
    assert table_width(screen, table) > 50
    assert fits(screen, table)
    print_table(screen, table, [])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 50
    assert "12345678901234" in out
    assert out.count("x") == 60
    assert not fits(Screen(width=40), table)


def test_a_table_without_a_row_is_not_printed(capsys: Captured) -> None:
    print_table(Screen(width=40), Table("a"), ["caption"])
    assert capsys.readouterr().out == ""


def test_of_many_tensors_the_first_ones_are_named(capsys: Captured) -> None:
    print_tensors({str(number): ((), "float32") for number in range(5)}, 2)
    assert "and 3 more (--all)" in capsys.readouterr().out
