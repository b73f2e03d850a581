"""A range of a file as a file of its own, with the few methods of a path that archives are read by. Needs no torch."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast


class PartStat(NamedTuple):
    """The size of a part, as `Path.stat` tells it."""

    st_size: int


@dataclass(frozen=True)
class Part:
    """So many bytes of a file from an offset on: an archive inside it."""

    file: Path
    begin: int
    size: int

    def __str__(self) -> str:
        return f"{self.file} (at byte {self.begin:,})"

    def stat(self) -> PartStat:
        """The part's size."""
        return PartStat(self.size)

    def open(self, mode: Literal["rb"] = "rb", buffering: int = -1) -> BinaryIO:
        """The part as a stream of bytes, which ends where the part does."""
        return cast(BinaryIO, _PartStream(self))


class _PartStream(io.RawIOBase):
    """A stream over a range of a file."""

    def __init__(self, part: Part) -> None:
        self.part, self.place = part, 0
        self.stream = part.file.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = max(0, offset + {os.SEEK_CUR: self.place, os.SEEK_END: self.part.size}.get(whence, 0))
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        room = memoryview(buffer)[: max(0, self.part.size - self.place)]
        self.stream.seek(self.part.begin + self.place)
        count = self.stream.readinto(room)
        self.place += count
        return count

    def close(self) -> None:
        self.stream.close()
        super().close()
