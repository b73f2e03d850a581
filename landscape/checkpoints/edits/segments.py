"""Assemblies of files from ranges of other files, and from literal bytes that no other file has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import CheckpointError

LITERAL = -1  # the source of bytes that no file has
PIECE = 1 << 24  # bytes copied at once


@dataclass(frozen=True)
class Segment:
    """A range of bytes in a source: a number among the given files, from 0, or `LITERAL`."""

    source: int
    begin: int
    length: int


@dataclass(frozen=True)
class Assembly:
    """The segments of a file in their order, and the bytes of its literal segments."""

    segments: tuple[Segment, ...]
    literal: bytes | memoryview

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(segment.length for segment in self.segments)

    def pieces(self, sources: Sequence[Path]) -> Iterator[bytes | memoryview]:
        """The file's bytes in pieces; raises CheckpointError if a source is too short."""
        for segment in self.segments:
            if segment.source == LITERAL:
                yield memoryview(self.literal)[segment.begin : segment.begin + segment.length]
            else:
                yield from read_range(sources[segment.source], segment.begin, segment.length)


def read_range(path: Path, begin: int, length: int) -> Iterator[bytes]:
    """A range of a file in pieces; raises CheckpointError if the file ends before the range does."""
    with path.open("rb") as file:
        file.seek(begin)
        while length:
            piece = file.read(min(length, PIECE))
            if not piece:
                raise CheckpointError(f"{path} is shorter than it was", fix="copy it where nothing writes to it")
            length -= len(piece)
            yield piece


def segments_covering(size: int, known: Iterable[tuple[int, Segment]]) -> tuple[Segment, ...]:
    """The segments of a file of `size` bytes in order: the known `(begin, segment)`, and literal ones between them.

    `begin` is an offset in that file.
    """
    segments, end, literal = list[Segment](), 0, 0
    for begin, segment in sorted(known, key=lambda pair: pair[0]):
        if begin > end:
            segments.append(Segment(LITERAL, literal, begin - end))
            literal += begin - end
        if segment.length:
            segments.append(segment)
        end = begin + segment.length
    return tuple(segments) if end >= size else (*segments, Segment(LITERAL, literal, size - end))


def ranges_between(size: int, changed: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The `(begin, length)` of a file of `size` bytes that lie between the changed ones."""
    end = 0
    for begin, length in (*sorted(changed), (size, 0)):
        if begin > end:
            yield end, begin - end
        end = begin + length


def literal_bytes(path: Path, segments: Iterable[Segment]) -> bytes:
    """The bytes of the file itself where its segments are literal."""
    place, pieces = 0, list[bytes]()
    for segment in segments:
        if segment.source == LITERAL:
            pieces += read_range(path, place, segment.length)
        place += segment.length
    return b"".join(pieces)
