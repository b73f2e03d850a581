"""Columns carry their alignment into printed tables."""

from __future__ import annotations

from gate_folders import Captured

from landscape_cli.columns import Column
from landscape_cli.tables import print_grid


def test_numbers_stand_to_the_right_whatever_their_header(capsys: Captured) -> None:
    print_grid((Column("checkpoint"), Column.of_numbers("any header")), [("a", "1.5"), ("longer", "12345.5")])
    _, _, first, second = (line for line in capsys.readouterr().out.splitlines() if line.strip())
    assert first.rstrip().endswith("    1.5")
    assert len(first.rstrip()) == len(second.rstrip())
    assert first.index("a") == second.index("longer")
