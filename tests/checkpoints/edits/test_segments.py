"""How files are assembled from segments of other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.checkpoints.edits import segments
from landscape.checkpoints.edits.segments import LITERAL, Segment
from landscape.errors import CheckpointError


class TestSegments:
    def test_what_is_found_nowhere_is_literal(self) -> None:
        found = [(7, Segment(0, 100, 2)), (2, Segment(1, 0, 3)), (5, Segment(0, 9, 0))]
        assert segments.segments_covering(10, found) == (
            Segment(LITERAL, 0, 2),
            Segment(1, 0, 3),
            Segment(LITERAL, 2, 2),
            Segment(0, 100, 2),
            Segment(LITERAL, 4, 1),
        )
        assert segments.segments_covering(0, []) == ()

    def test_a_source_that_ends_too_early_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        with pytest.raises(CheckpointError, match="shorter than it was"):
            list(segments.read_range(tmp_path / "a", 1, 3))

    def test_long_stretches_come_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(segments, "PIECE", 4)
        (tmp_path / "a").write_bytes(b"abcdefghij")
        assert list(segments.read_range(tmp_path / "a", 1, 8)) == [b"bcde", b"fghi"]


class TestRanges:
    @pytest.mark.parametrize(
        ("changed", "kept"),
        [
            ([], [(0, 10)]),
            ([(0, 10)], []),
            ([(4, 2), (0, 1)], [(1, 3), (6, 4)]),
            ([(2, 3), (5, 1)], [(0, 2), (6, 4)]),
        ],
        ids=["nothing", "everything", "unordered", "touching"],
    )
    def test_the_rest_of_a_file_lies_between_the_changed_ranges(
        self, changed: list[tuple[int, int]], kept: list[tuple[int, int]]
    ) -> None:
        assert list(segments.ranges_between(10, changed)) == kept

    def test_a_file_is_assembled_from_its_sources_and_its_literal_bytes(self, tmp_path: Path) -> None:
        for name, content in (("a", b"abcdef"), ("b", b"uvwxyz"), ("whole", b"__cdXwx")):
            (tmp_path / name).write_bytes(content)
        parts = segments.segments_covering(7, [(2, Segment(0, 2, 2)), (5, Segment(1, 2, 2))])
        literal = segments.literal_bytes(tmp_path / "whole", parts)
        assert literal == b"__X"
        assembly = segments.Assembly(parts, literal)
        assert b"".join(assembly.pieces([tmp_path / "a", tmp_path / "b"])) == b"__cdXwx"
        assert assembly.size == 7
