"""A part of a file reads as a file of its own, and never beyond its end."""

from __future__ import annotations

import io
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from landscape.checkpoints.formats.parts import Part

CONTENT = bytes(range(100))
steps = st.lists(st.tuples(st.sampled_from(["read", "seek", "end", "line"]), st.integers(0, 60)), max_size=8)


@given(st.integers(0, 100), st.integers(0, 120), steps)
def test_a_part_is_the_bytes_in_its_range(
    tmp_path_factory: object, begin: int, size: int, moves: list[tuple[str, int]]
) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "whole"  # type: ignore[attr-defined]
    path.write_bytes(CONTENT)
    plain = io.BytesIO(CONTENT[begin : begin + size])
    with Part(path, begin, size).open() as stream:
        for move, count in moves:
            if move == "read":
                assert stream.read(count) == plain.read(count)
            elif move == "line":
                assert stream.readline(count) == plain.readline(count)
            elif move == "seek" or begin + size > len(CONTENT):
                assert stream.seek(count) == plain.seek(count)
            else:
                assert stream.seek(-min(count, size), os.SEEK_END) == plain.seek(-min(count, size), os.SEEK_END)
            assert stream.tell() == plain.tell()


def test_a_part_has_a_size_and_a_name(tmp_path: Path) -> None:
    part = Part(tmp_path / "a", 1000, 5)
    assert part.stat().st_size == 5
    assert str(part).endswith("a (at byte 1,000)")
