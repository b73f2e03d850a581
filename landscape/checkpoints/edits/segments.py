"""How a file is put together from stretches of other files, and literally where no other file has its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import CheckpointError

LITERAL = -1  # the source of bytes that no file has
PIECE = 1 << 24  # bytes copied at once


@dataclass(frozen=True)
class Segment:
    """So many bytes of a source, which is counted from 0 among the files at hand, or `LITERAL`."""

    source: int
    begin: int
    length: int


@dataclass(frozen=True)
class Assembly:
    """The segments of a file in their order, and the bytes behind those that are literal."""

    segments: tuple[Segment, ...]
    literal: bytes | memoryview

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(segment.length for segment in self.segments)

    def pieces(self, sources: Sequence[Path]) -> Iterator[bytes | memoryview]:
        """The file's bytes; raises CheckpointError if a source is too short."""
        for one in self.segments:
            if one.source == LITERAL:
                yield memoryview(self.literal)[one.begin : one.begin + one.length]
            else:
                yield from read_range(sources[one.source], one.begin, one.length)


def read_range(path: Path, begin: int, length: int) -> Iterator[bytes]:
    """A part of a file; raises CheckpointError if the file ends before it."""
    with path.open("rb") as file:
        file.seek(begin)
        while length:
            piece = file.read(min(length, PIECE))
            if not piece:
                raise CheckpointError(f"{path} is shorter than it was", fix="copy it where nothing writes to it")
            length -= len(piece)
            yield piece


def segments_covering(size: int, found: Iterable[tuple[int, Segment]]) -> tuple[Segment, ...]:
    """The segments of a file of `size` bytes: those that are found elsewhere, by where they begin, the rest literal."""
    segments, place, literal = [], 0, 0
    for begin, segment in (*sorted(found, key=lambda one: one[0]), (size, None)):
        if begin > place:
            segments.append(Segment(LITERAL, literal, begin - place))
            literal += begin - place
        if segment is not None and segment.length:
            segments.append(segment)
        place = begin + (segment.length if segment is not None else 0)
    return tuple(segments)


def unchanged_segments(size: int, source: int, changed: Iterable[tuple[int, int]]) -> tuple[Segment, ...]:
    """The segments of a file that has the bytes of `source` in the same places, but for `(begin, length)` changed."""
    found, place = [], 0
    for begin, length in (*sorted(changed), (size, 0)):
        found.append((place, Segment(source, place, begin - place)))
        place = begin + length
    return segments_covering(size, found)


def literal_bytes(path: Path, segments: Iterable[Segment]) -> bytes:
    """The bytes of the file itself where its segments are literal."""
    place, pieces = 0, list[bytes]()
    for segment in segments:
        if segment.source == LITERAL:
            pieces += read_range(path, place, segment.length)
        place += segment.length
    return b"".join(pieces)
